"""A timeout that does not lose answers which arrived while the process was suspended.

After a suspension (stopped, in a debugger, starved of CPU) timers have expired, answers are in the sockets,
and some event loops run the timers first. So a request that has timed out gets a short grace period, as long
as the timer was late, in which the loop can read what has arrived.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

_MIN_GRACE = 0.01  # seconds; uvloop reads nothing in less than a millisecond
_MAX_GRACE = 5.0


class Deadline:
    """Ends the block after so many seconds and a grace period, with `TimeoutError`; for ``async with``.

    It is built on `asyncio.Timeout`, which can tell its own cancellation from the caller's.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Deadline:
        await self._timeout.__aenter__()
        self.restart(self._seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.suspend()
        await self._timeout.__aexit__(kind, error, trace)

    @property
    def expired(self) -> bool:
        """Whether it has ended the block."""
        return self._timeout.expired()

    def restart(self, seconds: float) -> None:
        """Restart the timeout: the block has so many seconds from now on."""
        self.suspend()
        self._seconds = seconds
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._begin_grace, loop.time() + seconds)

    def suspend(self) -> None:
        """Suspend the timeout until `restart`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin_grace(self, due_at: float) -> None:
        loop = asyncio.get_running_loop()
        grace = min(max(loop.time() - due_at, _MIN_GRACE), _MAX_GRACE, self._seconds)
        self._timer = loop.call_later(grace, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._timeout.reschedule(asyncio.get_running_loop().time())
