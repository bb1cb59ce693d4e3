"""The signal that a run sends nothing more, or nothing more at one resolution, with its reason.

It is set once, and seen by all waiting items.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .._api.pictures import resolution_of
from .._api.requests import Request, Resolution
from ..errors import HooxError


class Stopped(Exception):
    """The batch sends nothing more, or nothing more at ``resolution``, for this reason; it was not sent."""

    def __init__(self, reason: HooxError, resolution: Resolution | None = None) -> None:
        self.reason = reason
        self.resolution = resolution
        super().__init__(str(reason))


class StopSignal:
    """Knows whether a run was stopped, and why. ``changed`` is set when it is."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.reason: HooxError | None = None
        """Why the whole run was stopped; None while it was not."""
        self._of: dict[Resolution, HooxError] = {}
        self._changed = changed
        self._waits: dict[asyncio.Timeout, Request | None] = {}

    def set(self, reason: HooxError, resolution: Resolution | None = None) -> None:
        """Stop the run: end every `interruptible` block, and let none begin. The first reason is kept.

        With a ``resolution``, only the blocks of requests at that resolution.
        """
        if resolution is not None:
            self._of.setdefault(resolution, reason)
        elif self.reason is None:
            self.reason = reason
        self._changed.set()
        now = asyncio.get_running_loop().time() if self._waits else 0.0
        for wait, request in self._waits.items():
            if self._stopped(request) is not None and not wait.expired():
                wait.reschedule(now)

    def reason_for(self, request: Request) -> HooxError | None:
        """Why this request is not to be sent; None if it may be."""
        stopped = self._stopped(request)
        return None if stopped is None else stopped.reason

    def check(self, request: Request | None = None) -> None:
        """Raise `Stopped` if the run was stopped, or the sending of such requests."""
        stopped = self._stopped(request)
        if stopped is not None:
            raise stopped

    def _stopped(self, request: Request | None) -> Stopped | None:
        if self.reason is not None:
            return Stopped(self.reason)
        resolution = None if request is None else resolution_of(request)
        reason = None if resolution is None else self._of.get(resolution)
        return None if reason is None else Stopped(reason, resolution)

    @asynccontextmanager
    async def interruptible(self, request: Request | None = None) -> AsyncIterator[None]:
        """A context manager: a stop ends the block with `Stopped` at whichever await it is.

        ``request``: what the block is to send; without one only a stop of the whole run ends it.
        """
        self.check(request)
        wait = asyncio.timeout(None)
        self._waits[wait] = request
        try:
            async with wait:
                yield
        except TimeoutError:
            if not wait.expired():
                raise
            self.check(request)
        finally:
            del self._waits[wait]
