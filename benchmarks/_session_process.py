"""One process of the benchmarks of many processes: a session on the shared store that does what it is told.

As a program it reads commands from stdin, a line of JSON each, and answers each with such a line on stdout
when it is done. Times are those of the system's monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

import attrs

from hoox_async import BatchItem, BatchRunner, Event, HooxSession, LookEdit, LookRef, Timeouts
from hoox_async._api.endpoints import WireResponse
from hoox_async._session import runtime_of
from hoox_async.errors import TransportError
from hoox_async.events import RequestSent
from hoox_async.postgres import PostgresDatabase

SOURCES = ("avtr_public_ada:look_public_ada", "avtr_public_bruno:look_public_bruno")


@attrs.frozen(kw_only=True)
class Setup:
    """What a process opens. ``window`` is the length of the quota's minute in seconds."""

    store: str
    base_url: str
    api_key: str
    limit: int = 100
    window: float = 60.0
    lease: float = 10.0
    workspace: str = "bench"
    sources: tuple[str, ...] = SOURCES


# --- the program of one process ----------------------------------------------------------------------


class _Work:
    """Does what the parent asks for."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._sent_at: dict[str | None, float] = {}
        self._stack = AsyncExitStack()
        self._session: HooxSession | None = None
        self._database: PostgresDatabase | None = None

    async def open(self) -> str:
        setup = self._setup
        database = PostgresDatabase(setup.store, lease=setup.lease)
        database.quota_window = setup.window
        self._database = await self._stack.enter_async_context(database)
        session = HooxSession(
            setup.api_key,
            base_url=setup.base_url,
            store=database.workspace(setup.workspace),
            requests_per_minute=setup.limit,
            timeouts=Timeouts(answer=60.0),
            hooks=[self._hear],
        )
        self._session = await self._stack.enter_async_context(session)
        return database.require_member().id

    def _hear(self, event: Event) -> None:
        if isinstance(event, RequestSent):
            self._sent_at.setdefault(event.key, time.monotonic())

    @property
    def session(self) -> HooxSession:
        assert self._session is not None
        return self._session

    def edit(self, key: str, number: int = 0) -> LookEdit:
        sources = self._setup.sources
        return LookEdit(LookRef.parse(sources[number % len(sources)]), key)

    async def batch(self, prefix: str, start: int, stop: int, step: int) -> Mapping[str, int]:
        """Run a part of a campaign. Returns how many items ended in which state."""
        numbers = range(start, stop, step)
        items = [BatchItem(f"{prefix}/{n}", self.edit(f"{prefix}/{n}", n)) for n in numbers]
        states: dict[str, int] = {}
        async for outcome in BatchRunner(self.session).stream(items):
            states[str(outcome.state)] = states.get(str(outcome.state), 0) + 1
        return states

    async def submit(self, key: str) -> float:
        """Submit one order. Returns the seconds until its request was sent."""
        began = time.monotonic()
        await self.session.submit(self.edit(key), key=key)
        return self._sent_at[key] - began

    async def wait(self, key: str) -> float:
        """Submit an order and wait for its look. Returns when that is known."""
        job = await self.session.submit(self.edit(key), key=key)
        await job.wait()
        return time.monotonic()

    async def reserve(self, times: int, pause: float, limit: int) -> list[float]:
        """Reserve permits, one after the other. Returns the seconds that each took."""
        assert self._database is not None
        permits = self._database.permits(self._database.require_member(), 1_000_000, 1_000_000)
        found: list[float] = []
        for _ in range(times):
            began = time.perf_counter()
            reservation = await permits.reserve(limit, 1e9, 0.0)
            found.append(time.perf_counter() - began)
            assert reservation.permit is not None
            await permits.report((), (reservation.permit,))  # so that there is always one free
            await asyncio.sleep(pause)
        return found

    async def fail(self, answers: bool) -> None:
        """Let every request be answered 401 from now on, or fail without an answer."""

        async def send(*_: Any) -> WireResponse:
            if answers:
                return WireResponse(401, {}, b'{"code": "invalid_api_key"}')
            raise TransportError("the network is down")

        runtime_of(self.session).transport.send = send  # type: ignore[method-assign, assignment]

    async def close(self) -> None:
        """Close the session and the database, as a process that ends well."""
        await self._stack.aclose()


async def _serve(setup: Setup) -> None:
    work = _Work(setup)
    _say(0, await work.open())
    reader = asyncio.StreamReader(limit=1 << 24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as tasks:
        while line := await reader.readline():
            command = json.loads(line)
            tasks.create_task(_do(work, **command))
    await work.close()


async def _do(work: _Work, number: int, name: str, **arguments: Any) -> None:
    _say(number, await getattr(work, name)(**arguments))


def _say(number: int, result: Any) -> None:
    print(json.dumps([number, result]), flush=True)


# --- the parent's side -------------------------------------------------------------------------------


class SessionProcess:
    """A process that was started. ``async with`` ends it, however it is by then."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._reader: asyncio.Task[None] | None = None
        self.member = ""

    @classmethod
    async def start(cls, setup: Setup) -> Self:
        """Start a process and wait until its session is open."""
        process = cls(
            await asyncio.create_subprocess_exec(
                sys.executable, __file__, json.dumps(attrs.asdict(setup)),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
            )
        )  # fmt: skip
        process._reader = asyncio.create_task(process._read())
        process.member = await process._expect(0)
        return process

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        await self._process.wait()
        assert self._reader is not None
        await asyncio.wait([self._reader])

    async def call(self, name: str, **arguments: Any) -> Any:
        """Let it do something, and return what that returns."""
        number = next(self._numbers)
        answer = self._expect(number)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": number, "name": name, **arguments}).encode() + b"\n")
        return await answer

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def _expect(self, number: int) -> asyncio.Future[Any]:
        return self._asked.setdefault(number, asyncio.get_running_loop().create_future())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            number, result = json.loads(line)
            self._expect(number).set_result(result)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(RuntimeError(f"process {self._process.pid} has ended"))
                answer.exception()


async def start_all(stack: AsyncExitStack, setups: list[Setup], at_once: int = 4) -> list[SessionProcess]:
    """Start processes, a few at a time, which end with the stack."""
    gate = asyncio.Semaphore(at_once)

    async def start(setup: Setup) -> SessionProcess:
        async with gate:
            return await stack.enter_async_context(await SessionProcess.start(setup))

    return list(await asyncio.gather(*(start(setup) for setup in setups)))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    given = json.loads(sys.argv[1])
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(Setup(**{**given, "sources": tuple(given["sources"])})))
    os._exit(0)
