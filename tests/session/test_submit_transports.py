"""Transports of the user's own that never say when they begin: what may have left is never told as unsent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from session_kit import edit, intent_of, intents, made, money, prompt

from hoox_async import BatchItem, BatchRunner, Budget, HooxSession
from hoox_async._api.endpoints import WireRequest, WireResponse
from hoox_async._api.models import Look, LookStatus
from hoox_async._core.intents.intent import Intent, IntentState
from hoox_async._core.intents.transitions import Send, Settle, Transition
from hoox_async._io.protocols import BeforeSend
from hoox_async._io.stores.memory import MemoryStore
from hoox_async.errors import HooxError, InsufficientCredits, OutcomeUnknown, StoreError, TransportError
from hoox_async.sandbox import Fault, InProcessTransport, Space

pytestmark = pytest.mark.virtual_time


class Silent(InProcessTransport):
    """Sends what it is given and never says so; ``loses`` the answers of what is paid."""

    loses = False

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        async def unheard() -> None: ...

        response = await super().send(request, unheard if request.endpoint.paid else None)
        if self.loses and request.endpoint.paid:
            raise TransportError("the answer was lost")
        return response


class Wrapping(InProcessTransport):
    """Tells all that goes wrong as its own error."""

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        try:
            return await super().send(request, before_send)
        except Exception as error:
            raise TransportError("something went wrong") from error


class Full(MemoryStore):
    """Takes no sending, as long as it is full."""

    full = False

    async def plan(self, intent: Intent) -> Intent:
        self._check_room(intent.state is IntentState.SENDING)
        return await super().plan(intent)

    async def advance(self, key: str, *steps: Transition) -> Intent:
        self._check_room(any(isinstance(step, Send) for step in steps))
        return await super().advance(key, *steps)

    def _check_room(self, sends: bool) -> None:
        if self.full and sends:
            raise StoreError("the disk is full")


class Stage:
    def __init__(self, session: HooxSession, space: Space, transport: Any, store: Full) -> None:
        self.session = session
        self.space = space
        self.transport = transport
        self.store = store


@asynccontextmanager
async def stage(kind: type[InProcessTransport] = Silent, store: Full | None = None) -> AsyncIterator[Stage]:
    space, store = Space(rng=Random(1), requests_per_minute=None), store or Full()
    transport = kind(space)
    async with HooxSession(space.api_key, transport=transport, store=store) as session:
        yield Stage(session, space, transport, store)


async def test_a_loss_in_a_full_store_may_have_been_charged() -> None:
    """It is told so, is not sent again meanwhile, and is an unknown as soon as the store takes it."""
    async with stage() as on:
        on.store.full = on.transport.loses = True
        budget = Budget(10)
        for _ in range(2):
            with pytest.raises(OutcomeUnknown) as caught:
                await on.session.submit(prompt(), key="k", budget=budget)
            assert (caught.value.charged, caught.value.key) == ("maybe", "k")
        assert money(budget) == (0, 2)
        assert await intents(on.session) == {}
        on.store.full = False
        with pytest.raises(OutcomeUnknown):
            await on.session.submit(prompt(), key="k")
        assert [unknown.key for unknown in await on.session.unknowns()] == ["k"]
        assert len(on.space.ledger) == 1


async def test_so_may_what_was_planned_before_and_what_is_sent_again() -> None:
    """All that was paid, or may have been, is on the books in the end."""
    async with stage() as on:
        on.space.faults.fail_next("edit", Fault.status(402))
        request = edit(made(on.space))
        with pytest.raises(InsufficientCredits):
            await on.session.submit(request, key="k")
        on.transport.loses = on.store.full = True
        with pytest.raises(OutcomeUnknown):
            await on.session.submit(request, key="k")
        on.store.full = False
        with pytest.raises(OutcomeUnknown):
            await on.session.submit(request, key="k")
        on.store.full = True
        with pytest.raises(OutcomeUnknown):
            await on.session.resend("k")
        on.store.full = False
        with pytest.raises(OutcomeUnknown):
            await on.session.submit(request, key="k")
        intent = await intent_of(on.session, "k")
    assert intent.state is IntentState.UNKNOWN
    assert (float(intent.at_risk), float(intent.spent)) == (4, 0)
    assert on.space.credits_spent == 4


async def test_a_batch_counts_it_at_risk() -> None:
    """An outcome for each item, of which none says that it was not sent."""
    async with stage() as on:
        on.store.full = on.transport.loses = True
        report = await BatchRunner(on.session).run([BatchItem("k", prompt())])
    assert [str(outcome.state) for outcome in report] == ["unknown"]
    assert report.credits_at_risk == on.space.credits_spent == 2


class Faster(Full):
    """In the moment in which a sending is written down, the look that was paid before is settled."""

    async def advance(self, key: str, *steps: Transition) -> Intent:
        ref = self._intents[key].ref
        if ref is not None and isinstance(steps[-1], Send):
            at = self._intents[key].planned_at
            await super().advance(key, Settle(Look(ref, LookStatus.READY), at))
        return await super().advance(key, *steps)


async def test_what_has_left_is_no_reason_to_send_it_anew_where_its_intent_moved_on() -> None:
    """The intent stands as it moved; the one POST that may have left was not followed by another."""
    async with stage(store=Faster()) as on:
        on.space.hold(0.0)
        items = [BatchItem("k", prompt())]
        await BatchRunner(on.session, look_timeout=1).run(items)
        on.transport.loses = True
        await BatchRunner(on.session, look_timeout=1, retry=["pending"]).run(items)
        assert (await intent_of(on.session, "k")).state is IntentState.READY
        assert len(on.space.ledger) == 2


class Announcing(InProcessTransport):
    """Always says when it begins, and is kept from it by somebody else's error."""

    announces = True

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        raise RuntimeError("no network in tests")


async def test_a_transport_that_announces_is_believed_when_others_stop_it() -> None:
    """Their error comes out as it is, and nothing is on the books."""
    async with stage(Announcing) as on:
        budget = Budget(10)
        with pytest.raises(RuntimeError, match="no network in tests"):
            await on.session.submit(prompt(), key="k", budget=budget)
        assert money(budget) == (0, 0)
        assert await intents(on.session) == {}


async def test_an_answer_is_believed_all_the_same() -> None:
    """Its look is the job's, its credits are spent; so is a refusal, which costs nothing."""
    async with stage() as on:
        budget = Budget(10)
        job = await on.session.submit(prompt(), key="k", budget=budget)
        assert job.ref == on.space.ledger[0].ref
        assert await on.session.submit(prompt(), key="k") is job
        on.space.faults.fail_next("create", Fault.status(402))
        with pytest.raises(InsufficientCredits):
            await on.session.submit(prompt("another"), key="another", budget=budget)
        assert money(budget) == (0, 2)
        assert await intents(on.session) == {"k": IntentState.ACCEPTED, "another": IntentState.PLANNED}


async def test_an_answer_that_a_full_store_did_not_take_is_told_as_paid() -> None:
    """With its look; and it is a job as soon as the store takes it."""
    async with stage() as on:
        on.store.full = True
        with pytest.raises(StoreError) as caught:
            await on.session.submit(prompt(), key="k")
        assert (caught.value.charged, caught.value.ref) == ("yes", on.space.ledger[0].ref)
        on.store.full = False
        assert (await on.session.submit(prompt(), key="k")).ref == on.space.ledger[0].ref
        assert len(on.space.ledger) == 1


class Ambiguous(Full):
    """Takes the next sending and says that it did not, as a disk can whose acknowledgement is lost."""

    lies = False

    async def advance(self, key: str, *steps: Transition) -> Intent:
        taken = await super().advance(key, *steps)
        if self.lies and any(isinstance(step, Send) for step in steps):
            self.lies = False
            raise StoreError("the write may have failed")
        return taken


async def test_a_late_sending_that_was_written_all_the_same_is_no_obstacle() -> None:
    """What became of it is written then, and its look is on the books."""
    store = Ambiguous()
    async with stage(store=store) as on:
        on.space.faults.fail_next("create", Fault.status(402))
        with pytest.raises(InsufficientCredits):
            await on.session.submit(prompt(), key="k")
        store.lies = True
        with pytest.raises(StoreError) as caught:
            await on.session.submit(prompt(), key="k")
        assert caught.value.charged == "yes"
        assert (await on.session.submit(prompt(), key="k")).ref == on.space.ledger[0].ref
        assert await intents(on.session) == {"k": IntentState.ACCEPTED}
        assert len(on.space.ledger) == 1


async def test_what_the_store_kept_from_leaving_has_not_left() -> None:
    """A transport that said when it would begin, and tells the store's error as its own."""
    async with stage(Wrapping) as on:
        on.store.full = True
        budget = Budget(10)
        with pytest.raises(StoreError) as caught:
            await on.session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, *money(budget)) == ("no", 0, 0)
        on.store.full = False
        on.space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(HooxError) as lost:
            await on.session.submit(prompt(), key="k", budget=budget)
        assert (lost.value.charged, *money(budget)) == ("maybe", 0, 2)
