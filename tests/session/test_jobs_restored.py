"""Jobs that learn from the store that their look is settled: their waiters wake, and hooks are told."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from internals_kit import Clock, Intent, IntentState, Ledger, MemoryLedger, Settle, runtime_of
from rate_limiter_kit import virtual
from session_kit import intents, on_space, prompt, store_of, turns
from shared_memory_kit import MemoryDatabase, SharedMemory

from hoox_async import Event, HooxSession, Look, LookRef, LookSettled, LookStatus
from hoox_async.sandbox import InProcessTransport, Space

pytestmark = virtual


async def settle_in(store: Ledger, key: str, ref: LookRef) -> None:
    """Another process records that the look is READY."""
    look = Look(ref, LookStatus.READY, "https://cdn.example/1.jpg")
    await store.advance(key, Settle(look, Clock(asyncio.get_running_loop()).utc()))


async def test_waiters_wake_when_a_job_is_restored() -> None:
    """A job that is restored from a settled intent wakes its waiters: no further report would.

    That happens in the process that tells hooks for a dead one, before it reads the change.
    """
    async with on_space() as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt(), key="order")
        waiting = asyncio.create_task(job.wait(timeout=None))
        await turns()
        await settle_in(store_of(session), "order", job.ref)
        settled = (await store_of(session).get(("order",)))["order"]
        assert runtime_of(session).registry.job_of(settled) is job
        async with asyncio.timeout(1.0):
            assert (await waiting).status is LookStatus.READY


async def test_hooks_are_told_of_a_look_that_was_read_from_the_store_first() -> None:
    """The hooks of the process that submitted hear of a look that settles in another process, once.

    Also if a waiter has read the look from the store before the change was read.
    """
    events: list[Event] = []
    space = Space(rng=Random(1), requests_per_minute=None)
    space.hold(0.0)
    memory = SharedMemory()
    async with MemoryDatabase(memory) as own, MemoryDatabase(memory) as other:
        sessions = [
            HooxSession(
                space.api_key,
                transport=InProcessTransport(space),
                store=database.workspace("shop"),
                hooks=[events.append] if database is own else [],
                poll="awaited",
            )
            for database in (own, other)
        ]
        async with sessions[0] as session, sessions[1] as elsewhere:
            job = await session.submit(prompt(), key="order")
            await settle_in(store_of(elsewhere), "order", job.ref)
            assert (await job.wait(0)).status is LookStatus.READY
            await asyncio.sleep(5.0)
    assert [event.key for event in events if isinstance(event, LookSettled)] == ["order"]


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_job_made_from_its_ref_is_recorded_and_told_as_any_other(awaited: bool) -> None:
    """The end of a look of an earlier session is written, with one event under its key, though its job was
    made from the ref alone; also where a task awaits it and the store is slow to find its intent."""

    class Slow(MemoryLedger):
        async def by_ref(self, ref: LookRef) -> Intent | None:
            found = await super().by_ref(ref)
            await asyncio.sleep(60.0)
            return found

    store, events = Slow(), list[Event]()
    async with on_space(store=store, poll="awaited", hooks=[events.append]) as (session, space):
        ref = (await session.submit(prompt(), key="order")).ref
    async with on_space(space, store=store, hooks=[events.append]) as (session, _):
        job = session.job(ref)
        if awaited:
            assert (await job).status is LookStatus.READY
        await asyncio.sleep(200)
        assert job.done
        assert await intents(session) == {"order": IntentState.READY}
    assert [event.key for event in events if isinstance(event, LookSettled)] == ["order"]
