"""The HTTP routes. What takes time is answered with 202, and its changes are sent as server-sent events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from .cards import Card
from .feed import Feed
from .forms import AvatarForm, CustomerForm, LooksForm
from .studio import Studio
from .wishes import Order, Wish

PAGE = Path(__file__).parent / "static" / "index.html"
COOKIE = "customer"
GUEST = "Guest"

router = APIRouter()


def studio_of(request: Request) -> Studio:
    """The app's studio, made in its lifespan."""
    studio: Studio = request.app.state.studio
    return studio


def customer_of(request: Request) -> str:
    """Who is asking: a name in a cookie, which anybody can change. Put your login here."""
    try:
        return CustomerForm(name=unquote(request.cookies.get(COOKIE, GUEST))).name
    except ValueError:
        return GUEST


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
    return [{"ref": ref, "id": face.id, "name": face.name} for ref, face in (await studio.faces()).items()]


@router.post("/api/avatars", status_code=202)
async def create_avatar(form: AvatarForm, studio: TheStudio, customer: TheCustomer) -> JSONResponse:
    """Start a new avatar."""
    return accepted(await studio.place(order(customer, form.token, form.wishes())))


@router.post("/api/looks", status_code=202)
async def start(form: LooksForm, studio: TheStudio, customer: TheCustomer) -> JSONResponse:
    """Start every scene for each avatar."""
    wishes = form.wishes(await studio.sources(customer, form.avatars))
    if not wishes:
        raise HTTPException(400, "Choose an avatar and write a scene.")
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
    """Try once more what was not sent."""
    card = studio.board.card(customer, card_id)
    if card is None:
        raise HTTPException(404, "There is no such look.")
    studio.again(card)
    return accepted([card])


@router.get("/pictures/{name}")
async def picture(name: str, studio: TheStudio, customer: TheCustomer) -> FileResponse:
    """A picture, from our own disk: it never changes, and no other host is asked."""
    path = await studio.picture(customer, name)
    if path is None:
        raise HTTPException(404, "There is no such picture.")
    return FileResponse(path, headers={"Cache-Control": "private, max-age=31536000, immutable"})


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
