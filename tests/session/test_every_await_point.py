"""A process that dies, is cancelled, fails or stalls at each await point of an order, beside others.

In virtual time. The await points are before and after each statement, before the bytes of a paid request
leave, and after its answer, and there are two to eight processes. With ``HOOX_TEST_AWAIT_POINTS=1`` all of
their combinations with the kinds of failure are run; else each await point is met by one kind of failure, and
the number of processes changes from one to the next.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import cache
from itertools import cycle, product
from random import Random
from typing import Any, Literal

import pytest
from internals_kit import BeforeSend, IntentState, WireRequest, WireResponse, runtime_of
from session_kit import prompt
from shared_memory_kit import MemoryDatabase, SharedMemory

from hoox_async import HooxSession, Timeouts
from hoox_async.errors import HooxError, OutcomeUnknown, StoreError, TransportError
from hoox_async.sandbox import InProcessTransport, Space
from hoox_async.testing import VirtualTimeLoop

Kind = Literal["kill", "cancel", "error", "stall"]
ALL = bool(os.environ.get("HOOX_TEST_AWAIT_POINTS"))
COUNTS = range(2, 9)
KINDS: tuple[Kind, ...] = ("kill", "cancel", "error", "stall")
OFTEN = 2
KEY = "order"
LEASE = 10.0
STALL = 3.5 * LEASE
ANSWER = 10.0
PATIENCE = 120.0  # seconds: the deadline of an answer, a lease, and the pauses of writes that are tried again
OF_THE_MEMBER = frozenset({"renew", "changes", "lead", "leaders", "dead_sendings", "unnotified", "snapshot"})


class Process:
    """One process. ``at`` is called at each await point of its orders, with the name of the point."""

    def __init__(self, memory: SharedMemory, space: Space, at: Callable[[str], Awaitable[None]]) -> None:
        self._at = at
        self.is_dead = False
        self.database = MemoryDatabase(memory, lease=LEASE, fault=self._fault)
        self.session = HooxSession(
            space.api_key,
            transport=PausingTransport(space, self._point),
            store=self.database.workspace("w"),
            requests_per_minute=60_000,
            timeouts=Timeouts(answer=ANSWER, connect=5.0),
        )

    async def open(self) -> None:
        await self.database.open()
        await self.session.__aenter__()

    async def close(self) -> None:
        if not self.is_dead:
            await self.session.aclose()
            await self.database.aclose()

    async def kill(self) -> None:
        """End as a process that is killed: nothing more is sent, written or told."""
        self.is_dead = True
        runtime = runtime_of(self.session)
        runtime.submitter.posts.stop()
        runtime.tasks.stop()
        runtime.hooks.stop()
        self.session._open = None
        await self.database.kill()

    async def _fault(self, when: Literal["before", "after"], name: str) -> None:
        await asyncio.sleep(0)
        if name not in OF_THE_MEMBER:
            await self._point(f"{when} {name}")
        elif self.is_dead:
            raise StoreError("the process is dead")

    async def _point(self, name: str) -> None:
        await self._at(name)
        if self.is_dead:
            raise StoreError("the process is dead")


class PausingTransport(InProcessTransport):
    """A transport with await points around a paid request."""

    def __init__(self, space: Space, point: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(space, latency=2.0)
        self._point = point

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        if before_send is None:
            return await super().send(request, None)
        written = before_send

        async def write() -> None:
            await written()
            await self._point("bytes")

        response = await super().send(request, write)
        await self._point("answer")
        return response


class Trial:
    """One run: the failure happens at one of the await points of the first process's order."""

    def __init__(self, count: int, kind: Kind | None, number: int) -> None:
        self.memory = SharedMemory()
        self.space = Space(rng=Random(1), requests_per_minute=None)
        self.points: list[str] = []
        self._kind = kind
        self._number = number
        self._ordering: asyncio.Task[Any] | None = None
        self._killing: asyncio.Task[None] | None = None
        self._waits = asyncio.Event()
        self._waits.set()
        self.first = Process(self.memory, self.space, self._at)
        self.others = [Process(self.memory, self.space, _nothing) for _ in range(count - 1)]

    async def run(self) -> None:
        """Order in all processes, and check what holds afterwards."""
        everyone = [self.first, *self.others]
        for process in everyone:
            await process.open()
        self._ordering = asyncio.create_task(order(self.first))
        await asyncio.sleep(0.5)
        others = [asyncio.create_task(order(process)) for process in self.others]
        await asyncio.sleep(PATIENCE)
        self._kind = None
        if self.first.is_dead:
            self._ordering.cancel()
            await asyncio.wait([self._ordering])
        assert all(task.done() for task in (self._ordering, *others)), "an order hangs"
        self._check_safety()
        await self._check_liveness()
        for process in everyone:
            await process.close()
        if self._killing is not None:
            await self._killing

    def _check_safety(self) -> None:
        """The order was paid once at most, and what was paid is in the books."""
        charges = self.space.ledger
        assert len(charges) <= 1, "paid twice"
        intent = self.memory.intent(KEY)
        assert intent is not None or not charges, "paid and not in the books"
        if intent is not None:
            paid = sum((Decimal(str(charge.credits)) for charge in charges), Decimal(0))
            assert intent.spent <= paid <= intent.spent + intent.at_risk
            assert intent.ref is None or intent.ref == charges[0].ref

    async def _check_liveness(self) -> None:
        """Nothing is outstanding for ever, and each living process can go on with the key."""
        stored = self.memory.intent(KEY)
        assert stored is None or stored.state is not IntentState.SENDING, "outstanding for ever"
        for process in (self.first, *self.others):
            if not process.is_dead:
                async with asyncio.timeout(PATIENCE):
                    with suppress(OutcomeUnknown):
                        await (await process.session.submit(prompt(KEY), key=KEY)).wait()
        assert len(self.space.ledger) <= 1, "paid again"

    async def _at(self, name: str) -> None:
        if self._ordering is None:
            return
        await self._waits.wait()
        self.points.append(name)
        if len(self.points) - 1 != self._number or self._kind is None:
            return
        match self._kind:
            case "kill":
                self.first.is_dead = True
                self._killing = asyncio.create_task(self.first.kill())
            case "cancel":
                self._ordering.cancel()
                await asyncio.sleep(0)
            case "error" if name in ("bytes", "answer"):
                raise TransportError("the connection broke")
            case "error":
                raise StoreError("the connection broke")
            case "stall":
                self._waits.clear()
                asyncio.get_running_loop().call_later(STALL, self._waits.set)
                await self._waits.wait()


async def _nothing(_: str) -> None:
    """Nothing goes wrong in this process."""


async def order(process: Process) -> None:
    """Submit the order and wait for its look; errors are the caller's."""
    with suppress(HooxError, asyncio.CancelledError):
        await (await process.session.submit(prompt(KEY), key=KEY)).wait()


def run(trial: Callable[[], Trial]) -> Trial:
    """Run a trial on a loop of its own."""

    async def main() -> Trial:
        made = trial()
        await made.run()
        return made

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


@cache
def await_points() -> dict[int, str]:
    """The await points of an order by their numbers, which are the same beside any number of processes."""
    points = run(lambda: Trial(COUNTS[0], None, -1)).points
    # status requests repeat theirs
    return {number: name for number, name in enumerate(points) if points[:number].count(name) < OFTEN}


def cases(kind: Kind, points: Mapping[int, str]) -> Iterator[tuple[int, int]]:
    """Numbers of await points, and a number of processes each."""
    if ALL:
        yield from product(points, COUNTS)
    else:  # each await point for one kind of failure
        yield from zip(list(points)[KINDS.index(kind) :: len(KINDS)], cycle(COUNTS), strict=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_at_any_await_point_pays_once_and_blocks_nothing(kind: Kind) -> None:
    """Whatever happens to one process and wherever: paid once at most, in the books, and nobody hangs."""
    points = await_points()
    assert {"before put", "after put", "before reserve", "bytes", "answer"} <= set(points.values())
    for number, count in cases(kind, points):
        try:
            trial = run(lambda number=number, count=count: Trial(count, kind, number))  # type: ignore[misc]
            assert trial.points[number] == points[number]
        except BaseException as error:
            error.add_note(f"{kind} at await point {number}, {points[number]!r}, with {count} processes")
            raise
