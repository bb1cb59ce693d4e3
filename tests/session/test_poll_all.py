"""Looks that nobody awaits: polled until they are settled, written down, and told to the hooks."""

from __future__ import annotations

import asyncio
import gc
from random import Random
from typing import Any

import pytest
from delivery_kit import stage
from session_kit import edit, intents, made, now, on_space, prompt, sends

from hoox_async import BatchRunner, ConfigurationError, HooxSession, LookStatus, OutcomeState
from hoox_async._core.intents.intent import IntentState
from hoox_async._core.intents.transitions import Settle, Transition
from hoox_async._io.stores.memory import MemoryStore
from hoox_async.errors import NotFound, StoreError
from hoox_async.events import Event, LookSettled
from hoox_async.sandbox import DeliveryOptions, Fault, Space

pytestmark = pytest.mark.virtual_time
DAY = 86_400.0


def quota_space() -> Space:
    """A workspace with the usual quota."""
    return Space(rng=Random(1), requests_per_minute=100)


def settled(told: list[Event]) -> list[str | None]:
    """The keys of the looks whose end the hooks were told, in order."""
    return [event.key for event in told if isinstance(event, LookSettled)]


async def test_looks_that_nobody_awaits_are_settled() -> None:
    """The jobs are not even held: the store has each end, the hooks are told once, at few requests."""
    told: list[Event] = []
    async with on_space(quota_space(), hooks=[told.append], requests_per_minute=100) as (session, space):
        for n in range(20):
            await session.submit(prompt(f"order {n}"), key=f"order {n}", max_wait=60)
        gc.collect()
        await asyncio.sleep(600)
        assert set((await intents(session)).values()) == {IntentState.READY}
        assert sorted(map(str, settled(told))) == sorted(f"order {n}" for n in range(20))
        assert all(e.seconds is not None and e.seconds < 300 for e in told if isinstance(e, LookSettled))
        assert sends(space, "status", "avatar") <= 120
        assert len(session._open.scheduler) == 0  # type: ignore[union-attr]


async def test_lost_deliveries_are_found_though_nobody_waits() -> None:
    """A web app submits and relies on its hook: every look's end is told, also where no delivery comes."""
    async with stage(quota_space(), sends_webhooks=DeliveryOptions(lose=1.0), requests_per_minute=100) as on:
        for n in range(10):
            await on.session.submit(prompt(f"order {n}"), key=str(n))
        await asyncio.sleep(600)
        assert sorted(map(str, settled(on.events))) == sorted(map(str, range(10)))


async def test_poll_awaited_polls_only_what_somebody_awaits() -> None:
    """A session with poll="awaited" makes no status request for a look that nobody awaits."""
    async with on_space(poll="awaited") as (session, space):
        job = await session.submit(prompt(), key="k")
        await asyncio.sleep(DAY)
        assert sends(space, "status", "avatar") == 0
        assert (await job).status is LookStatus.READY


@pytest.mark.parametrize("poll", ["some", None, 1, ""])
async def test_another_word_for_poll_is_refused(poll: Any) -> None:
    """Any other value of ``poll`` is a ConfigurationError that names the two that there are."""
    with pytest.raises(ConfigurationError, match="'all', 'awaited'"):
        HooxSession("key", poll=poll)


async def test_looks_of_an_earlier_process_are_settled() -> None:
    """What the store knows as accepted is polled from the opening on, a look of last month too."""
    store, space, told = MemoryStore(), quota_space(), list[Event]()
    async with on_space(space, store=store, poll="awaited", requests_per_minute=100) as (session, _):
        ref = made(space)
        for n in range(5):
            await session.submit(edit(ref, f"scene {n}"), key=str(n))
        await session.submit(prompt(), key="p")
    await asyncio.sleep(30 * DAY)
    before = len(space.requests)
    async with on_space(space, store=store, hooks=[told.append], requests_per_minute=100) as (session, _):
        await asyncio.sleep(5)
        assert set((await intents(session)).values()) == {IntentState.READY}
        assert sorted(map(str, settled(told))) == ["0", "1", "2", "3", "4", "p"]
        assert len(space.requests) - before <= 4


async def test_a_stuck_look_of_long_ago_is_polled_at_growing_intervals() -> None:
    """A look that is pending for a month costs a few requests a day, and is still found when it is done."""
    store, space = MemoryStore(), quota_space()
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


async def test_a_look_that_the_api_does_not_know_is_left_alone() -> None:
    """After some 404s a look is not polled any more in this session; awaiting it asks again."""
    store, space = MemoryStore(), quota_space()
    async with on_space(space, store=store, requests_per_minute=100) as (session, _):
        job = await session.submit(prompt(), key="k")
        space.faults.fail_next("status", Fault.status(404), times=10_000)
        await asyncio.sleep(300)
        asked = sends(space, "status", "avatar")
        assert 3 <= asked <= 10
        await asyncio.sleep(DAY)
        assert sends(space, "status", "avatar") == asked
        assert await intents(session) == {"k": IntentState.ACCEPTED}
        with pytest.raises(NotFound):
            await job
        await asyncio.sleep(DAY)
        assert sends(space, "status", "avatar") <= asked + 10


async def test_a_store_that_fails_at_the_end_of_a_look_gets_it_later() -> None:
    """The hooks are told once, and the end is written as soon as the store works again."""

    class Failing(MemoryStore):
        fails = True

        async def advance(self, key: str, *steps: Transition) -> Any:
            if self.fails and any(isinstance(step, Settle) for step in steps):
                raise StoreError("the disk is full")
            return await super().advance(key, *steps)

    store, told = Failing(), list[Event]()
    async with on_space(store=store, hooks=[told.append], requests_per_minute=100) as (session, _):
        await session.submit(prompt(), key="k")
        await asyncio.sleep(300)
        assert settled(told) == ["k"]
        assert await intents(session) == {"k": IntentState.ACCEPTED}
        store.fails = False
        await asyncio.sleep(1_200)
        assert await intents(session) == {"k": IntentState.READY}
        assert settled(told) == ["k"]


async def test_a_key_that_is_refused_for_a_while_ends_no_polling() -> None:
    """401 for ten minutes: the looks that nobody awaits are polled again afterwards."""
    async with on_space(quota_space(), requests_per_minute=100) as (session, space):
        await session.submit(prompt(), key="k")
        space.faults.fail_next("status", Fault.status(401), times=10)
        await asyncio.sleep(3_600)
        assert await intents(session) == {"k": IntentState.READY}


async def test_thousands_of_old_looks_do_not_hold_up_what_is_submitted() -> None:
    """2,000 avatars of last week in the store: the session opens at once, and a batch keeps its pace."""
    store, space = MemoryStore(), Space(rng=Random(1), requests_per_minute=None)
    async with on_space(space, store=store, poll="awaited") as (session, _):
        for n in range(2_000):
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
    """A waiter that gives up changes nothing: the look's end comes to the store and to the hooks."""
    told: list[Event] = []
    async with on_space(hooks=[told.append], requests_per_minute=100) as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt(), key="k")
        with pytest.raises(TimeoutError):
            await job.wait(timeout=60)
        space.settle(job, "ready", now())
        del job
        gc.collect()
        await asyncio.sleep(120)
        assert settled(told) == ["k"]
        assert await intents(session) == {"k": IntentState.READY}


async def test_what_was_resolved_by_the_user_is_polled() -> None:
    """An unknown whose look the user names is accepted then, and polled like any other."""
    told: list[Event] = []
    async with on_space(hooks=[told.append], requests_per_minute=100) as (session, space):
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(Exception, match="charged"):
            await session.submit(prompt(), key="k")
        await session.resolve("k", space.ledger[0].ref)
        await asyncio.sleep(300)
        assert await intents(session) == {"k": IntentState.READY}
        assert settled(told) == ["k"]
