"""The one place that knows whether a run was stopped, and why."""

from __future__ import annotations

import asyncio

import pytest

from hoox_async._batch.stop import Stop, Stopped
from hoox_async.errors import HooxError

pytestmark = pytest.mark.both_loops

REASON = HooxError("enough")


async def waits(stop: Stop) -> None:
    async with stop.turns_back():
        await asyncio.get_running_loop().create_future()


async def test_a_stop_turns_back_who_waits_and_who_comes() -> None:
    """With its reason; and what is said later changes nothing."""
    stop = Stop()
    task = asyncio.ensure_future(waits(stop))
    await asyncio.sleep(0)
    assert stop.say(REASON)
    assert not stop.say(HooxError("another"))
    for turned in (task, waits(stop)):
        with pytest.raises(Stopped) as stopped:
            await turned
        assert stopped.value.reason is REASON


async def test_a_timeout_of_ones_own_is_no_stop() -> None:
    """It passes, as it would without the block; and a block that ended is not touched."""
    stop = Stop()
    with pytest.raises(TimeoutError):
        async with stop.turns_back():
            raise TimeoutError
    stop.check()
    assert stop.say(REASON)
    with pytest.raises(Stopped):
        stop.check()


async def test_a_stop_can_be_said_before_there_is_a_loop_to_wait_on() -> None:
    """From another thread, in which nothing runs."""
    assert await asyncio.to_thread(Stop().say, REASON)
