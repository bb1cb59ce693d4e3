"""How far a batch is, and the calls that tell its user."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal

import attrs

from .window import BatchWindow

_log = logging.getLogger("hoox_async")
_EVERY = 0.1  # seconds


@attrs.frozen
class Progress:
    """How far a batch is: what ``BatchRunner(…, progress=callback)`` is called with."""

    done: int
    """Items that have their outcome, whatever it is."""
    in_flight: int
    """Items that were sent, or resumed from an earlier run, and have no outcome yet."""
    unknown: int
    """Outcomes among ``done`` that are UNKNOWN: it may have been paid, and a person has to decide."""
    total: int | None
    """All items; None for an input without a length, such as a generator."""
    credits: Decimal
    """What the items done and in flight have cost or put at risk, in earlier runs too.

    At the end it is ``credits_spent`` and ``credits_at_risk`` of the `BatchReport` together."""
    seconds_left: float | None
    """About how many seconds until the last item has its outcome, in whole seconds.

    By the present quota and the time that looks took so far, and without the time that items wait for their
    sources. None while it cannot be known: without a ``total``, and while the batch is paused because paid
    requests get no answer."""


ProgressCallback = Callable[[Progress], object]


class ProgressReporter:
    """Calls the callback while something changes, at most ten times a second, and once at the end."""

    def __init__(
        self, callback: ProgressCallback | None, read: Callable[[], Progress], window: BatchWindow
    ) -> None:
        self._callback = callback
        self._read = read
        self._window = window

    async def run(self) -> None:
        """Report each change until it is cancelled."""
        shown: Progress | None = None
        while self._callback is not None:
            progress = self._read()
            if progress == shown:
                await self._window.wait()
            else:
                shown = progress
                self._call(self._callback, progress)
                await asyncio.sleep(_EVERY)

    def end(self) -> None:
        """Report how the batch ended."""
        if self._callback is not None:
            self._call(self._callback, self._read())

    def _call(self, callback: ProgressCallback, progress: Progress) -> None:
        try:
            callback(progress)
        except (Exception, asyncio.CancelledError):  # nothing is awaited here: it is not ours
            _log.exception("the progress callback of a batch raised")
