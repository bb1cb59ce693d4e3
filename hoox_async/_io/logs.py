"""How failures are logged that must not spread, and refusals that may be many."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger("hoox_async")


@contextmanager
def failures_logged(what: str) -> Iterator[None]:
    """Log what is raised inside and go on after the block: the caller's own work must not fail for it."""
    try:
        yield
    except Exception:
        _log.exception("%s failed", what)


class LogLimit:
    """Lets one line a second through, with a count of what happened since the last one.

    ``log`` writes the line: it is given how often each thing has happened. The first happening is logged
    at once. Those that follow within a second are logged together at its end, so that none is left out.
    It runs on whatever loop is running, and outlives it.
    """

    def __init__(self, log: Callable[[Counter[str]], None], seconds: float = 1.0) -> None:
        self._log = log
        self._seconds = seconds
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, what: str) -> None:
        """It has happened once more."""
        loop = asyncio.get_running_loop()
        self._counts[what] += 1
        if self._timer is None or self._loop is not loop:  # the timer of a loop that has ended never comes
            self._loop = loop
            self._flush()

    def _flush(self) -> None:
        counts, self._counts = self._counts, Counter()
        self._timer = None
        if counts and self._loop is not None:
            self._timer = self._loop.call_later(self._seconds, self._flush)
            self._log(counts)

    def close(self) -> None:
        """Log what was not logged yet, and end the timer."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if self._counts:
            counts, self._counts = self._counts, Counter()
            self._log(counts)
