"""Why a run sends nothing more: said once, heard by all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..errors import HooxError


class Stopped(Exception):
    """Something happened that stops the whole batch; this item was not sent."""

    def __init__(self, reason: HooxError) -> None:
        self.reason = reason
        super().__init__(str(reason))


class Stop:
    """The one place of a run that knows whether it was stopped, and why."""

    def __init__(self) -> None:
        self.reason: HooxError | None = None
        self._blocks: set[asyncio.Timeout] = set()

    def say(self, reason: HooxError) -> bool:
        """Turn back whoever waits inside of `turns_back`, and whoever comes. False: it was said before."""
        if self.reason is not None:
            return False
        self.reason = reason
        now = asyncio.get_running_loop().time() if self._blocks else 0.0
        for block in self._blocks:
            block.reschedule(now)
        return True

    def check(self) -> None:
        """Raises `Stopped` once it was said."""
        if self.reason is not None:
            raise Stopped(self.reason)

    @asynccontextmanager
    async def turns_back(self) -> AsyncIterator[None]:
        """A stop ends the block with `Stopped`, whatever it waits for."""
        self.check()
        block = asyncio.timeout(None)
        self._blocks.add(block)
        try:
            async with block:
                yield
        except TimeoutError:
            if not block.expired():
                raise
            self.check()
        finally:
            self._blocks.discard(block)
