"""Rate limiters of several processes that take their permits from one database, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal

import pytest
from internals_kit import Clock, Permit, ProcessQuota, RateLimiter, ServerQuota, TaskSet, WireResponse
from rate_limiter_kit import most_in_a_minute, virtual
from shared_permits_kit import MemoryPermits, MemoryQuota

from hoox_async._io.protocols import Learned
from hoox_async._session.database_window import OTHERS_HORIZON, DatabaseWindow
from hoox_async.errors import NotSent
from hoox_async.sandbox.quota_window import QuotaWindow

pytestmark = virtual


class Process:
    """The rate limiter of one process, and when its requests were sent."""

    def __init__(self, quota: MemoryQuota, name: str, sends: list[float], limit: int = 100) -> None:
        self.clock = Clock(asyncio.get_running_loop())
        self.tasks = TaskSet()
        self.window = DatabaseWindow(
            MemoryPermits(quota, name), self.clock, self.tasks, limit=limit, hold=35.0
        )
        self.rate_limiter = RateLimiter(self.clock, limit, quota=ProcessQuota(limit, self.window))
        self.window.on_change = self.rate_limiter.wake
        self.sends = sends

    async def send(self, *, batch: bool = True, seconds: float = 0.3) -> Permit:
        """Take a permit and send a request that is answered after ``seconds``."""
        acquire = self.rate_limiter.acquire_for_batch() if batch else self.rate_limiter.acquire()
        with await acquire as permit:
            permit.mark_sent()
            self.sends.append(self.clock.now())
            await asyncio.sleep(seconds)
        return permit

    async def send_many(self, count: int) -> None:
        await asyncio.gather(*(self.send() for _ in range(count)))


@asynccontextmanager
async def processes(count: int, **options: int) -> AsyncIterator[tuple[MemoryQuota, list[Process]]]:
    permits, sends = MemoryQuota(asyncio.get_running_loop().time), list[float]()
    opened = [Process(permits, f"process {n}", sends, **options) for n in range(count)]
    try:
        yield permits, opened
    finally:
        for process in opened:
            process.rate_limiter.close()
        for process in opened:
            await process.tasks.cancel()


@pytest.mark.parametrize("count", [1, 4, 8])
async def test_all_processes_together_stay_within_the_quota_and_use_it(count: int) -> None:
    """At most 100 requests are sent in any 60 s, and 320 are sent nearly as fast as the quota allows."""
    async with processes(count) as (permits, opened):
        began = opened[0].clock.now()
        await asyncio.gather(*(process.send_many(320 // count) for process in opened))
        sends = opened[0].sends
        assert most_in_a_minute([(at, at) for at in sends]) <= 100
        assert max(sends) - began <= 320 * 0.6 * 1.03
        assert permits.unused <= 0.05 * permits.granted


async def test_a_process_that_begins_later_shares_the_quota_evenly() -> None:
    """A second process that begins while the first has a long queue gets about half of the permits."""
    async with processes(2) as (_, (first, second)):
        busy = asyncio.create_task(first.send_many(400))
        await asyncio.sleep(30.0)
        began = first.clock.now()
        await second.send_many(50)
        assert second.clock.now() - began <= 50 * 0.6 * 2 * 1.3
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


async def test_a_callers_request_goes_before_the_batches_of_other_processes() -> None:
    """A caller's own request waits a few intervals at most while seven other processes send batches."""
    async with processes(8) as (_, opened):
        busy = [asyncio.create_task(process.send_many(300)) for process in opened[1:]]
        await asyncio.sleep(90.0)
        waits = []
        for _ in range(10):
            asked = opened[0].clock.now()
            await opened[0].send(batch=False, seconds=0.0)
            waits.append(opened[0].clock.now() - asked)
            await asyncio.sleep(3.0)
        assert sorted(waits)[5] <= 4 * 0.6
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_a_429_in_one_process_pauses_all_of_them() -> None:
    """After a 429 with a pause of 20 s no process sends, but for permits that were reserved before it."""
    async with processes(3) as (_, opened):
        busy = [asyncio.create_task(process.send_many(100)) for process in opened]
        await asyncio.sleep(20.0)
        paused_at = opened[0].clock.now()
        opened[0].rate_limiter.pause(20.0, "the API answered 429")
        await asyncio.sleep(OTHERS_HORIZON)
        reached = opened[0].clock.now()
        await asyncio.sleep(25.0)
        after = [at for at in opened[0].sends if at > reached]
        assert after
        assert min(after) >= paused_at + 20.0
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_no_permit_is_used_that_was_granted_before_the_pause_was_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A permit is granted between the reading and the writing of what a 429 says: its process sends nothing.

    Nor does what a header said about the quota, written first, take back the pause.
    """
    async with processes(1) as (_, [process]):
        first, permits = await process.send(), process.window._permits
        learn, began = permits.learn, process.clock.now()

        async def slow(*asked: Any) -> bool:
            await asyncio.sleep(0.5)
            return await learn(*asked)

        monkeypatch.setattr(permits, "learn", slow)
        process.window.observe(began, ServerQuota(100, 90, None), began)
        process.rate_limiter.pause(20.0, "the API answered 429", first)
        await asyncio.sleep(0.1)
        await process.send_many(3)
        assert process.sends[1] >= began + 20.0


async def test_after_a_pause_one_probe_goes_alone_and_its_answer_ends_the_pause() -> None:
    """After the pause one request of one process is sent; once it is answered the others go on."""
    async with processes(3) as (permits, opened):
        opened[0].rate_limiter.pause(5.0, "the API answered 429")
        await asyncio.sleep(0.5)
        sent: list[tuple[Process, Permit]] = []

        async def send(process: Process) -> None:
            with await process.rate_limiter.acquire() as permit:
                permit.mark_sent()
                sent.append((process, permit))
                await asyncio.sleep(2.0)
                process.window.mark_accepted(permit.id, process.clock.now())

        tasks = [asyncio.create_task(send(process)) for process in opened]
        await asyncio.sleep(6.0)
        assert len(sent) == 1
        await asyncio.wait(tasks)
        assert len(sent) == 3
        assert not permits.terms.is_probing


async def test_all_processes_go_on_as_soon_as_the_probe_of_one_is_answered() -> None:
    """After a pause of 1 s the processes send at the full rate again, and wait for no probe's timeout."""
    async with processes(4) as (_, opened):
        busy = [asyncio.create_task(process.send_many(60)) for process in opened]
        await asyncio.sleep(20.0)
        paused_at = opened[0].clock.now()
        opened[0].rate_limiter.pause(1.0, "the API answered 429")
        await asyncio.sleep(15.0)
        assert sum(at > paused_at + 2.5 for at in opened[0].sends) >= 15
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
async def test_beside_a_stranger_processes_use_what_it_leaves(kind: Literal["sliding", "fixed"]) -> None:
    """Without quota headers, beside 30 requests a minute of another client, four processes send 60 or more.

    At most 3 % of theirs are throttled, and 10 % of the stranger's.
    """
    server, loop = QuotaWindow(100, kind=kind), asyncio.get_running_loop()
    accepted: dict[str, list[float]] = {"ours": [], "stranger": []}
    throttled: dict[str, int] = {"ours": 0, "stranger": 0}

    def arrives(whose: str) -> bool:
        if server.take(loop.time()):
            accepted[whose].append(loop.time())
            return True
        throttled[whose] += 1
        return False

    async def send_on(process: Process) -> None:
        while True:
            with await process.rate_limiter.acquire_for_batch() as permit:
                permit.mark_sent()
                await asyncio.sleep(0.15)
                status = 200 if arrives("ours") else 429
                await asyncio.sleep(0.15)
                process.rate_limiter.answered(permit, WireResponse(status, {}, b""))

    async def stranger() -> None:
        while True:
            arrives("stranger")
            await asyncio.sleep(2.0)

    async with processes(4) as (_, opened):
        began = loop.time()
        busy = [asyncio.create_task(send_on(process)) for process in opened for _ in range(3)]
        busy.append(asyncio.create_task(stranger()))
        await asyncio.sleep(360.0)
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
    assert sum(at >= began + 60.0 for at in accepted["ours"]) >= 5 * 60
    assert throttled["ours"] <= 0.03 * len(accepted["ours"])
    assert throttled["stranger"] <= 18


async def test_the_lowest_limit_that_a_process_states_holds() -> None:
    """Where one process states 60 a minute and another 100, both together send at most 60 in any minute."""
    async with processes(1) as (permits, (fast,)):
        slow = Process(permits, "slow", fast.sends, limit=60)
        await asyncio.gather(slow.send_many(20), fast.send_many(130))
        assert most_in_a_minute([(at, at) for at in fast.sends]) <= 60
        slow.rate_limiter.close()
        await slow.tasks.cancel()


async def test_other_clients_are_left_their_part_and_siblings_are_not_taken_for_them() -> None:
    """Headers by which others use 40 of 100 leave 60; sibling processes are not counted twice."""
    async with processes(2) as (permits, (first, second)):
        await asyncio.gather(first.send_many(5), second.send_many(5))
        await asyncio.sleep(1.0)
        sent_at = first.clock.now()
        first.window.observe(sent_at, ServerQuota(limit=100, remaining=90, resets_in=None), sent_at)
        await asyncio.sleep(1.0)
        assert permits.terms.used == 0
        sent_at = second.clock.now()
        second.window.observe(sent_at, ServerQuota(limit=100, remaining=50, resets_in=None), sent_at)
        await asyncio.sleep(1.0)
        assert 40 <= permits.terms.used <= 50


async def test_nothing_is_sent_without_the_database_and_all_goes_on_when_it_is_back() -> None:
    """While the database fails nothing is granted, and a limited wait ends with `NotSent`."""
    async with processes(1) as (permits, (process,)):
        permits.is_down = True
        waiting = asyncio.create_task(process.send(batch=False))
        with pytest.raises(NotSent):
            await process.rate_limiter.acquire(3.0)
        assert not process.sends
        permits.is_down = False
        await waiting
        assert len(process.sends) == 1


async def test_without_waiting_a_free_permit_is_granted_and_a_taken_one_is_not_waited_for() -> None:
    """With ``max_wait=0`` a permit that is free is granted, and where none is free `NotSent` is raised."""
    async with processes(1) as (_, (process,)):
        began = process.clock.now()
        for _ in range(10):
            with await process.rate_limiter.acquire(0.0) as permit:
                permit.mark_sent()
        with pytest.raises(NotSent):
            await process.rate_limiter.acquire(0.0)
        assert process.clock.now() - began < 1.0


async def test_permits_that_nobody_wants_any_more_are_given_back() -> None:
    """A cancelled waiter's permit is cancelled in the database, and so is one in stock at the close."""
    async with processes(2) as (permits, (first, second)):
        await first.send_many(12)
        waiting = [asyncio.create_task(first.rate_limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(0.1)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(1.0)
        assert all(permit.sent_at is not None for permit in permits.permits.values())
        await second.send()


async def test_the_quota_is_free_again_a_minute_after_the_last_reservation() -> None:
    """A process that has sent nothing for a minute does not go on telling what counted before."""
    async with processes(1) as (_, (process,)):
        await process.send_many(30)
        used = process.rate_limiter.snapshot()
        assert used.remaining < 100
        assert used.resets_at is not None
        assert used.resets_at <= process.clock.utc() + timedelta(seconds=60)
        await asyncio.sleep(120.0)
        assert process.rate_limiter.snapshot() == (100, 100, None)


async def test_the_quota_is_told_anew_in_a_process_that_takes_no_permits() -> None:
    """Asked each second, it follows within some seconds what another process sends, and when that is free.

    It costs a statement each 5 s, and none where nobody asks for the quota.
    """
    async with processes(2) as (permits, (idle, busy)):
        asked = 0
        learned = permits.learned

        def count(sent_ago: float) -> Learned:
            nonlocal asked
            asked += 1
            return learned(sent_ago)

        permits.learned = count  # type: ignore[method-assign]
        await busy.send_many(40)
        assert asked == 0
        told = [await asyncio.to_thread(lambda: idle.rate_limiter.snapshot().remaining)]
        await asyncio.sleep(1.0)
        assert asked == 0
        for _ in range(90):
            told.append(idle.rate_limiter.snapshot().remaining)
            await asyncio.sleep(1.0)
        assert told[0] == 100
        assert min(told[1:7]) <= 60
        assert told[-1] == 100
        assert len(set(told)) > 5
        assert 15 <= asked <= 19


async def test_the_quota_can_be_asked_for_while_the_database_is_down() -> None:
    """What was known last is told, and the database is asked again after some seconds."""
    async with processes(2) as (permits, (idle, busy)):
        await busy.send_many(40)
        permits.is_down = True
        for _ in range(3):
            assert idle.rate_limiter.snapshot().remaining == 100
            await asyncio.sleep(1.0)
        permits.is_down = False
        await asyncio.sleep(5.0)
        idle.rate_limiter.snapshot()
        await asyncio.sleep(1.0)
        assert idle.rate_limiter.snapshot().remaining < 100


async def test_a_permit_that_grew_too_old_is_void() -> None:
    """A permit that is held for longer than it may be counted is stale, by the boot-time clock too."""
    async with processes(1) as (_, (process,)):
        with await process.rate_limiter.acquire() as permit:
            assert not permit.is_stale(100.0)
            await asyncio.sleep(36.0)
            assert permit.is_stale(100.0)


async def test_a_clock_that_was_ahead_and_came_back_costs_nothing() -> None:
    """Where the database's clock goes back by an hour, permits are granted as if it had not."""
    async with processes(1) as (permits, (process,)):
        loop = asyncio.get_running_loop()
        permits.read_clock = lambda: loop.time() + 3600.0
        await process.send_many(5)
        permits.read_clock = loop.time
        began = process.clock.now()
        await process.send_many(5)
        assert max(process.sends[5:]) - began <= 5.0


async def test_a_permit_that_a_stopped_process_reads_too_late_is_not_used() -> None:
    """Where a process reads the database's answer minutes later, others have its place: it asks again."""
    async with processes(2, limit=10) as (quota, (first, stopped)):
        asked = 0

        async def late(name: str, statement: Callable[[], Any]) -> Any:
            nonlocal asked
            found = statement()
            if name == "reserve":
                asked += 1
                await asyncio.sleep(170.0 if asked == 1 else 0.0)
            return found

        stopped.window._permits = MemoryPermits(quota, "stopped", late)
        sending = asyncio.create_task(stopped.send())
        await asyncio.sleep(0.01)
        await first.send_many(40)
        await sending
        assert asked > 1
        assert most_in_a_minute([(at, at) for at in first.sends]) <= 10


async def test_what_a_newer_release_has_learned_stops_nobody() -> None:
    """Where the text of what was learned can't be read, permits are granted and none is wasted."""
    async with processes(1) as (quota, (process,)):
        quota.learned_text = '{"limits": {"of": "a newer version"}}'
        await process.send_many(5)
        await asyncio.sleep(1.0)
        assert (len(process.sends), quota.granted) == (5, 5)
