"""The deadline of one request: it ends in time, with a grace, and a cancellation stays the caller's."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import pytest

from hoox_async._io.transport.http import Deadline
from hoox_async.testing import VirtualTimeLoop


async def work(seconds: float) -> float:
    """Something that takes so long, with a deadline of 10 s; how many seconds it was let run."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with suppress(TimeoutError):
        async with Deadline(10.0):
            await asyncio.sleep(seconds)
    return loop.time() - began


@pytest.mark.virtual_time
async def test_a_block_is_ended_at_its_deadline_after_a_short_grace() -> None:
    """A block that takes too long is ended at its deadline, within a twentieth of a second."""
    assert await asyncio.gather(work(3.0), work(99.0)) == pytest.approx([3.0, 10.0], abs=0.05)


@pytest.mark.virtual_time
async def test_a_block_that_ends_in_time_leaves_no_timer_behind() -> None:
    """A deadline whose block ended in time does not affect what its task does next."""
    deadline = Deadline(10.0)
    async with deadline:
        await asyncio.sleep(9.0)
    await asyncio.sleep(100.0)
    assert not deadline.expired


@pytest.mark.virtual_time
async def test_a_suspended_deadline_waits_until_it_is_restarted() -> None:
    """A suspended deadline counts only the seconds that it is given when it is restarted."""
    loop = asyncio.get_running_loop()
    async with Deadline(10.0) as deadline:
        deadline.suspend()
        await asyncio.sleep(100.0)
        deadline.restart(5.0)
        await asyncio.sleep(4.0)
    deadline = Deadline(10.0)
    with suppress(TimeoutError):
        async with deadline:
            deadline.restart(5.0)
            await asyncio.sleep(9.0)
    assert deadline.expired
    assert loop.time() == pytest.approx(109.0, abs=0.05)


@pytest.mark.virtual_time
@pytest.mark.parametrize("at", [9.0, 10.0, 11.0])
async def test_a_cancellation_is_not_taken_for_the_end_of_the_time(at: float) -> None:
    """A caller that is cancelled before the deadline or in that very moment is cancelled."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work(99.0))
    loop.call_at(loop.time() + at, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled() is (at <= 10.0)


@pytest.mark.virtual_time
async def test_a_callers_own_timeout_of_the_same_length_also_ends() -> None:
    """The outer of two timeouts that end in the same turn of the loop raises its own TimeoutError."""
    caller = asyncio.timeout(10.0)
    with suppress(TimeoutError):
        async with caller:
            await work(99.0)
    assert caller.expired()


@pytest.mark.virtual_time
async def test_the_grace_after_a_standstill_is_a_few_seconds_at_most() -> None:
    """After a standstill a block without an answer is ended within five seconds."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    deadline = Deadline(10.0)
    with suppress(TimeoutError):
        async with deadline:
            loop._jumping.now += 1000.0  # the process stands still
            await asyncio.sleep(100.0)
    assert deadline.expired
    assert loop.time() == pytest.approx(1005.0, abs=0.05)


@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_what_came_during_a_standstill_is_read_before_the_deadline_ends_the_block(library: str) -> None:
    """An answer that came during a standstill is read before the deadline ends, also on uvloop."""
    factory = asyncio.new_event_loop if library == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def main() -> bytes:
        async with Deadline(0.05):
            reading = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(ours, 1))
            await asyncio.sleep(0)
            theirs.send(b"x")
            time.sleep(0.2)
            return await reading

    with ours, theirs, asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main()) == b"x"
