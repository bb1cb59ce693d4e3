"""The stop signal of a run: whether it was stopped, and why."""

from __future__ import annotations

import asyncio

import pytest
from internals_kit import StopSignal

from hoox_async._batch.stop_signal import Stopped
from hoox_async.errors import HooxError

pytestmark = pytest.mark.both_loops

REASON = HooxError("enough")


async def wait_for_ever(stop: StopSignal) -> None:
    async with stop.interruptible():
        await asyncio.get_running_loop().create_future()


async def test_a_stop_ends_blocks_that_wait_and_blocks_that_begin_later() -> None:
    """Blocks that wait and that begin later raise `Stopped` with the reason of the first stop."""
    changed = asyncio.Event()
    stop = StopSignal(changed)
    task = asyncio.ensure_future(wait_for_ever(stop))
    await asyncio.sleep(0)
    stop.set(REASON)
    stop.set(HooxError("another"))
    assert changed.is_set()
    for wait in (task, wait_for_ever(stop)):
        with pytest.raises(Stopped) as stopped:
            await wait
        assert stopped.value.reason is REASON


async def test_a_timeout_inside_a_block_is_not_taken_for_a_stop() -> None:
    """A `TimeoutError` of the block's own passes through it, and a block that ended is not touched later."""
    stop = StopSignal(asyncio.Event())
    with pytest.raises(TimeoutError):
        async with stop.interruptible():
            raise TimeoutError
    stop.check()
    stop.set(REASON)
    with pytest.raises(Stopped):
        stop.check()


async def test_a_run_that_has_not_begun_can_be_stopped_where_no_loop_runs() -> None:
    """`BatchRunner.stop` may be called in a thread in which nothing runs, as long as nothing waits."""
    stop = StopSignal(asyncio.Event())
    await asyncio.to_thread(stop.set, REASON)
    assert stop.reason is REASON
