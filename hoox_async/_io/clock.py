"""The session's one clock: the loop's time for durations, and UTC for what is stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """Reads the time of a loop, in seconds, and UTC, as an aware datetime.

    UTC is read again each time, because a loop's clock may stop while the machine sleeps and because the
    system's clock can be set. A loop can have an ``epoch``, the UTC datetime of its time 0: then UTC is
    computed from the loop's time. Loops with virtual time have one, so that their runs are reproducible.

    ``offset`` is how far the clock that UTC is to be read from is ahead of this machine's: several machines
    that share a database go by its clock. It is called for each reading.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, offset: Callable[[], timedelta] = timedelta) -> None:
        self.loop = loop
        self._offset = offset
        self.now: Callable[[], float] = loop.time
        """The loop's time in seconds."""
        self._epoch: datetime | None = getattr(loop, "epoch", None)

    def utc(self) -> datetime:
        """The UTC datetime now."""
        if self._epoch is not None:
            return self.to_utc(self.loop.time())
        return datetime.now(UTC) + self._offset()

    def boot(self) -> float:
        """Seconds of a clock that goes on while the machine sleeps, where the system has one."""
        if self._epoch is not None or not hasattr(time, "CLOCK_BOOTTIME"):
            return self.loop.time()
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def to_utc(self, seconds: float) -> datetime:
        """A time of the loop as a UTC datetime, if neither clock has been stopped or set in between."""
        return self._epoch_utc() + timedelta(seconds=seconds)

    def to_loop(self, utc: datetime) -> float:
        """A UTC datetime as a time of the loop, if neither clock has been stopped or set in between."""
        return (utc - self._epoch_utc()).total_seconds()

    def _epoch_utc(self) -> datetime:
        """The UTC datetime of the loop's time 0."""
        here = self._epoch or datetime.now(UTC) - timedelta(seconds=self.loop.time())
        return here + self._offset()
