"""Looks that nobody awaits: polled until they are settled, recorded in the store, and emitted as events."""

from __future__ import annotations

import asyncio
import gc
from random import Random
from typing import Any

import pytest
from delivery_kit import stage
from internals_kit import IntentState, MemoryLedger, Settle, Transition, runtime_of
from session_kit import edit, intents, made, now, on_space, prompt, sends

from hoox_async import BatchRunner, ConfigurationError, HooxSession, LookStatus, OutcomeState
from hoox_async.errors import NotFound, StoreError
from hoox_async.events import Event, LookSettled
from hoox_async.sandbox import DeliveryOptions, Fault, Space
from hoox_async.sandbox.fault_injection import FaultPlan

pytestmark = pytest.mark.virtual_time
DAY = 86_400.0


def quota_space() -> Space:
    """A workspace with the usual quota."""
    return Space(rng=Random(1), requests_per_minute=100)


def settled_keys(events: list[Event]) -> list[str | None]:
    """The keys of the looks that the hooks were told are settled, in order."""
    return [event.key for event in events if isinstance(event, LookSettled)]


async def test_looks_that_nobody_awaits_are_settled() -> None:
    """Looks whose jobs nobody holds are settled in the store, with one event each and few requests."""
    events: list[Event] = []
    async with on_space(quota_space(), hooks=[events.append], requests_per_minute=100) as (session, space):
        for n in range(20):
            await session.submit(prompt(f"order {n}"), key=f"order {n}", max_wait=60)
        gc.collect()
        await asyncio.sleep(600)
        assert set((await intents(session)).values()) == {IntentState.READY}
        assert sorted(map(str, settled_keys(events))) == sorted(f"order {n}" for n in range(20))
        assert all(e.seconds is not None and e.seconds < 300 for e in events if isinstance(e, LookSettled))
        assert sends(space, "status", "avatar") <= 120
        assert len(runtime_of(session).scheduler) == 0


async def test_looks_whose_deliveries_are_lost_are_settled_though_nobody_waits() -> None:
    """Hooks get LookSettled for looks that nobody awaits, also where their deliveries are lost."""
    async with stage(quota_space(), sends_webhooks=DeliveryOptions(lose=1.0), requests_per_minute=100) as on:
        for n in range(10):
            await on.session.submit(prompt(f"order {n}"), key=str(n))
        await asyncio.sleep(600)
        assert sorted(map(str, settled_keys(on.events))) == sorted(map(str, range(10)))


async def test_poll_awaited_polls_only_what_somebody_awaits() -> None:
    """A session with poll="awaited" makes no status request for a look that nobody awaits."""
    async with on_space(poll="awaited") as (session, space):
        job = await session.submit(prompt(), key="k")
        await asyncio.sleep(DAY)
        assert sends(space, "status", "avatar") == 0
        assert (await job).status is LookStatus.READY


@pytest.mark.parametrize("poll", ["some", None, 1, ""])
async def test_any_other_value_of_poll_is_refused(poll: Any) -> None:
    """ConfigurationError names the two valid values of ``poll``."""
    with pytest.raises(ConfigurationError, match=r"poll: .* one of all, awaited"):
        HooxSession("key", poll=poll)


async def test_looks_of_an_earlier_process_are_settled() -> None:
    """Accepted looks of the store are polled as soon as the session is open, those of last month too."""
    store, space, events = MemoryLedger(), quota_space(), list[Event]()
    awaited: dict[str, Any] = {"poll": "awaited", "hooks": [events.append], "requests_per_minute": 100}
    async with on_space(space, store=store, **awaited) as (session, _):
        ref = made(space)
        for n in range(5):
            await session.submit(edit(ref, f"scene {n}"), key=str(n))
        await session.submit(prompt(), key="p")
    await asyncio.sleep(30 * DAY)
    before = len(space.requests)
    async with on_space(space, store=store, hooks=[events.append], requests_per_minute=100) as (session, _):
        await asyncio.sleep(5)
        assert set((await intents(session)).values()) == {IntentState.READY}
        assert sorted(map(str, settled_keys(events))) == ["0", "1", "2", "3", "4", "p"]
        assert len(space.requests) - before <= 4


async def test_a_stuck_look_of_long_ago_is_polled_at_growing_intervals() -> None:
    """A look that is pending for a month costs a few requests a day, and is still found when it is done."""
    store, space = MemoryLedger(), quota_space()
    space.hold(0.0)
    async with on_space(space, store=store, poll="awaited", requests_per_minute=100) as (session, _):
        job = await session.submit(prompt(), key="k")
    await asyncio.sleep(30 * DAY)
    async with on_space(space, store=store, requests_per_minute=100) as (session, _):
        await asyncio.sleep(DAY)
        first = sends(space, "status", "avatar")
        assert 1 <= first <= 10
        space.settle(job, "ready", now())
        await asyncio.sleep(2 * DAY)
        assert await intents(session) == {"k": IntentState.READY}


async def test_a_look_that_stays_not_found_is_asked_for_ever_more_rarely() -> None:
    """After some 404s it is asked for at growing intervals, and at once if somebody awaits it.

    Whoever does gets `NotFound`. Once the API knows it again, it is settled though nobody awaits it.
    """
    store, space = MemoryLedger(), quota_space()
    async with on_space(space, store=store, requests_per_minute=100) as (session, _):
        job = await session.submit(prompt(), key="k")
        space.faults.fail_next("status", Fault.status(404), times=10_000)
        await asyncio.sleep(300)
        asked = sends(space, "status", "avatar")
        assert 3 <= asked <= 10
        await asyncio.sleep(DAY)
        assert sends(space, "status", "avatar") <= asked + 12
        assert await intents(session) == {"k": IntentState.ACCEPTED}
        with pytest.raises(NotFound):
            await job.wait(60.0)
        await asyncio.sleep(DAY)
        assert sends(space, "status", "avatar") <= 2 * (asked + 12)
        space.faults = FaultPlan(Random(1))
        await asyncio.sleep(DAY)
        assert await intents(session) == {"k": IntentState.READY}


async def test_a_settled_look_is_recorded_later_where_the_store_failed() -> None:
    """The look is recorded as soon as the store works again. Hooks hear of it then, and not before."""

    class Failing(MemoryLedger):
        fails = True

        async def advance(self, key: str, *steps: Transition) -> Any:
            if self.fails and any(isinstance(step, Settle) for step in steps):
                raise StoreError("the disk is full")
            return await super().advance(key, *steps)

    store, events = Failing(), list[Event]()
    async with on_space(store=store, hooks=[events.append], requests_per_minute=100) as (session, _):
        await session.submit(prompt(), key="k")
        await asyncio.sleep(300)
        assert settled_keys(events) == []
        assert await intents(session) == {"k": IntentState.ACCEPTED}
        store.fails = False
        await asyncio.sleep(1_200)
        assert await intents(session) == {"k": IntentState.READY}
        assert settled_keys(events) == ["k"]


async def test_polling_goes_on_after_the_key_was_refused_for_a_while() -> None:
    """After 401 for ten minutes, looks that nobody awaits are polled again."""
    async with on_space(quota_space(), requests_per_minute=100) as (session, space):
        await session.submit(prompt(), key="k")
        space.faults.fail_next("status", Fault.status(401), times=10)
        await asyncio.sleep(3_600)
        assert await intents(session) == {"k": IntentState.READY}


async def test_a_thousand_stored_looks_do_not_hold_up_submissions() -> None:
    """With 1,000 avatars of last week in the store, the session opens at once and a batch keeps its pace."""
    store, space = MemoryLedger(), Space(rng=Random(1), requests_per_minute=None)
    async with on_space(space, store=store, poll="awaited") as (session, _):
        for n in range(1_000):
            await session.submit(prompt(f"old {n}"), key=f"old {n}")
    await asyncio.sleep(7 * DAY)
    opening = now()
    async with on_space(space, store=store, requests_per_minute=100) as (session, _):
        assert now() - opening < 1.0
        ref = made(space)
        job = await session.submit(edit(ref), max_wait=1.0)
        await session.run(prompt("one of today"), timeout=240)
        report = await BatchRunner(session).run([edit(ref, f"scene {n}") for n in range(100)])
        assert {outcome.state for outcome in report} == {OutcomeState.READY}
        assert now() - opening < 420
        assert job.last.status is LookStatus.READY
        ready = sum(state is IntentState.READY for state in (await intents(session)).values())
        assert ready >= 102 + 50, "the old ones come in beside them"


async def test_a_job_that_nobody_awaits_any_more_is_still_polled() -> None:
    """A waiter that times out changes nothing: the look is settled in the store, with its event."""
    events: list[Event] = []
    async with on_space(hooks=[events.append], requests_per_minute=100) as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt(), key="k")
        with pytest.raises(TimeoutError):
            await job.wait(timeout=60)
        space.settle(job, "ready", now())
        del job
        gc.collect()
        await asyncio.sleep(120)
        assert settled_keys(events) == ["k"]
        assert await intents(session) == {"k": IntentState.READY}


async def test_an_unknown_that_the_user_resolved_is_polled() -> None:
    """The look that the user named is accepted then, and polled like any other."""
    events: list[Event] = []
    async with on_space(hooks=[events.append], requests_per_minute=100) as (session, space):
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(Exception, match="charged"):
            await session.submit(prompt(), key="k")
        await session.resolve("k", space.ledger[0].ref)
        await asyncio.sleep(300)
        assert await intents(session) == {"k": IntentState.READY}
        assert settled_keys(events) == ["k"]
