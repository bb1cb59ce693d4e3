"""Several POSTs that are answered with the same look: the first has it, the others may have been charged."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from random import Random
from typing import Any

import pytest
from internals_kit import (
    Accept,
    BeforeSend,
    Delivery,
    Intent,
    IntentState,
    MemoryLedger,
    Transition,
    WireRequest,
    WireResponse,
    runtime_of,
)
from session_kit import RawServer, edit, intent_of, made, now, on_space, prompt

from hoox_async import BatchItem, BatchRunner, Budget, Evidence, HooxSession
from hoox_async.errors import OutcomeUnknown, StoreError
from hoox_async.events import Event, LookAccepted, OutcomeLost
from hoox_async.sandbox import Fault, InProcessTransport, Space


class Caching(InProcessTransport):
    """A proxy that answers each edit as it answered the first one."""

    cached: WireResponse | None = None

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        response = await super().send(request, before_send)
        if request.endpoint != "edit":
            return response
        self.cached = self.cached or response
        return self.cached


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_one_answer_for_all_is_one_look_and_unknowns(kind: str, tmp_path: Path) -> None:
    """Answers that name another intent's look leave unknowns, also when the store is opened again."""
    store: Any = MemoryLedger() if kind == "memory" else tmp_path / "campaign.db"
    async with RawServer() as server:
        async with HooxSession("k" * 20, base_url=server.url, store=store) as session:
            first = await session.submit(prompt("first"), key="first")
            items = [BatchItem(f"k{n}", prompt(f"person {n}")) for n in range(3)]
            report = await BatchRunner(session).run(items)
            assert {str(outcome.state) for outcome in report} == {"unknown"}
            assert report.credits_at_risk == 6
            assert str(first.ref) in str(report.outcomes[0].error)
            assert [job.ref for job in await session.jobs()] == [first.ref]
            assert [unknown.key for unknown in await session.unknowns()] == ["k0", "k1", "k2"]
        async with HooxSession("k" * 20, base_url=server.url, store=store) as session:
            intent = await intent_of(session, "k1")
            assert (intent.state, intent.ref, float(intent.at_risk)) == (IntentState.UNKNOWN, None, 2)
            assert intent.reason is not None
            assert "'first'" in intent.reason.message
            with pytest.raises(OutcomeUnknown):
                await session.submit(prompt("person 1"), key="k1")


@pytest.mark.virtual_time
async def test_a_request_without_a_key_is_no_exception() -> None:
    """A look stays claimed though the intent that has it had no key and was forgotten."""
    space, events = Space(rng=Random(1), requests_per_minute=None), list[Event]()
    carrier, budget = Caching(space), Budget(10)
    async with HooxSession(space.api_key, transport=carrier, hooks=[events.append]) as session:
        source = made(space)
        await session.run(edit(source, "one"))
        for n in range(3):
            with pytest.raises(OutcomeUnknown, match="already"):
                await session.submit(edit(source, f"another {n}"), budget=budget)
        assert (float(budget.spent), float(budget.reserved)) == (6, 0)
    assert len([event for event in events if isinstance(event, LookAccepted)]) == 1
    assert len([event for event in events if isinstance(event, OutcomeLost)]) == 3


@pytest.mark.virtual_time
async def test_answers_in_the_same_moment_claim_a_look_once() -> None:
    """Of twenty POSTs that are answered with one look at the same time, one is accepted."""
    space = Space(rng=Random(1), requests_per_minute=None)
    async with HooxSession(space.api_key, transport=Caching(space), requests_per_minute=60_000) as session:
        source = made(space)
        sent = [session.submit(edit(source, f"p{n}"), key=f"k{n}") for n in range(20)]
        ends = await asyncio.gather(*sent, return_exceptions=True)
        assert sum(isinstance(end, OutcomeUnknown) for end in ends) == 19
        assert len(await session.unknowns()) == 19


@pytest.mark.virtual_time
async def test_an_answer_that_names_the_look_of_an_earlier_round_is_a_loss() -> None:
    """An answer that names the look of the intent's own earlier round is a loss."""
    space = Space(rng=Random(1), requests_per_minute=None)
    async with HooxSession(space.api_key, transport=Caching(space)) as session:
        items = [BatchItem("k", edit(made(space)))]
        space.hold(1.0)
        task = asyncio.create_task(BatchRunner(session).run(items))
        while not space.ledger:
            await asyncio.sleep(0.1)
        space.settle(space.ledger[0].ref, "failed", now())
        (failed,) = await task
        assert str(failed.state) == "failed"
        (again,) = await BatchRunner(session, retry=["failed"]).run(items)
    assert (str(again.state), float(again.credits), float(again.at_risk)) == ("unknown", 2, 2)


class DeferredWrite(MemoryLedger):
    """Takes no acceptance of one key, as long as it is full."""

    full = False

    async def advance(self, key: str, *steps: Transition) -> Intent:
        if self.full and key == "second" and isinstance(steps[-1], Accept):
            raise StoreError("the disk is full")
        return await super().advance(key, *steps)


@pytest.mark.virtual_time
async def test_an_acceptance_that_is_written_late_is_checked_too() -> None:
    """A deferred acceptance whose look is another intent's becomes an unknown, and is not resent."""
    space, store, events = Space(rng=Random(1), requests_per_minute=None), DeferredWrite(), list[Event]()
    carrier = Caching(space)
    async with HooxSession(space.api_key, transport=carrier, store=store, hooks=[events.append]) as session:
        source = made(space)
        await session.submit(edit(source, "first"), key="first")
        store.full = True
        with pytest.raises(StoreError):
            await session.submit(edit(source, "second"), key="second")
        store.full = False
        await asyncio.sleep(60)
        intent = await intent_of(session, "second")
        assert (intent.state, float(intent.at_risk)) == (IntentState.UNKNOWN, 2)
        with pytest.raises(OutcomeUnknown):
            await session.submit(edit(source, "second"), key="second")
    assert [event.key for event in events if isinstance(event, OutcomeLost)] == ["second"]
    assert len(space.ledger) == 2


class Interrupted(MemoryLedger):
    """The process ends after it was seen that the look is another's, before anything is written of that."""

    async def advance(self, key: str, *steps: Transition) -> Intent:
        is_second = key == "second" and not isinstance(steps[0], Accept)
        if is_second and (await self.get([key]))[key].attempts:
            raise StoreError("killed")
        return await super().advance(key, *steps)


@pytest.mark.virtual_time
async def test_a_process_that_ends_in_between_leaves_an_unknown() -> None:
    """A process that ends before it wrote that the look is another's leaves an unknown."""
    space, store = Space(rng=Random(1), requests_per_minute=None), Interrupted()
    async with HooxSession(space.api_key, transport=Caching(space), store=store) as session:
        source = made(space)
        await session.submit(edit(source, "first"), key="first")
        with pytest.raises(OutcomeUnknown):
            await session.submit(edit(source, "second"), key="second")
        assert (await intent_of(session, "second")).state is IntentState.SENDING
    store.__class__ = MemoryLedger  # type: ignore[assignment]
    async with HooxSession(space.api_key, transport=InProcessTransport(space), store=store) as session:
        assert [unknown.key for unknown in await session.unknowns()] == ["second"]


class TakenMeanwhile(MemoryLedger):
    """Says that a look is nobody's in the moment before another intent gets it."""

    hides = False

    async def by_ref(self, ref: Any) -> Intent | None:
        return None if self.hides else await super().by_ref(ref)

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        return await super().get(keys)


@pytest.mark.virtual_time
async def test_a_delivery_that_names_anothers_look_proves_nothing() -> None:
    """A look that becomes another intent's in that moment is refused by the store's own check."""
    store = TakenMeanwhile()
    async with on_space(store=store) as (session, space):
        source = made(space)
        first = await session.submit(edit(source, "first"), key="first")
        space.faults.fail_next("edit", Fault.DROP_BEFORE)
        with pytest.raises(OutcomeUnknown):
            await session.submit(edit(source, "lost"), key="lost")
        attempt = (await intent_of(session, "lost")).attempts[0].id
        store.hides = True
        deliveries = runtime_of(session).deliveries
        assert await deliveries.accept(attempt, Delivery(first.look_id, first.last.status, first.avatar_id))
        await asyncio.sleep(1)
        store.hides = False
        lost = await intent_of(session, "lost")
        assert (lost.state, lost.evidence) == (IntentState.UNKNOWN, None)
        assert (await intent_of(session, "first")).evidence is Evidence.ANSWER
