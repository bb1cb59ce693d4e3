"""The session's one clock: the loop's time for durations, and UTC for what is stored."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ..errors import ConfigurationError

# It goes on while the machine sleeps, and nobody sets it. Linux names it so; macOS's monotonic clock is one.
_BOOT_TIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC if sys.platform == "darwin" else None)


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop that runs here. Raises `ConfigurationError` where none does, as under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "hoox_async needs asyncio: no asyncio loop (or uvloop) runs here; with trio, run it by "
            "asyncio.run in a thread of its own"
        ) from None


class Clock:
    """Reads the time of a loop, in seconds, and UTC, as an aware datetime.

    UTC is read again each time, because a loop's clock may stop while the machine sleeps and because the
    system's clock can be set. A loop can have an ``epoch``, the UTC datetime of its time 0: then UTC is
    computed from the loop's time. Loops with virtual time have one, so that their runs are reproducible.

    ``shared_epoch`` is called for each reading where several machines go by the clock of a database: the
    datetime of this machine's boot time 0 by that clock. Then this machine's UTC is not used, and may be set.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, shared_epoch: Callable[[], datetime | None] | None = None
    ) -> None:
        self.loop = loop
        self._shared_epoch = shared_epoch
        self.now: Callable[[], float] = loop.time
        """The loop's time in seconds."""
        self._epoch: datetime | None = getattr(loop, "epoch", None)

    def utc(self) -> datetime:
        """The UTC datetime now."""
        shared = None if self._shared_epoch is None else self._shared_epoch()
        if shared is not None:
            return shared + timedelta(seconds=self.boot())
        if self._epoch is not None:
            return self._epoch + timedelta(seconds=self.loop.time())
        return datetime.now(UTC)

    def boot(self) -> float:
        """Seconds of a clock that goes on while the machine sleeps, where the system has one."""
        if self._epoch is not None or _BOOT_TIME is None:
            return self.loop.time()
        return time.clock_gettime(_BOOT_TIME)

    def to_utc(self, seconds: float) -> datetime:
        """A time of the loop as a UTC datetime, if neither clock has been stopped or set in between."""
        return self.utc() + timedelta(seconds=seconds - self.now())

    def to_loop(self, utc: datetime) -> float:
        """A UTC datetime as a time of the loop, if neither clock has been stopped or set in between."""
        return self.now() + (utc - self.utc()).total_seconds()
