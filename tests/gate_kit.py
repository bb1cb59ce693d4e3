"""What the tests of the gate share: a crowd at it, and how many requests a server counts in a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from hoox_async._io.clock import Clock
from hoox_async._session.rate_limiter import Gate, Slot

virtual = pytest.mark.virtual_time
GAP = 60.05 / 100


def waiting(gate: Gate) -> int:
    """How many wait at the gate, the watcher not counted."""
    return len(gate._own) + len(gate._batch)


class Crowd:
    """People at the gate; each sends as soon as it has a slot, and notes when."""

    def __init__(self, limit: int = 100, **options: Any) -> None:
        self.gate = Gate(Clock(asyncio.get_running_loop()), limit, **options)
        self.served: list[tuple[str, float]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def come(self, name: str, slot: Awaitable[Slot]) -> asyncio.Task[None]:
        async def visit() -> None:
            with await slot as got:
                got.stamp()
                self.served.append((name, self.now()))

        task = asyncio.create_task(visit())
        self.tasks.append(task)
        return task

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def names(self) -> str:
        return "".join(name for name, _ in self.served)

    async def use_up(self) -> None:
        """Spend the burst, so that the next slots come one by one."""
        while self.gate.window.earliest(self.now()) <= self.now():
            with await self.gate.own() as slot:
                slot.stamp()

    async def leave(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def most_in_a_minute(intervals: list[tuple[float, float]]) -> int:
    """The most requests that a server can have counted in any 60 s, each at some time in its interval."""
    return max(
        sum(end > first - 60.0 for start, end in intervals if start <= first) for first, _ in intervals
    )
