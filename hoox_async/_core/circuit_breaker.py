"""The circuit breaker of a batch: whether its next paid request may be sent, given the previous outcomes.

During an outage each request that is sent can be charged and lost. So a batch begins with a few requests,
sends nothing new while they get no answer, pauses after several losses in a row, sends one request as a
probe after each pause, and stops when three probes in a row were lost.
"""

from __future__ import annotations

import math
from typing import NamedTuple

SILENT_SECONDS = 10.0
"""Nothing new is sent once the oldest outstanding request is this many seconds old without any answer."""
LOSSES = 5
"""Consecutive losses that begin a pause."""
PAUSES = (30.0, 60.0, 120.0)
"""Seconds of the pause before the first, second and third probe."""


class Go(NamedTuple):
    """The next request may be sent. ``probe``: as a probe, and nothing else is sent until it has ended."""

    probe: bool


class Hold(NamedTuple):
    """Nothing may be sent now. ``silent``: because the outstanding requests get no answer."""

    silent: bool = False


class CircuitBreaker:
    """Counts the answers and the losses of one batch. Times are in seconds, of any monotonic clock.

    An answer is an acceptance, or a refusal by the API itself. A loss is a request that got no such answer
    and may have been charged. ``trial`` is how many requests may be outstanding or lost as long as there is
    no answer yet, and between a loss and the next answer.
    """

    def __init__(self, *, trial: int = LOSSES) -> None:
        self.losses = 0
        """Consecutive losses."""
        self._trial = trial
        self._answered_at = -math.inf
        self._probe_at: float | None = None  # None: there is no pause
        self._probing = False
        self._lost_probes = 0

    @property
    def stopped(self) -> bool:
        """Whether all probes were lost, so that nothing is sent any more."""
        return self._lost_probes >= len(PAUSES)

    def decide(self, now: float, outstanding: int, oldest: float | None) -> Go | Hold:
        """Whether the next request may be sent now.

        ``outstanding`` is how many requests have not ended, including those that are still connecting.
        ``oldest`` is when the first of them was sent; None where none was.
        """
        if self.stopped or self._probing:
            return Hold()
        if self._is_silent(now, oldest):
            return Hold(silent=True)
        if self._probe_at is not None:
            return Go(probe=True) if now >= self._probe_at else Hold()
        is_trial = self.losses > 0 or self._answered_at == -math.inf
        if is_trial and outstanding and outstanding + self.losses >= self._trial:
            return Hold()
        return Go(probe=False)

    def _is_silent(self, now: float, oldest: float | None) -> bool:
        """Whether the oldest outstanding request was sent long ago and no answer at all has come since."""
        return oldest is not None and self._answered_at < oldest and now - oldest > SILENT_SECONDS

    def probe(self) -> None:
        """The probe is being sent: nothing else may be sent until it has ended."""
        self._probing = True

    def answered(self, now: float) -> None:
        """The API has answered a request: that ends a pause, and the losses before it no longer count."""
        self.losses = 0
        self._answered_at = now
        self._probe_at = None
        self._probing = False
        self._lost_probes = 0

    def lost(self, now: float, *, probe: bool) -> float | None:
        """A request was lost. Returns the seconds of the pause that this begins, or None."""
        self.losses += 1
        if probe and self._probing:
            self._probing = False
            self._lost_probes += 1
            if self.stopped:
                return None
        elif self._probe_at is not None or self.losses < LOSSES:
            return None
        pause = PAUSES[self._lost_probes]
        self._probe_at = now + pause
        return pause

    def withdrawn(self, *, probe: bool) -> None:
        """A request was certainly not sent, or its outcome will not be known: another may be the probe."""
        if probe:
            self._probing = False
