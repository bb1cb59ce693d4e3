"""The signal that a run sends nothing more, with its reason: set once, and seen by all waiting items."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..errors import HooxError


class Stopped(Exception):
    """The whole batch is stopped for this reason; this item was not sent."""

    def __init__(self, reason: HooxError) -> None:
        self.reason = reason
        super().__init__(str(reason))


class StopSignal:
    """Knows whether a run was stopped, and why. ``changed`` is set when it is."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.reason: HooxError | None = None
        """Why the run was stopped; None while it was not."""
        self._changed = changed
        self._waits: set[asyncio.Timeout] = set()

    def set(self, reason: HooxError) -> None:
        """Stop the run: end every `interruptible` block, and let none begin. The first reason is kept."""
        if self.reason is not None:
            return
        self.reason = reason
        self._changed.set()
        now = asyncio.get_running_loop().time() if self._waits else 0.0
        for wait in self._waits:
            wait.reschedule(now)

    def check(self) -> None:
        """Raise `Stopped` if the run was stopped."""
        if self.reason is not None:
            raise Stopped(self.reason)

    @asynccontextmanager
    async def interruptible(self) -> AsyncIterator[None]:
        """A context manager: a stop ends the block with `Stopped` at whichever await it is."""
        self.check()
        wait = asyncio.timeout(None)
        self._waits.add(wait)
        try:
            async with wait:
                yield
        except TimeoutError:
            if not wait.expired():
                raise
            self.check()
        finally:
            self._waits.discard(wait)
