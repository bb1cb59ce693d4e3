"""One timer for many requests: each has its time, and a cancellation of the caller's stays the caller's."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from hoox_async._io.transport.deadlines import Deadlines

pytestmark = pytest.mark.virtual_time


async def work(times: Deadlines, seconds: float) -> float:
    """Something that takes so long, within its time; how long it was let."""
    loop = asyncio.get_running_loop()
    began, time = loop.time(), times.begin()
    try:
        async with time:
            await asyncio.sleep(seconds)
    except TimeoutError:
        pass
    finally:
        times.end(time)
    return loop.time() - began


async def after(delay: float, times: Deadlines, seconds: float) -> float:
    await asyncio.sleep(delay)
    return await work(times, seconds)


async def test_each_has_its_own_time() -> None:
    """Whenever it began, and whatever the others do."""
    times = Deadlines(10.0)
    took = await asyncio.gather(
        after(0.0, times, 3.0), after(1.0, times, 99.0), after(2.0, times, 9.0), after(5.0, times, 99.0)
    )
    assert took == pytest.approx([3.0, 10.0, 9.0, 10.0], abs=0.05)  # a grace, to read what came


async def test_there_is_one_timer_and_none_in_the_end() -> None:
    """However many begin; and it is gone when nothing is left to wait for."""
    times = Deadlines(10.0)
    timers = []
    for _ in range(100):
        await work(times, 0.5)
        timers.append(times._timer)
    assert len({id(timer) for timer in timers}) <= 6
    await asyncio.sleep(30.0)
    assert times._timer is None


async def test_a_closed_one_leaves_no_timer() -> None:
    times = Deadlines(10.0)
    await work(times, 0.5)
    timer = times._timer
    times.close()
    assert timer is not None
    assert timer.cancelled()


@pytest.mark.parametrize("at", [9.0, 10.0, 11.0])
async def test_a_cancellation_is_not_taken_for_the_end_of_the_time(at: float) -> None:
    """Before the time is over and in that very moment, a cancelled caller is cancelled."""
    times = Deadlines(10.0)
    task = asyncio.create_task(work(times, 99.0))
    asyncio.get_running_loop().call_at(asyncio.get_running_loop().time() + at, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled() is (at <= 10.0)


async def test_a_callers_own_timeout_in_the_same_turn_is_the_callers() -> None:
    """Two timeouts of the same length: the outer one is over, too."""
    times = Deadlines(10.0)

    async def caller() -> None:
        async with asyncio.timeout(10.0):
            await work(times, 99.0)

    with pytest.raises(TimeoutError):
        await caller()
