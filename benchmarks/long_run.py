"""Hours of work with faults: does anything grow? Memory, tasks, timers, sockets, files, threads.

    python benchmarks/long_run.py                   # 2 hours of virtual time: some minutes
    python benchmarks/long_run.py --minutes 10      # 10 minutes of real time, over sockets
    python benchmarks/long_run.py --store memory    # without SQLite, which keeps what is settled on disk

Linux only: files, sockets and memory are counted in /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from _growth import Tally, lines_shown, shown
from _shared import progress
from aiohttp import web

from hoox_async import BatchRunner, HooxError, HooxSession, ImageAvatar, LookEdit, LookRef, Timeouts
from hoox_async.sandbox import DeliveryOptions, Fault, InProcessTransport, Sandbox, Space
from hoox_async.testing import VirtualTimeLoop
from hoox_async.webhooks import WebhookHub

IN_FLIGHT = 200
AVATARS = 50
SECRET = "a benchmark's own secret"
FAULTS = {
    Fault.DROP_BEFORE: 0.01,
    Fault.DROP_AFTER: 0.005,
    Fault.HANG: 0.002,
    Fault.ERROR_500_AFTER: 0.005,
    Fault.BAD_GATEWAY: 0.005,
    Fault.TRUNCATED: 0.003,
    Fault.RATE_LIMITED: 0.0005,  # each makes the session slow down for up to a minute
}
READ_FAULTS = (Fault.status(500), Fault.DROP_BEFORE, Fault.TRUNCATED, Fault.BAD_GATEWAY)
DELIVERIES = DeliveryOptions(lose=0.2, double=0.1, contradict=0.05, early=0.05, reorder=1.0)
KEPT = 1800.0
"""How many virtual seconds the fake workspace remembers a look: its memory is not what is measured."""


async def edits(avatars: list[LookRef], until: float) -> AsyncIterator[LookEdit]:
    """Edits without an end, until the time is up."""
    time = asyncio.get_running_loop().time
    number = 0
    while time() < until:
        yield LookEdit(avatars[number % len(avatars)], f"scene {number}")
        number += 1


async def visit(session: HooxSession, avatars: list[LookRef], pause: float) -> None:
    """What a program does beside its batch: reads, single looks, and waits that are given up."""
    rng = random.Random(1)
    while True:
        await asyncio.sleep(rng.expovariate(1 / pause))
        avatar = rng.choice(avatars)
        with suppress(HooxError, TimeoutError):
            await session.avatar(avatar.avatar_id)
            job = await session.edit_look(avatar, "a single look", max_wait=5.0)
            async with asyncio.timeout(rng.random()):
                await job


async def _avatar(session: HooxSession, number: int) -> LookRef:
    while True:
        with suppress(HooxError):  # one that was lost costs nothing, and another is as good
            return (await session.submit(ImageAvatar([f"https://example.com/{number}.jpg"]))).ref


async def work(session: HooxSession, seconds: float, *, every: float, pause: float, tally: Tally) -> None:
    """A batch without an end beside a visitor; a sample after each ``every`` seconds."""
    loop = asyncio.get_running_loop()
    avatars = list(await asyncio.gather(*(_avatar(session, number) for number in range(AVATARS))))
    visitor = asyncio.create_task(visit(session, avatars, pause))
    began = loop.time()
    due = began + every
    runner = BatchRunner(session, max_in_flight=IN_FLIGHT, look_timeout=600.0)
    async with runner.stream(edits(avatars, began + seconds)) as outcomes:
        async for outcome in outcomes:
            tally.states[outcome.state.value] += 1
            if loop.time() >= due:
                due += every
                tally.sample()
            if loop.time() >= began + seconds:
                break
    visitor.cancel()
    await asyncio.wait((visitor,))


# --- virtual time, everything in this process


async def virtual(hours: float, every: float, store: Path | None, lines: tuple[int, int] | None) -> Tally:
    """Hours of the real quota with a workspace in this process, whose own memory is kept small."""
    tally = Tally(lines)
    space = Space(
        requests_per_minute=100, median=130.0, failures=0.02, fault_rates={**FAULTS, Fault.REFUSED: 0.01}
    )
    transport = InProcessTransport(space, answer=20.0, read=10.0)
    keeper = asyncio.create_task(_keep_small(space))
    async with HooxSession(space.api_key, transport=transport, store=store) as session:
        await work(session, hours * 3600, every=every, pause=20.0, tally=tally)
    keeper.cancel()
    await asyncio.wait((keeper,))
    return tally


async def _keep_small(space: Space) -> None:
    """Each minute, disturb some reads and forget old looks and the records of requests."""
    rng = random.Random(2)
    time = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(60)
        for endpoint in ("status", "avatar"):
            space.faults.fail_next(endpoint, rng.choice(READ_FAULTS), after=rng.randrange(10))
        space.requests.clear()
        space.ledger.clear()
        for avatar in space.avatars.values():
            if avatar.public:
                continue
            old = [look for look in avatar.looks[1:] if look.created_at < time() - KEPT]
            for look in old:
                avatar.looks.remove(look)
                del space.looks[look.id]


# --- real time, with the sandbox in a process of its own


async def real(minutes: float, every: float, store: Path | None, lines: tuple[int, int] | None) -> Tally:
    """Minutes over sockets: twelve times the API's pace, deliveries coming in, a fifth of them lost."""
    tally = Tally(lines)
    listener = socket.create_server(("127.0.0.1", 0))
    hub = WebhookHub(f"http://127.0.0.1:{listener.getsockname()[1]}/hooks", secret=SECRET)
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.add_routes(hub.aiohttp_routes())
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listener).start()
        sandbox = await _started_sandbox(stack)
        session = HooxSession(
            sandbox["api_key"],
            base_url=sandbox["base_url"],
            requests_per_minute=1200,
            store=store,
            webhooks=hub,
            timeouts=Timeouts(connect=5.0, answer=10.0, read=5.0),
        )
        await stack.enter_async_context(session)
        await work(session, minutes * 60, every=every, pause=2.0, tally=tally)
    return tally


async def _started_sandbox(stack: AsyncExitStack) -> Mapping[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stack.push_async_callback(process.wait)
    stack.callback(process.stdin.close)  # then it ends
    found: Mapping[str, Any] = json.loads(await process.stdout.readline())
    return found


def serve() -> None:
    """The sandbox's process: until its stdin is closed."""
    rng = random.Random(2)
    with Sandbox(
        requests_per_minute=1200,
        median=9.0,
        speed=1.0,
        failures=0.02,
        latency=0.05,
        fault_rates=FAULTS,
        deliveries=DELIVERIES,
    ) as sandbox:
        print(json.dumps({"base_url": sandbox.base_url, "api_key": sandbox.api_key}), flush=True)
        gone = threading.Event()

        def watch() -> None:
            sys.stdin.read()
            gone.set()

        threading.Thread(target=watch, daemon=True).start()
        while not gone.wait(5.0):
            for endpoint in ("status", "avatar"):
                sandbox.fail_next(endpoint, rng.choice(READ_FAULTS), after=rng.randrange(5))


def main() -> None:
    """Run what was asked for and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, help="minutes of real time, instead of virtual hours")
    parser.add_argument("--hours", type=float, default=2.0, help="hours of virtual time (2)")
    parser.add_argument("--store", choices=("sqlite", "memory"), default="sqlite", help="(sqlite)")
    parser.add_argument("--samples", type=int, default=12, help="rows of the table (12)")
    parser.add_argument("--lines", action="store_true", help="also print the lines whose memory grew most")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    seconds = options.minutes * 60 if options.minutes else options.hours * 3600
    every = seconds / options.samples
    kind = (
        f"{options.minutes:g} minutes of real time" if options.minutes else f"{options.hours:g} virtual hours"
    )
    lines = (max(1, options.samples // 3), options.samples) if options.lines else None
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "long.db" if options.store == "sqlite" else None
        tracemalloc.start(1)
        with asyncio.Runner(loop_factory=None if options.minutes else VirtualTimeLoop) as runner:
            if options.minutes:
                tally = runner.run(real(options.minutes, every, store, lines))
            else:
                tally = runner.run(virtual(options.hours, every, store, lines))
    progress("")
    print(shown(f"{kind}, {IN_FLIGHT} in flight, faults on, {options.store}", tally))
    if lines:
        print(lines_shown(tally))
    return None


if __name__ == "__main__":
    main()
