"""Circuit breakers: whether the next paid request may be sent, given the outcomes of those before it.

During an outage each request that is sent can be charged and lost. `SubmissionBreaker` is that of a session's
single submissions: it holds them until a free request is answered. `BatchBreaker` is that of a batch. A
batch begins with a few requests, sends nothing new while they get no answer, pauses after several losses in
a row, sends one request as a probe after each pause, and stops when three probes in a row were lost.
"""

from __future__ import annotations

import math
from typing import NamedTuple

SILENT_SECONDS = 10.0
"""Nothing new is sent once a request that was sent after the last answer is this many seconds old."""
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


class BatchBreaker:
    """Counts the answers and the losses of one batch. Times are in seconds, of any monotonic clock.

    An answer is an acceptance, or a refusal by the API itself. A loss is a request that got no such answer
    and may have been charged. ``trial`` is how many requests may be outstanding or lost as long as there is
    no answer yet, and between a loss and the next answer.
    """

    def __init__(self, *, trial: int = LOSSES) -> None:
        self.losses = 0
        """Consecutive losses."""
        self.answered_at = -math.inf
        """When a request was last answered."""
        self._trial = trial
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
        ``oldest`` is when the first of those was sent that were sent after the last answer; None: none was.
        """
        if self.stopped or self._probing:
            return Hold()
        if _is_silent(now, oldest, self.answered_at):
            return Hold(silent=True)
        if self._probe_at is not None:
            return Go(probe=True) if now >= self._probe_at else Hold()
        is_trial = self.losses > 0 or self.answered_at == -math.inf
        if is_trial and outstanding and outstanding + self.losses >= self._trial:
            return Hold()
        return Go(probe=False)

    def probe(self) -> None:
        """The probe is being sent: nothing else may be sent until it has ended."""
        self._probing = True

    def answered(self, now: float) -> None:
        """The API has answered a request: that ends a pause, and the losses before it no longer count."""
        self.losses = 0
        self.answered_at = now
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


class SubmissionBreaker:
    """Counts the answers and the losses of a session's paid requests. Times are as in `BatchBreaker`.

    After `LOSSES` losses in a row, and while a request is silent that was sent after the last answer, a
    submission is held back until a free request was answered since then. Then, and before the first answer,
    few are sent: none while others are outstanding that make `LOSSES` together with the losses. So where only
    paid requests are lost, they are lost one by one, each after a free answer.
    """

    def __init__(self) -> None:
        self.losses = 0
        """Consecutive losses."""
        self._lost_at = self._answered_at = self._free_answer_at = -math.inf
        self._outstanding: dict[str, float | None] = {}  # by attempt: when it was sent, None: not yet

    def began(self, attempt_id: str) -> None:
        """A paid request has its permit."""
        self._outstanding[attempt_id] = None

    def sent(self, attempt_id: str, now: float) -> None:
        """It has left."""
        self._outstanding[attempt_id] = now

    def answered(self, attempt_id: str, now: float) -> None:
        """The API has accepted or refused it: the losses before it no longer count."""
        self.withdrawn(attempt_id)
        self.losses, self._answered_at = 0, now

    def lost(self, attempt_id: str, now: float) -> None:
        """It was lost: no answer came, or none that says whether it was accepted."""
        self.withdrawn(attempt_id)
        self.losses += 1
        self._lost_at = now

    def withdrawn(self, attempt_id: str) -> None:
        """It is not outstanding any more."""
        self._outstanding.pop(attempt_id, None)

    def answered_free(self, now: float) -> None:
        """The API has answered a free request that was sent while submissions were held back."""
        self._free_answer_at = now

    @property
    def ended_at(self) -> float:
        """When it was last known of a paid request whether it was accepted, or that it was lost."""
        return max(self._answered_at, self._lost_at)

    def oldest(self) -> float | None:
        """When the first of the outstanding paid requests was sent."""
        return min((at for at in self._outstanding.values() if at is not None), default=None)

    def holds(self, now: float) -> bool:
        """Whether a submission must not be sent now."""
        is_few = not self._outstanding or self.losses + len(self._outstanding) < LOSSES
        since = self.unanswered_since(now)
        if since is None:
            return self._answered_at == -math.inf and not is_few
        return not is_few or self._free_answer_at <= since

    def unanswered_since(self, now: float) -> float | None:
        """Since when paid requests get no answer; None: they get one, or it is too early to say."""
        silent_since = self.silent_since(now)
        if self.losses < LOSSES:
            return silent_since
        return self._lost_at if silent_since is None else max(self._lost_at, silent_since)

    def silent_since(self, now: float) -> float | None:
        """Since when an outstanding paid request is silent, with none answered since it was sent."""
        sent = [at for at in self._outstanding.values() if at is not None and at >= self._answered_at]
        oldest = min(sent, default=None)
        is_silent = oldest is not None and _is_silent(now, oldest, self._answered_at)
        return oldest + SILENT_SECONDS if is_silent and oldest is not None else None


def _is_silent(now: float, oldest: float | None, answered_at: float) -> bool:
    """Whether this outstanding request was sent long ago and no answer at all has come since."""
    return oldest is not None and answered_at <= oldest and now - oldest > SILENT_SECONDS
