"""Deliveries for what may have been paid: the one on its own token is proof."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
from delivery_kit import PICTURE, Hub, stage
from internals_kit import Accept, Delivered, Delivery, IntentState, MemoryLedger, WireResponse, read_looks
from session_kit import edit, intent_of, intents, made, prompt, sends, turns

from hoox_async import (
    BatchItem,
    BatchRunner,
    Evidence,
    HooxSession,
    ImageAvatar,
    LookDetails,
    LookRef,
    LookStatus,
)
from hoox_async.errors import InvalidRequest
from hoox_async.events import LookAccepted
from hoox_async.sandbox import Fault, InProcessTransport, Space

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize(
    "status", [LookStatus.READY, LookStatus.FAILED, LookStatus.PENDING, LookStatus.PROCESSING]
)
@pytest.mark.parametrize("form", ["new", "old"])
async def test_a_delivery_confirms_a_lost_edit(form: str, status: LookStatus) -> None:
    """A delivery in either payload form and with any status confirms a lost edit, since it names the look."""
    async with stage() as on:
        source = await on.session.run(ImageAvatar("https://example.com/a.jpg"))
        on.events.clear()
        attempt = await on.lose(edit(source.ref), "k")
        fields: dict[str, Any] = {"avatar_id": None} if form == "old" else {}
        await on.deliver(attempt, on.last, status, **fields)
        intent = await intent_of(on.session, "k")
        assert (intent.ref, intent.evidence) == (on.last, Evidence.WEBHOOK)
        assert intent.state.value == (status.value if status.settled else "accepted")
        assert await on.session.unknowns() == []
        assert [event.evidence for event in on.events if isinstance(event, LookAccepted)] == [
            Evidence.WEBHOOK
        ]
        assert len(on.space.ledger) == 2
        assert sends(on.space, "avatar", "list") == 0


async def test_a_delivery_confirms_a_lost_creation() -> None:
    """A delivery that names the avatar confirms a lost creation without a request."""
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        await on.deliver(attempt, on.last, LookStatus.READY)
        assert (await intent_of(on.session, "k")).ref == on.last
        assert sends(on.space, "list") == 0
        job = await on.session.submit(prompt(), key="k")
        assert (await job).thumbnail_url == PICTURE


async def test_an_avatar_that_the_delivery_does_not_name_is_looked_up_in_the_list() -> None:
    """The older payload form names only the look; one request finds the avatars of all such deliveries."""
    async with stage() as on:
        attempts = [await on.lose(prompt(str(n)), str(n)) for n in range(3)]
        refs = [charge.ref for charge in on.space.ledger]
        for ref in refs:
            on.space.settle(ref, "ready", 1.0)
        for attempt, ref in zip(attempts, refs, strict=True):
            await on.hub(attempt, Delivery(ref.look_id, LookStatus.READY, None, PICTURE))
        await asyncio.sleep(30)
        assert [(await intent_of(on.session, str(n))).ref for n in range(3)] == refs
        assert set((await intents(on.session)).values()) == {IntentState.READY}
        assert sends(on.space, "list") <= 2


@pytest.mark.default_forms
async def test_the_lookup_of_an_avatar_is_repeated() -> None:
    """A look that is missing in the list may be there later; a request that fails counts as a try."""
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        on.space.faults.fail_next("list", Fault.status(400))
        await on.hub(attempt, Delivery(on.last.look_id, LookStatus.READY, None, PICTURE))
        await asyncio.sleep(30)
        assert await intents(on.session) == {"k": IntentState.UNKNOWN}
        on.space.settle(on.last, "ready", asyncio.get_running_loop().time())
        await asyncio.sleep(120)
        assert await intents(on.session) == {"k": IntentState.READY}


@pytest.mark.default_forms
async def test_the_avatar_is_looked_up_at_growing_intervals() -> None:
    """A look that is not listed stays unknown, and is looked up about as often as its age has doubled."""
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        await on.hub(attempt, Delivery(on.last.look_id, LookStatus.READY, None, PICTURE))
        await asyncio.sleep(3600)
        asked = sends(on.space, "list")
        assert 5 <= asked <= 13
        await asyncio.sleep(3600)
        assert sends(on.space, "list") <= asked + 1
        assert await intents(on.session) == {"k": IntentState.UNKNOWN}
        on.space.settle(on.last, "ready", asyncio.get_running_loop().time())
        await asyncio.sleep(4 * 3600)
        assert await intents(on.session) == {"k": IntentState.READY}


@pytest.mark.default_forms
async def test_an_unknown_whose_look_was_delivered_without_its_avatar_was_surely_paid() -> None:
    """It is said so, it is sent again only by naming its attempt, and only that look can be its result."""
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        made_look = on.last
        await on.deliver(attempt, made_look, LookStatus.READY, avatar_id=None)
        (unknown,) = await on.session.unknowns()
        assert (unknown.delivered, unknown.attempt) == (made_look.look_id, attempt)
        with pytest.raises(InvalidRequest, match=f"look: .* expected the look {made_look.look_id}"):
            await on.session.resolve("k", made(on.space))
        with pytest.raises(InvalidRequest, match=f"attempt: .*{attempt}.*paid"):
            await on.session.resend("k")
        report = await BatchRunner(on.session, on_unknown="resend").run([BatchItem("k", prompt())])
        assert [str(outcome.state) for outcome in report] == ["unknown"]
        assert sends(on.space, "create") == 1
        await on.session.resend("k", attempt=attempt)
        assert sends(on.space, "create") == 2


@pytest.mark.default_forms
async def test_unknowns_looks_for_the_avatar_at_once(tmp_path: Path) -> None:
    """Also in a session without webhooks: what is found is settled, and is no unknown any more."""
    space, store = Space(rng=Random(1)), tmp_path / "a.db"
    async with stage(space, store=store) as on:
        attempt = await on.lose(prompt(), "k")
        await on.deliver(attempt, on.last, LookStatus.READY, avatar_id=None)
        ref = on.last
    space.settle(ref, "ready", asyncio.get_running_loop().time())
    transport = InProcessTransport(space)
    async with HooxSession(space.api_key, transport=transport, store=store) as session:
        assert await session.unknowns() == []
        assert (await intent_of(session, "k")).ref == ref


@pytest.mark.default_forms
async def test_a_look_that_two_avatars_have_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery that names no avatar leaves its request unknown where the list has that look twice."""

    def doubled(response: WireResponse) -> list[LookDetails]:
        looks = read_looks(response)
        return [*looks, *(attrs.evolve(look, ref=LookRef("avtr_b", look.ref.look_id)) for look in looks)]

    monkeypatch.setattr("hoox_async._session.reads.read_looks", doubled)
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        on.space.settle(on.last, "ready", 1.0)
        await on.deliver(attempt, on.last, LookStatus.READY, avatar_id=None)
        await asyncio.sleep(600)
        (unknown,) = await on.session.unknowns()
        assert unknown.delivered == on.last.look_id


@pytest.mark.parametrize("form", ["new", "old"])
async def test_a_stored_delivery_confirms_a_lost_post_after_a_restart(form: str) -> None:
    """A delivery during a POST that the end of the process cut off confirms it in the next session."""
    store, space = MemoryLedger(), Space(rng=Random(1))
    hub = Hub()
    space.hold(0.0)
    session = HooxSession(
        space.api_key,
        transport=InProcessTransport(space, latency=10.0),
        store=store,
        webhooks=hub,  # type: ignore[arg-type]
    )
    await session.__aenter__()
    task = asyncio.create_task(session.submit(prompt(), key="k"))
    await asyncio.sleep(6)
    ref = space.ledger[0].ref
    space.settle(ref, "ready", 1.0)
    assert await hub(
        hub.attempts[0],
        Delivery(ref.look_id, LookStatus.READY, ref.avatar_id if form == "new" else None, PICTURE),
    )
    closing = asyncio.create_task(session.aclose())
    await asyncio.sleep(0.1)
    closing.cancel()
    await asyncio.gather(task, closing, return_exceptions=True)
    async with stage(space, store=store, hub=hub) as on:
        await asyncio.sleep(10)
        intent = await intent_of(on.session, "k")
        assert (intent.state, intent.ref, intent.evidence) == (IntentState.READY, ref, Evidence.WEBHOOK)
    assert len(space.ledger) == 1


async def test_a_delivery_after_the_restart_confirms_a_lost_post() -> None:
    """A delivery that comes after a restart confirms the lost POST of the session before."""
    store, space, hub = MemoryLedger(), Space(rng=Random(1)), Hub()
    async with stage(space, store=store, hub=hub) as on:
        attempt = await on.lose(prompt(), "k")
    async with stage(space, store=store, hub=hub) as on:
        await on.deliver(attempt, on.last, LookStatus.READY)
        assert await intents(on.session) == {"k": IntentState.READY}


async def test_a_delivery_that_names_the_look_of_another_request_confirms_nothing() -> None:
    """A delivery that names another request's look, or the source of the edit, confirms no lost edit."""
    async with stage() as on:
        source = made(on.space)
        job = await on.session.submit(edit(source, "first"), key="first")
        attempt = await on.lose(edit(source, "second"), "second")
        for ref in (job.ref, source):
            await on.deliver(attempt, ref, LookStatus.READY)
            assert (await intents(on.session))["second"] is IntentState.UNKNOWN
        await on.deliver(attempt, on.last, LookStatus.READY)
        assert (await intents(on.session))["second"] is IntentState.READY
        assert on.used[-1]


async def test_an_unknown_that_another_process_has_just_confirmed(caplog: pytest.LogCaptureFixture) -> None:
    """A delivery whose intent is confirmed elsewhere while it is processed is used, without a warning."""
    store = ConfirmedElsewhere()
    async with stage(store=store) as on:
        attempt = await on.lose(edit(made(on.space)), "k")
        store.confirm = on.last
        await on.deliver(attempt, on.last, LookStatus.READY)
        assert (await intent_of(on.session, "k")).state is IntentState.READY
        assert "another request" not in caplog.text


class ConfirmedElsewhere(MemoryLedger):
    """A store in which another process confirms an unknown just after its delivery was read."""

    confirm: LookRef | None = None

    async def delivered(self, attempt_id: str) -> Delivered | None:
        delivered = await super().delivered(attempt_id)
        if delivered is not None and self.confirm is not None:
            look, self.confirm = self.confirm, None
            unknown = delivered.intent
            await self.advance(unknown.key, Accept(look, unknown.planned_at, Evidence.WEBHOOK))
        return delivered


async def test_several_deliveries_of_an_unknown_at_once_confirm_it_once() -> None:
    """Two simultaneous deliveries of an unknown, one of them final, confirm and settle its look."""
    async with stage() as on:
        attempt = await on.lose(prompt(), "k")
        look = on.last
        deliveries = [
            Delivery(look.look_id, LookStatus.PROCESSING, look.avatar_id),
            Delivery(look.look_id, LookStatus.READY, look.avatar_id, PICTURE),
        ]
        assert all(await asyncio.gather(*(on.hub(attempt, delivery) for delivery in deliveries)))
        await turns()
        assert await intents(on.session) == {"k": IntentState.READY}


async def test_a_look_that_another_request_has_paid_for_besides_is_no_candidate_any_more() -> None:
    """Also where it was listed as one before that was proved; and it can't be named."""
    async with stage() as on:
        source = made(on.space)
        twice = await on.lose(edit(source, "paid twice"), "twice")
        besides = on.last
        await on.lose(edit(source, "lost"), "lost")
        own = on.last
        assert {each.key: set(each.candidates) for each in await on.session.unknowns()} == {
            "twice": {besides, own},
            "lost": {besides, own},
        }
        await on.session.resend("twice")
        await on.deliver(twice, besides, LookStatus.READY)
        assert (await intent_of(on.session, "twice")).past_looks == (besides,)
        [unknown] = await on.session.unknowns()
        assert unknown.candidates == (own,)
        with pytest.raises(InvalidRequest, match="another request"):
            await on.session.resolve("lost", besides)
        assert (await on.session.resolve("lost", own)).ref == own
