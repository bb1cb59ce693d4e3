"""Whether a batch may send its next paid request, by how the API answered those before: a circuit breaker.

During an outage each request that is sent may have been paid and is lost. So a batch begins with a few,
sends nothing new while its requests get no answer, pauses after several losses in a row, probes with one
request after each pause, and gives up when every probe was lost.
"""

from __future__ import annotations

import math
from typing import NamedTuple

SILENT_SECONDS = 10.0
"""How long the oldest outstanding request may go without an answer to any before nothing new is sent."""
LOSSES = 5
"""So many losses in a row begin a pause."""
PAUSES = (30.0, 60.0, 120.0)
"""Seconds before the first probe, and after each lost one before the next."""


class Go(NamedTuple):
    """The next request may be sent. ``probe``: alone, and its end decides how it goes on."""

    probe: bool


class Hold(NamedTuple):
    """Nothing may be sent now. ``silent``: since the outstanding requests have had no answer for too long."""

    silent: bool = False


class CircuitBreaker:
    """Counts the answers and the losses of one batch. Times are in seconds, of any clock that only goes on.

    An answer is an acceptance, or a refusal by the API itself. A loss is a request that may have been paid.
    ``trial`` is how many requests may be outstanding or lost before the first answer, and after a loss
    before the next one.
    """

    def __init__(self, *, trial: int = LOSSES) -> None:
        self.losses = 0
        """Losses in a row."""
        self._trial = trial
        self._answered_at = -math.inf
        self._probe_at: float | None = None  # None: no row of losses has begun a pause
        self._probing = False
        self._lost_probes = 0

    @property
    def gave_up(self) -> bool:
        """Whether as many probes were lost as there may be."""
        return self._lost_probes >= len(PAUSES)

    def decide(self, now: float, outstanding: int, oldest: float | None) -> Go | Hold:
        """Whether one may be sent now.

        ``outstanding`` requests have not ended, those included that are still connecting. ``oldest`` is when
        the first of them was sent; None: none was.
        """
        if self.gave_up or self._probing:
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
        """Whether no answer has come since the oldest outstanding one was sent, for too long."""
        return oldest is not None and self._answered_at < oldest and now - oldest > SILENT_SECONDS

    def probe(self) -> None:
        """The probe is on its way: nothing else goes until it has ended."""
        self._probing = True

    def answered(self, now: float) -> None:
        """The API has answered a request: a row of losses, and a pause, end."""
        self.losses = 0
        self._answered_at = now
        self._probe_at = None
        self._probing = False
        self._lost_probes = 0

    def lost(self, now: float, *, probe: bool) -> float | None:
        """A request was lost. The seconds of the pause that this begins, if it begins one."""
        self.losses += 1
        if probe and self._probing:
            self._probing = False
            self._lost_probes += 1
            if self.gave_up:
                return None
        elif self._probe_at is not None or self.losses < LOSSES:
            return None
        pause = PAUSES[self._lost_probes]
        self._probe_at = now + pause
        return pause

    def withdrawn(self, *, probe: bool) -> None:
        """A request surely never left, or nobody will hear of its end: another may probe."""
        if probe:
            self._probing = False
