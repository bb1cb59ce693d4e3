"""One timer for many requests that may each take equally long: the first to begin is the first to be late.

A timer each costs as much as a twentieth of a status request. Whose time is over ends by `asyncio.Timeout`,
which knows how to tell its own cancellation from the caller's.
"""

from __future__ import annotations

import asyncio


class Times:
    """Lets each that begins have so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Timeout:
        """The time of one, to be entered at once; say `end` when it is left."""
        loop = asyncio.get_running_loop()
        timeout = asyncio.timeout(None)
        self._ends[timeout] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._ring, loop)
        return timeout

    def end(self, timeout: asyncio.Timeout) -> None:
        """It is over, in time or not."""
        self._ends.pop(timeout, None)

    def close(self) -> None:
        """Forget the timer; none may be running."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now, self._timer = loop.time(), None
        for timeout, until in list(self._ends.items()):
            if until > now:
                self._timer = loop.call_at(until, self._ring, loop)
                return
            del self._ends[timeout]
            timeout.reschedule(now)
