"""Look Studio's unknowns: shown with the looks that may be them, and settled once."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp.test_utils import unused_port
from studio_kit import ADA, Studio, serving, settings_for, studio

from hoox_async import Avatar, HooxSession, LookEdit, LookJob, StoreError
from hoox_async.sandbox import Fault, Sandbox

Card = dict[str, Any]


async def lost(app: Studio, sandbox: Sandbox, scene: str = "on a stage") -> Card:
    """The card of an edit that was accepted and charged, and whose answer was lost."""
    sandbox.fail_next("edit", Fault.DROP_AFTER)
    await app.client.get("/api/faces")  # as a page does: it notes which looks are there already
    await app.start(scene)
    card: Card = (await app.until("unknown"))["cards"][0]
    return card


async def decide(app: Studio, card: Card, choice: str, look: str | None = None) -> httpx.Response:
    form = {"doubt": card["doubt"], "choice": choice, "look": look}
    return await app.client.post(f"/api/cards/{card['id']}/decision", json=form)


async def candidates(app: Studio, card: Card) -> dict[str, Any]:
    found: dict[str, Any] = (await app.client.get(f"/api/cards/{card['id']}/candidates")).json()
    return found


async def test_an_unknown_is_shown_beside_the_looks_that_may_be_it(tmp_path: Path) -> None:
    """An unknown lists the new looks of its avatar, with when they were seen and their pictures.

    Looks that were there before it was ordered are counted and left out. Another customer sees none of it.
    """
    async with studio(tmp_path, webhooks=False) as (app, sandbox):
        async with sandbox.session() as others:  # somebody else's look, from before
            await others.run(LookEdit(ADA, "from before"))
        card = await lost(app, sandbox)
        sandbox.settle(sandbox.ledger[1].ref, "ready")
        found = await candidates(app, card)
        assert [one["ref"] for one in found["candidates"]] == [str(sandbox.ledger[1].ref)]
        assert (found["older"], found["sent"] is not None) == (1, True)
        (candidate,) = found["candidates"]
        assert candidate["seen"] >= card["at"]
        address = f"/pictures/{candidate['picture']}"
        assert (await app.client.get(address)).headers["content-type"] == "image/jpeg"
        await app.client.post("/api/customer", json={"name": "Mara"})
        assert (await app.client.get(address)).status_code == 404
        assert (await app.client.get(f"/api/cards/{card['id']}/candidates")).status_code == 404


async def test_this_is_it_costs_nothing_more(tmp_path: Path) -> None:
    """A look that is named for an unknown is shown as its own, charged once, and no second word is taken."""
    async with studio(tmp_path, webhooks=False) as (app, sandbox):
        card = await lost(app, sandbox)
        ref = str(sandbox.ledger[0].ref)
        answers = await asyncio.gather(*[decide(app, card, "this", ref) for _ in range(4)])
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
        shown = await app.until("ready")
        assert shown["cards"][0]["ref"] == ref
        for choice in ("this", "again", "leave"):
            late = await decide(app, card, choice, ref)
            assert (late.status_code, "decided already" in late.json()["detail"]) == (409, True)
        assert (await app.client.get(f"/pictures/{card['id']}")).status_code == 200
        assert (len(sandbox.ledger), shown["credits"]["left"]) == (1, "98")


async def test_make_it_again_is_paid_once_however_often_it_is_clicked(tmp_path: Path) -> None:
    """Clicks in several tabs at the same time send one more request; both may have cost, and both count."""
    async with studio(tmp_path, webhooks=False) as (app, sandbox):
        card = await lost(app, sandbox)
        answers = await asyncio.gather(*[decide(app, card, "again") for _ in range(5)])
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
        shown = await app.until("ready")
        assert (await decide(app, card, "again")).status_code == 409
        assert (len(sandbox.ledger), shown["credits"]["left"]) == (2, "96")


async def test_a_decision_about_an_earlier_loss_is_refused(tmp_path: Path) -> None:
    """A tab that still shows the first loss cannot have a look sent a third time that was lost again."""
    async with studio(tmp_path, webhooks=False) as (app, sandbox):
        first = await lost(app, sandbox)
        sandbox.fail_next("edit", Fault.DROP_AFTER)
        assert (await decide(app, first, "again")).status_code == 202
        async with asyncio.timeout(60):
            while (second := (await app.state())["cards"][0])["doubt"] in (None, first["doubt"]):
                await asyncio.sleep(0.02)
        assert second["state"] == "unknown"
        assert (await decide(app, first, "again")).status_code == 409
        assert len(sandbox.ledger) == 2
        found = await candidates(app, second)
        assert {one["ref"] for one in found["candidates"]} == {str(charge.ref) for charge in sandbox.ledger}


async def test_an_unknown_that_is_left_stays_counted_and_can_be_made_again(tmp_path: Path) -> None:
    """Leaving it costs nothing and gives no credits back. After a restart it can still be made again."""
    port = unused_port()
    async with Sandbox() as sandbox:
        settings = settings_for(sandbox, tmp_path, None)
        async with serving(settings, port) as app:
            card = await lost(app, sandbox)
            assert (await decide(app, card, "leave")).status_code == 202
            shown = await app.until("left")
            assert shown["credits"]["left"] == "98"
            assert (await decide(app, card, "again")).status_code == 409
        async with serving(settings, port) as app:
            (left,) = (await app.until("left"))["cards"]
            assert (await app.client.get(f"/api/cards/{left['id']}/candidates")).status_code == 409
            assert (await decide(app, left, "again")).status_code == 202
            shown = await app.until("ready")
            assert (len(sandbox.ledger), shown["credits"]["left"]) == (2, "96")


async def test_an_unknown_survives_a_restart(tmp_path: Path) -> None:
    """After a restart an unknown is still one, with its reason and its candidates. Nothing was sent again."""
    port = unused_port()
    async with Sandbox() as sandbox:
        settings = settings_for(sandbox, tmp_path, None)
        async with serving(settings, port) as app:
            before = await lost(app, sandbox)
        async with serving(settings, port) as app:
            (card,) = (await app.until("unknown"))["cards"]
            assert before["reason"]
            assert card["reason"].startswith(before["reason"])
            (candidate,) = (await candidates(app, card))["candidates"]
            assert (await decide(app, before, "this", candidate["ref"])).status_code == 409
            assert (await decide(app, card, "this", candidate["ref"])).status_code == 202
            await app.until("ready")
            assert len(sandbox.ledger) == 1


async def test_a_decision_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """A look that cannot be it and a second sending that is refused cost nothing: it is unknown as before."""
    async with studio(tmp_path, webhooks=False, sandbox=Sandbox(credits=2)) as (app, sandbox):
        card = await lost(app, sandbox)
        for ref, status in ((ADA, 400), ("nonsense", 400), ("avtr_public_ada:look_none", 404)):
            answer = await decide(app, card, "this", ref)
            assert answer.status_code == status
            assert "key" not in answer.json()["detail"]
        assert (await app.until("unknown"))["cards"][0]["doubt"] == card["doubt"]
        assert (await decide(app, card, "again")).status_code == 202
        shown = await app.until("unknown")
        assert "cost nothing: Insufficient credits" in shown["cards"][0]["reason"]
        assert (len(sandbox.ledger), shown["credits"]["left"]) == (1, "98")
        sandbox.space.balance = Decimal(2)
        assert (await decide(app, card, "again")).status_code == 202
        assert (await app.until("ready"))["credits"]["left"] == "96"


async def test_an_unknown_over_the_cap_is_not_sent_again(tmp_path: Path) -> None:
    """Making it again is refused where the customer's cap does not allow it, and it can be decided still."""
    async with studio(tmp_path, webhooks=False, credits=Decimal(3)) as (app, sandbox):
        card = await lost(app, sandbox)
        assert (await decide(app, card, "again")).status_code == 402
        assert (await decide(app, card, "this", str(sandbox.ledger[0].ref))).status_code == 202
        await app.until("ready")
        assert len(sandbox.ledger) == 1


async def test_a_lost_avatar_lists_the_avatars_that_are_new(tmp_path: Path) -> None:
    """The candidates of a lost avatar are avatars that are neither public, nor known, nor older than it."""
    async with studio(tmp_path, webhooks=False) as (app, sandbox):
        await app.client.post("/api/avatars", json=_avatar(app, "Alex"))
        await app.until("ready")
        await app.client.get("/api/faces")
        sandbox.fail_next("create", Fault.DROP_AFTER)
        await app.client.post("/api/avatars", json=_avatar(app, "Mara"))
        card = (await app.until("ready", "unknown"))["cards"][1]
        assert (await candidates(app, card))["candidates"] == []
        sandbox.settle(sandbox.ledger[1].ref, "ready")
        (candidate,) = (await candidates(app, card))["candidates"]
        assert (candidate["ref"], candidate["name"]) == (str(sandbox.ledger[1].ref), "Mara")
        assert candidate["made"] == (await _avatar_of(sandbox, candidate["ref"])).created_at
        assert (await decide(app, card, "this", candidate["ref"])).status_code == 202
        await app.until("ready", "ready")
        assert (await app.start("a", avatars=[candidate["ref"]])).status_code == 202


async def test_a_look_that_was_paid_and_not_written_down_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `StoreError` that names a paid look is not shown as "not charged": the look is awaited and shown."""
    submit = HooxSession.submit

    async def fails(session: HooxSession, *args: Any, **options: Any) -> LookJob:
        job = await submit(session, *args, **options)
        error = StoreError("the disk is full")
        error.charged, error.ref = "yes", job.ref
        raise error

    monkeypatch.setattr(HooxSession, "submit", fails)
    async with studio(tmp_path, webhooks=False) as (app, sandbox):
        await app.start("a")
        shown = await app.until("ready")
        assert (len(sandbox.ledger), shown["credits"]["left"]) == (1, "98")


async def _avatar_of(sandbox: Sandbox, ref: str) -> Avatar:
    async with sandbox.session() as session:
        return await session.avatar(ref.partition(":")[0])


def _avatar(app: Studio, name: str) -> dict[str, Any]:
    return {"token": app.token(), "name": name, "prompt": "somebody"}
