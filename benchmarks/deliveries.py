"""Deliveries a second that one process takes, beside a bare aiohttp handler that does nothing.

Each server runs in a process of its own; the load comes from this one, over keep-alive connections that
each send the next delivery when the last was answered. The runs are interleaved and the medians shown:
deliveries a second, and the server's own CPU time for one, which the load's share of the machine does
not touch. Each server is sent the deliveries of 1,000 looks in turn; all but the first round of them are
replays.

    python benchmarks/deliveries.py
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from _shared import median, progress, ratio, table

if TYPE_CHECKING:
    from aiohttp import web

    from hoox_async.webhooks import WebhookHub

SECRET = "benchmarks need no secret secret"
PATH = "/hooks"
LOOKS = 1_000
KINDS = {
    "bare": "aiohttp, a handler that reads nothing and answers 200",
    "reading": "aiohttp, a handler that reads the body and answers 200",
    "hub": "the hub's aiohttp route, and instead of a session one that knows every attempt",
    "session": "the hub's aiohttp route, and a session with its store in SQLite",
    "forged": "the hub's aiohttp route, forged tokens (404)",
}


class Run(NamedTuple):
    """One run against one server: deliveries a second, and microseconds of the server's CPU for each."""

    per_second: float
    cpu: float


# --- the servers -------------------------------------------------------------------------------------


async def serve(kind: str) -> None:
    """Serve on a free port, which is printed, until stdin ends."""
    from aiohttp import web

    async def bare(_: web.Request) -> web.Response:
        return web.Response()

    async def reading(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application()
    async with AsyncExitStack() as stack:
        if kind in ("bare", "reading"):
            app.add_routes([web.post(PATH + "/{token}", reading if kind == "reading" else bare)])
        else:
            hub = make_hub()
            app.add_routes(hub.aiohttp_routes())
            await stack.enter_async_context(session_on(hub) if kind == "session" else stand_in(hub))
        await serve_app(app)


async def serve_app(app: web.Application) -> None:
    """Serve until stdin ends; each line there asks for the CPU time used so far."""
    from aiohttp import web

    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        assert line == "cpu\n"
        print(time.process_time(), flush=True)
    await runner.cleanup()


def make_hub() -> WebhookHub:
    """The hub, the same in every process."""
    from hoox_async.webhooks import WebhookHub

    return WebhookHub("http://127.0.0.1" + PATH, SECRET)


@asynccontextmanager
async def stand_in(hub: WebhookHub) -> AsyncIterator[None]:
    """A receiver that knows every attempt and does nothing."""

    async def knows_all(_: str, __: object) -> bool:
        return True

    unsubscribe = hub.subscribe(knows_all)
    yield
    unsubscribe()


@asynccontextmanager
async def session_on(hub: WebhookHub) -> AsyncIterator[None]:
    """A session whose store knows the looks as accepted."""
    from hoox_async import HooxSession, LookEdit, LookRef
    from hoox_async._core.intents.intent import Evidence, Intent
    from hoox_async._core.intents.transitions import Accept, Send
    from hoox_async._io.ledger.opening import open_store
    from hoox_async._io.protocols import Workspace

    url, key, now = "http://127.0.0.1:9", "hx_live_benchmark", datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        store = open_store(path)
        await store.open(Workspace(url, key))
        for index in range(LOOKS):
            request = LookEdit(LookRef(f"avtr_{index % 20}", "look_source"), "podcast scene")
            await store.plan(Intent(f"key-{index}", True, request, f"digest-{index}", now))
            ref = LookRef(f"avtr_{index % 20}", f"look_{index}")
            steps = Send(attempt_of(index), now), Accept(ref, now, Evidence.ANSWER)
            await store.advance(f"key-{index}", *steps)
        await store.aclose()
        async with HooxSession(key, base_url=url, store=path, webhooks=hub):
            yield


class Server:
    """A server in a process of its own."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.port = 0

    async def start(self) -> None:
        """Start the process and wait until it listens."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--serve", self.kind, stdin=pipe, stdout=pipe
        )
        self.port = int(await self._line())

    async def cpu(self) -> float:
        """Seconds of CPU that the server used so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"cpu\n")
        return float(await self._line())

    async def stop(self) -> None:
        """End it and wait until it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


# --- the load ----------------------------------------------------------------------------------------


def attempt_of(index: int) -> str:
    """The id of a look's attempt: as long as a real one."""
    return f"attempt-{index:016}"


def requests_of(kind: str) -> list[bytes]:
    """Whole HTTP requests as they go over the wire, one for each look."""
    hub = make_hub()
    made = []
    for index in range(LOOKS):
        token = hub.url_for(attempt_of(index)).rpartition("/")[2]
        if kind == "forged":
            token = token[:-43] + token[-43:-1][::-1] + token[-1]
        body = (
            f'{{"task": "avatar_edit", "avatar_id": "avtr_{index % 20}", "look_id": "look_{index}",'
            f' "status": "completed", "result": {{"thumbnail_url": "https://media.example/{index}.jpg"}}}}'
        )
        head = f"POST {PATH}/{token} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        made.append(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
    return made


class Load(asyncio.Protocol):
    """One connection: sends the next request as soon as the last was answered."""

    def __init__(self, requests: Sequence[bytes], first: int, answer: bytes) -> None:
        self._requests = requests
        self._next = first
        self._answer = answer
        self._transport: asyncio.Transport | None = None
        self.answered = 0
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._next = (self._next + 1) % len(self._requests)
        self._transport.write(self._requests[self._next])

    def data_received(self, data: bytes) -> None:
        # the answers are far smaller than a segment and have no body, so each comes in one piece
        if not data.startswith(self._answer):
            raise SystemExit(f"an answer that was not expected: {data!r}")
        self.answered += 1
        if not self.stopped:
            self._send()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def run(server: Server, requests: Sequence[bytes], connections: int, seconds: float) -> Run:
    """Load one server for a while."""
    loop = asyncio.get_running_loop()
    answer = b"HTTP/1.1 404" if server.kind == "forged" else b"HTTP/1.1 200"
    cpu, began = await server.cpu(), loop.time()
    loads = []
    for index in range(connections):
        _, load = await loop.create_connection(
            lambda index=index: Load(requests, index * LOOKS // connections, answer),  # type: ignore[misc]
            "127.0.0.1",
            server.port,
        )
        loads.append(load)
    await asyncio.sleep(seconds)
    for load in loads:
        load.stopped = True
    count, took = sum(load.answered for load in loads), loop.time() - began
    await asyncio.sleep(0.1)
    used = await server.cpu() - cpu
    answered = sum(load.answered for load in loads)
    for load in loads:
        load.close()
    return Run(count / took, used / answered * 1e6)


async def measure(connections: int, seconds: float, rounds: int) -> dict[str, list[Run]]:
    """All kinds in turn, as often as there are rounds, after one short run of each to warm up."""
    servers = [Server(kind) for kind in KINDS]
    requests = {kind: requests_of(kind) for kind in KINDS}
    runs: dict[str, list[Run]] = defaultdict(list)
    try:
        for server in servers:
            await server.start()
            await run(server, requests[server.kind], connections, 0.5)
        for turn in range(rounds):
            for server in servers if turn % 2 == 0 else servers[::-1]:
                progress(f"round {turn + 1} of {rounds}: {server.kind}")
                runs[server.kind].append(await run(server, requests[server.kind], connections, seconds))
        progress("")
    finally:
        for server in servers:
            if server.port:
                await server.stop()
    return runs


def report(runs: dict[str, list[Run]], connections: int) -> str:
    """The table of medians."""
    middle = {kind: Run(*map(median, zip(*of_kind, strict=True))) for kind, of_kind in runs.items()}
    bare = middle["bare"]
    rows = [
        (
            kind,
            f"{run.per_second:,.0f}",
            ratio(run.per_second, bare.per_second),
            f"{run.cpu:.0f}",
            ratio(run.cpu, bare.cpu),
        )
        for kind, run in middle.items()
    ]
    return table(
        f"Deliveries that one process takes ({connections} connections, medians)",
        ("server", "deliveries/s", "of bare", "server's CPU, µs each", "of bare"),
        rows,
        [*(f"{kind}: {what}" for kind, what in KINDS.items()), f"{os.cpu_count()} CPUs"],
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    runs = asyncio.run(measure(options.connections, options.seconds, options.rounds))
    print(report(runs, options.connections))


if __name__ == "__main__":
    main()
