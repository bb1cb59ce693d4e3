"""Helpers for tests of the rate limiter: a crowd that waits at it, and a server's count of a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from hoox_async._io.clock import Clock
from hoox_async._session.rate_limiter import Permit, RateLimiter

virtual = pytest.mark.virtual_time
INTERVAL = 60.05 / 100


class Crowd:
    """Clients that wait at a rate limiter. Each sends when it has a permit, and the time is recorded."""

    def __init__(self, limit: int = 100, **options: Any) -> None:
        self.rate_limiter = RateLimiter(Clock(asyncio.get_running_loop()), limit, **options)
        self.served: list[tuple[str, float]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def come(self, name: str, permit: Awaitable[Permit]) -> asyncio.Task[None]:
        async def visit() -> None:
            with await permit as got:
                got.mark_sent()
                self.served.append((name, self.now()))

        task = asyncio.create_task(visit())
        self.tasks.append(task)
        return task

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def names(self) -> str:
        return "".join(name for name, _ in self.served)

    async def use_up(self) -> None:
        """Use up the burst, so that the next permits come one by one."""
        while self.rate_limiter.window.earliest(self.now()) <= self.now():
            with await self.rate_limiter.acquire() as permit:
                permit.mark_sent()

    async def leave(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def most_in_a_minute(intervals: list[tuple[float, float]]) -> int:
    """The most requests that a server can have counted in any 60 s, if each arrived within its interval."""
    return max(
        sum(end > first - 60.0 for start, end in intervals if start <= first) for first, _ in intervals
    )
