"""One timer for many requests that may each take equally long: the first to begin is the first to be late.

A timer each costs as much as a twentieth of a status request. Whose time is over ends by `asyncio.Timeout`,
which knows how to tell its own cancellation from the caller's.

A process that stands still (stopped, in a debugger, starved of CPU) finds its timers over and the answers in
its sockets, and some event loops run the timers first. So nobody's time ends before the loop has had the
chance to read what came: whose time is over has a short grace, of as long as the timer came late.
"""

from __future__ import annotations

import asyncio

_SHORTEST_GRACE = 0.01  # seconds; less than a millisecond is no pause on uvloop, which reads nothing then
_LONGEST_GRACE = 5.0


class Deadlines:
    """Lets each that begins have so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: dict[asyncio.Timeout, float] = {}
        self._in_grace: set[asyncio.Timeout] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, timeout: asyncio.Timeout | None = None) -> asyncio.Timeout:
        """The time of one, from now on; say `end` when it is left.

        A new one is to be entered at once; a given ``timeout`` has been entered.
        """
        loop = asyncio.get_running_loop()
        timeout = asyncio.timeout(None) if timeout is None else timeout
        self._ends[timeout] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._ring, loop)
        return timeout

    def end(self, timeout: asyncio.Timeout) -> None:
        """It is over, in time or not."""
        self._ends.pop(timeout, None)
        self._in_grace.discard(timeout)

    def close(self) -> None:
        """Forget the timer; none may be running."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now, self._timer = loop.time(), None
        for timeout, until in list(self._ends.items()):
            if until <= now:
                self._is_over(timeout, until, now)
        if self._ends:
            # a grace is no longer than the time itself, so whoever begins meanwhile ends later than this
            self._timer = loop.call_at(min(self._ends.values()), self._ring, loop)

    def _is_over(self, timeout: asyncio.Timeout, until: float, now: float) -> None:
        if timeout in self._in_grace:
            self.end(timeout)
            timeout.reschedule(now)
        else:
            grace = min(max(now - until, _SHORTEST_GRACE), _LONGEST_GRACE, self._seconds)
            self._in_grace.add(timeout)
            self._ends[timeout] = now + grace
