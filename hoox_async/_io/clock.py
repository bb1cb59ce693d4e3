"""The session's one clock: the loop's for durations, and UTC for what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """Reads a loop's time, in seconds and as an aware UTC datetime.

    UTC is read anew each time: a loop's clock stands still while the machine sleeps, and the machine's is
    set. A loop may have an ``epoch`` (the UTC datetime of its time 0) that rules instead; a virtual loop
    has, so that runs repeat.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.now: Callable[[], float] = loop.time
        """The loop's time in seconds."""
        self._epoch: datetime | None = getattr(loop, "epoch", None)

    def utc(self) -> datetime:
        """The UTC datetime now."""
        return self.to_utc(self.loop.time()) if self._epoch is not None else datetime.now(UTC)

    def to_utc(self, seconds: float) -> datetime:
        """A moment of the loop's time as a UTC datetime, as far as the clocks have gone alike since."""
        return self._started() + timedelta(seconds=seconds)

    def to_loop(self, moment: datetime) -> float:
        """A UTC datetime as a moment of the loop's time, as far as the clocks have gone alike since."""
        return (moment - self._started()).total_seconds()

    def _started(self) -> datetime:
        """What UTC was when the loop's time was 0, had both gone alike."""
        return self._epoch or datetime.now(UTC) - timedelta(seconds=self.loop.time())
