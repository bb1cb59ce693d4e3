"""A process that stood still for longer than its timeouts: the answers lie in its sockets, and are read."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from hoox_async import HooxSession, LookRef, PromptAvatar, Timeouts
from hoox_async._io.transport.deadlines import Deadlines
from hoox_async.sandbox import Sandbox

SHORT = 0.4


async def stand_still(sandbox: Sandbox, requests: int) -> None:
    """Wait until so many requests have reached the server, then block the loop past every timeout."""
    while len(sandbox.requests) < requests:
        await asyncio.sleep(0.005)
    time.sleep(3 * SHORT)


async def test_answers_to_paid_requests_that_came_meanwhile_are_read() -> None:
    """None of them becomes unknown."""
    with Sandbox(latency=0.1) as sandbox:
        async with sandbox.session(timeouts=Timeouts(answer=SHORT)) as session:
            tasks = [
                asyncio.create_task(session.submit(PromptAvatar(f"p{n}"), key=f"k{n}")) for n in range(4)
            ]
            await stand_still(sandbox, 4)
            jobs = await asyncio.gather(*tasks)
            assert {job.ref for job in jobs} == {charge.ref for charge in sandbox.ledger}
            assert await session.unknowns() == []


async def test_answers_to_reads_that_came_meanwhile_are_read() -> None:
    """They are not asked for again."""
    with Sandbox(latency=0.1) as sandbox:
        async with sandbox.session(timeouts=Timeouts(read=SHORT), poll="awaited") as session:
            ref = await made(session)
            before = len(sandbox.requests)
            tasks = [asyncio.create_task(session.status(ref)) for _ in range(4)]
            await stand_still(sandbox, before + 4)
            await asyncio.gather(*tasks)
            assert len(sandbox.requests) == before + 4


async def made(session: HooxSession) -> LookRef:
    return (await session.submit(PromptAvatar("a host"), key="made")).ref


@pytest.mark.virtual_time
async def test_a_timer_that_comes_in_time_leaves_hardly_any_grace() -> None:
    """A loop that runs has read what came: the time is over."""
    times, loop = Deadlines(10.0), asyncio.get_running_loop()
    began = loop.time()
    timeout = times.begin()
    with pytest.raises(TimeoutError):
        async with timeout:
            await asyncio.sleep(100)
    assert loop.time() - began == pytest.approx(10.0, abs=0.05)


@pytest.mark.virtual_time
async def test_the_grace_after_a_standstill_is_short() -> None:
    """Where no answer lies in the socket, the loss is known a few seconds later."""
    times, loop = Deadlines(10.0), asyncio.get_running_loop()
    timeout = times.begin()
    times._ends[timeout] -= 1000.0  # the timer comes so much later
    with pytest.raises(TimeoutError):
        async with timeout:
            await asyncio.sleep(100)
    assert loop.time() == pytest.approx(15.0, abs=0.05)
    assert times._timer is None


@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_no_event_loop_runs_the_timers_before_it_reads(library: str) -> None:
    """uvloop does: its timers come first after a standstill."""
    factory = asyncio.new_event_loop if library == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def main() -> bytes:
        times, loop = Deadlines(0.05), asyncio.get_running_loop()
        async with asyncio.timeout(None) as timeout:
            times.begin(timeout)
            reading = asyncio.ensure_future(loop.sock_recv(ours, 1))
            await asyncio.sleep(0)
            theirs.send(b"x")
            time.sleep(0.2)
            found = await reading
        times.end(timeout)
        times.close()
        return found

    with ours, theirs, asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main()) == b"x"
