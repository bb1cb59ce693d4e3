"""The session's one clock: the loop's. UTC is derived from it, so that a virtual loop rules both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """Reads a loop's time, in seconds and as an aware UTC datetime.

    A loop may have an ``epoch`` (the UTC datetime of its time 0); a virtual loop has, so that runs repeat.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.now: Callable[[], float] = loop.time
        """The loop's time in seconds."""
        epoch = getattr(loop, "epoch", None)
        self._epoch: datetime = epoch or datetime.now(UTC) - timedelta(seconds=loop.time())

    def utc(self) -> datetime:
        """The same moment as a UTC datetime."""
        return self.to_utc(self.loop.time())

    def to_utc(self, seconds: float) -> datetime:
        """A moment of the loop's time as a UTC datetime."""
        return self._epoch + timedelta(seconds=seconds)

    def to_loop(self, moment: datetime) -> float:
        """A UTC datetime as a moment of the loop's time."""
        return (moment - self._epoch).total_seconds()
