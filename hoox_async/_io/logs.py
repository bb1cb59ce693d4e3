"""Logging of failures that must not propagate, and rate-limited logging of frequent events."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger("hoox_async")
_PAUSE = 1.0  # seconds between two lines


@contextmanager
def failures_logged(what: str) -> Iterator[None]:
    """Log an exception of the block and suppress it: the caller's own work must not fail because of it."""
    try:
        yield
    except Exception:
        _log.exception("%s failed", what)


class LogLimit:
    """Limits a log line to one a second, with counts of what happened since the last one.

    ``log`` writes the line; its argument says how often each thing has happened. The first event is logged
    at once, and those that follow within a second are logged together at their end, so that none is
    missing. It uses the loop that is running at the time, and can be used on another one later.
    """

    def __init__(self, log: Callable[[Counter[str]], None]) -> None:
        self._log = log
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, what: str) -> None:
        """Count one more of these events."""
        loop = asyncio.get_running_loop()
        self._counts[what] += 1
        if self._timer is None or self._loop is not loop:  # a timer of a closed loop never fires
            self._loop = loop
            self._flush()

    def _flush(self) -> None:
        counts, self._counts = self._counts, Counter()
        self._timer = None
        if counts and self._loop is not None:
            self._timer = self._loop.call_later(_PAUSE, self._flush)
            self._log(counts)

    def close(self) -> None:
        """Log what has not been logged yet, and cancel the timer."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if self._counts:
            counts, self._counts = self._counts, Counter()
            self._log(counts)
