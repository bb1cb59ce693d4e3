"""The HTTP routes. What takes time is answered with 202, and its changes are sent as server-sent events."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from .cards import Card
from .errors import Refused
from .feed import Feed
from .forms import AvatarForm, CustomerForm, DecisionForm, LooksForm
from .studio import Studio
from .wishes import Order, Wish

PAGE = Path(__file__).parent / "static" / "index.html"
COOKIE = "customer"
PAGE_OF = "X-Customer"
GUEST = "Guest"

router = APIRouter()


def studio_of(request: Request) -> Studio:
    """The app's studio, made in its lifespan."""
    studio: Studio = request.app.state.studio
    return studio


def customer_of(request: Request) -> str:
    """Who is asking: a name in a cookie, which anybody can change. Put your login here.

    All tabs of a browser share the cookie. So a page also sends whom it shows, and a page that shows somebody
    else is refused before anything is charged. Raises `Refused`.
    """
    try:
        customer = CustomerForm(name=unquote(request.cookies.get(COOKIE, GUEST))).name
    except ValueError:
        customer = GUEST
    shown = unquote(request.headers.get(PAGE_OF, quote(customer)))
    if shown != customer:
        raise Refused(
            f"Another tab changed from {shown} to {customer}. Nothing was started or charged. This tab shows "
            f"{customer} now.",
            status=409,
            field="customer",
        )
    return customer


TheStudio = Annotated[Studio, Depends(studio_of)]
TheCustomer = Annotated[str, Depends(customer_of)]


@router.get("/")
async def page() -> FileResponse:
    """The page. All that changes on it comes from `events`."""
    return FileResponse(PAGE, headers={"Cache-Control": "no-cache"})


@router.get("/api/events")
async def events(request: Request, studio: TheStudio, customer: TheCustomer) -> StreamingResponse:
    """Server-sent events: the whole state, then each change."""
    feed: Feed = request.app.state.feed
    sandbox: bool = request.app.state.settings.sandbox

    def state() -> dict[str, Any]:
        return {"sandbox": sandbox, **studio.board.state(customer)}

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(feed.stream(customer, state), media_type="text/event-stream", headers=headers)


@router.post("/api/customer", status_code=204)
async def be(form: CustomerForm) -> Response:
    """Work under another name, with that customer's credits and looks."""
    answer = Response(status_code=204)
    answer.set_cookie(COOKIE, quote(form.name), max_age=365 * 86400, httponly=True, samesite="strict")
    return answer


@router.get("/api/faces")
async def faces(studio: TheStudio) -> list[dict[str, str]]:
    """Avatars of the public catalogue."""
    return [
        {"ref": ref, "id": face.id, "name": face.name}
        for ref, face in (await studio.catalogue.faces()).items()
    ]


@router.post("/api/avatars", status_code=202)
async def create_avatar(form: AvatarForm, studio: TheStudio, customer: TheCustomer) -> JSONResponse:
    """Start a new avatar."""
    return accepted(await studio.place(order(customer, form.token, form.wishes())))


@router.post("/api/looks", status_code=202)
async def start(form: LooksForm, studio: TheStudio, customer: TheCustomer) -> JSONResponse:
    """Start every scene for each avatar."""
    wishes = form.wishes(await studio.sources(customer, form.avatars))
    if not wishes:
        raise Refused("Choose an avatar and write a scene.")
    return accepted(await studio.place(order(customer, form.token, wishes)))


@router.post("/api/avatars/estimate")
async def cost_of_avatar(form: AvatarForm, studio: TheStudio, customer: TheCustomer) -> dict[str, Any]:
    """What it would cost. Nothing is started."""
    return await estimate(studio, customer, form.wishes())


@router.post("/api/looks/estimate")
async def cost_of_looks(form: LooksForm, studio: TheStudio, customer: TheCustomer) -> dict[str, Any]:
    """What they would cost, and how long they would take. Nothing is started."""
    return await estimate(studio, customer, form.wishes(await studio.sources(customer, form.avatars)))


@router.post("/api/cards/{card_id}/again", status_code=202)
async def again(card_id: str, studio: TheStudio, customer: TheCustomer) -> JSONResponse:
    """Try once more what was not sent, was refused, or failed. Only what failed is paid for again."""
    return accepted(await studio.again(card_of(studio, customer, card_id), datetime.now(UTC)))


@router.get("/api/cards/{card_id}/candidates")
async def candidates(card_id: str, studio: TheStudio, customer: TheCustomer) -> dict[str, Any]:
    """The looks that an unknown may have made, read now."""
    return await studio.candidates(card_of(studio, customer, card_id))


@router.post("/api/cards/{card_id}/decision", status_code=202)
async def decide(card_id: str, form: DecisionForm, studio: TheStudio, customer: TheCustomer) -> JSONResponse:
    """Settle an unknown: name its look, pay for it once more, or give it up."""
    card = card_of(studio, customer, card_id)
    if form.choice == "this":
        await studio.this_is_it(card, form.doubt, form.look or "")
    elif form.choice == "again":
        studio.make_again(card, form.doubt)
    else:
        await studio.leave(card, form.doubt)
    return accepted([card])


@router.get("/pictures/{name}")
async def picture(
    name: str, studio: TheStudio, customer: TheCustomer, download: str | None = None
) -> FileResponse:
    """A picture, from our own disk: it never changes, and no other host is asked.

    ``download`` is the name of the file, without its ending, under which a browser saves it.
    """
    path = await studio.picture(customer, name)
    if path is None:
        raise Refused("There is no such picture.", status=404)
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}
    if download is None:
        return FileResponse(path, headers=headers)
    return FileResponse(path, headers=headers, filename=file_name(download) + path.suffix)


def file_name(text: str) -> str:
    """A file name of this text, for every system: words joined by hyphens."""
    return "-".join(re.findall(r"\w+", text))[:80] or "look"


def card_of(studio: Studio, customer: str, card_id: str) -> Card:
    """One card of this customer's. Raises `Refused`."""
    card = studio.board.card(customer, card_id)
    if card is None:
        raise Refused("There is no such look.", status=404)
    return card


def order(customer: str, token: str, wishes: tuple[Wish, ...]) -> Order:
    """The order that these wishes make, now."""
    return Order(customer=customer, token=token, at=datetime.now(UTC), wishes=wishes)


def accepted(cards: Iterable[Card]) -> JSONResponse:
    """202: the order is stored and started; its changes come through `events`."""
    return JSONResponse({"cards": [card.shown() for card in cards]}, status_code=202)


async def estimate(studio: Studio, customer: str, wishes: tuple[Wish, ...]) -> dict[str, Any]:
    """An estimate for the page."""
    found = await studio.estimate(wishes)
    budget = studio.board.budget(customer)
    return {
        "looks": found.count,
        "credits": str(found.credits),
        "seconds": found.duration,
        "left": str(budget.left),
        "fits": budget.allows(found.credits),
    }
