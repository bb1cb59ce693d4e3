"""No end of a look gets lost between processes: waiters wake and hooks hear, whatever happens meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from session_kit import prompt
from test_leader import LEASE, Process, apart, processes, until

from hoox_async import Event, Look, LookSettled, LookStatus
from hoox_async._core.intents.intent import IntentState
from hoox_async._core.polling import LookUpdate
from hoox_async._session import runtime_of

pytestmark = pytest.mark.virtual_time


async def settled_by(leader: Process, key: str = "k") -> None:
    """Wait until the leader has written that the look is settled. Others have not read that yet."""
    store = runtime_of(leader.session).services.store
    while (await store.get((key,)))[key].state is not IntentState.READY:
        await asyncio.sleep(0.005)


async def test_a_waiter_wakes_though_another_task_has_read_the_end_from_the_store_first() -> None:
    """Where a second task awaits the look just after its end, the first one ends too, and hooks are told."""
    async with processes(2) as (_, opened):
        leader, (other,) = apart(opened)
        job = await other.session.submit(prompt(), key="k")
        waiting = asyncio.create_task(job.wait())
        await settled_by(leader)
        assert (await other.session.wait(job.ref)).status is LookStatus.READY
        async with asyncio.timeout(1.5):
            assert (await waiting).status is LookStatus.READY
        await until(lambda: other.told == ["k"], 1.5)
        await asyncio.sleep(3 * LEASE)
        assert (leader.told, other.told) == ([], ["k"])


async def test_a_look_that_a_delivery_reports_without_its_picture_wakes_its_waiter() -> None:
    """Where a process that does not poll hears of an end without the picture, it asks for that itself."""
    async with processes(2) as (_, opened):
        _, (other,) = apart(opened)
        job = await other.session.submit(prompt(), key="k")
        waiting = asyncio.create_task(job.wait())
        await asyncio.sleep(0.5)
        delivered = LookUpdate(Look(job.ref, LookStatus.READY), complete=False)
        await runtime_of(other.session).registry.publish([delivered])
        async with asyncio.timeout(180.0):
            assert (await waiting).thumbnail_url is not None
        assert other.told == ["k"]


class SlowProcess(Process):
    """A process whose hook is async and takes five seconds."""

    async def _hear(self, event: Event) -> None:  # type: ignore[override]
        if isinstance(event, LookSettled):
            await asyncio.sleep(5.0)
            self.told.append(event.key)


async def test_an_end_that_an_async_hook_did_not_live_to_hear_of_is_told_by_the_leader() -> None:
    """It counts as told only when the async hooks of the submitter have run, not when they were queued."""
    async with processes(1) as (space, (leader,)):
        other = SlowProcess(leader.database.memory, space)
        await other.open()
        await other.session.submit(prompt(), key="k")
        await settled_by(leader)
        await asyncio.sleep(4.0)
        await other.kill()
        await until(lambda: leader.told == ["k"], 3 * LEASE)
        assert other.told == []


async def test_an_async_hook_that_takes_its_time_is_told_once() -> None:
    """While a hook still runs, nobody is told again, and afterwards neither."""
    async with processes(1) as (space, (leader,)):
        other = SlowProcess(leader.database.memory, space)
        await other.open()
        await other.session.submit(prompt(), key="k")
        await settled_by(leader)
        await asyncio.sleep(10 * LEASE)
        assert (leader.told, other.told) == ([], ["k"])
        await other.close()
        await asyncio.sleep(3 * LEASE)
        assert leader.told == []
