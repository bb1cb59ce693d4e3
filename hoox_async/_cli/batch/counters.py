"""The figures of a running batch, counted from the session's events and the batch's outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from statistics import median

from hoox_async import (
    Event,
    LookAccepted,
    LookSettled,
    Outcome,
    OutcomeLost,
    OutcomeState,
    Paused,
    RequestSent,
)

from ..trouble import Trouble

_PAID = (OutcomeState.READY, OutcomeState.FAILED, OutcomeState.PENDING)
_EXPECTED_LOOK_SECONDS = 40.0  # used until the first looks of this run have settled


class RunCounters:
    """What the progress display shows. It is a hook of the session; `count_outcome` takes the outcomes.

    ``interval`` is the number of seconds between two submissions.
    """

    def __init__(self, total: int, to_send: int, *, interval: float, max_credits: Decimal | None) -> None:
        self.total = total
        self.to_send = to_send
        self.max_credits = max_credits
        self.credits = Decimal(0)
        self.ready = 0
        self.failed = 0
        self.others: Counter[OutcomeState] = Counter()
        """The outcomes that are neither ready nor failed, by their states."""
        self.accepted = 0
        self._interval = interval
        self._submitted: set[str] = set()
        self._lost: set[str] = set()
        self._paid_earlier: dict[str, Decimal] = {}
        self._in_flight: set[str] = set()
        self._look_seconds: list[float] = []
        self.trouble = Trouble()
        self.pause: Paused | None = None
        """Why no paid request is sent at the moment; None once one is sent again."""

    def count_earlier_runs(self, stored: Mapping[str, Outcome], keys: set[str], again: set[str]) -> None:
        """Add what earlier runs paid, from all outcomes of the store.

        ``keys`` are this run's items, ``again`` those to pay again.
        """
        self._paid_earlier = {key: outcome.credits + outcome.at_risk for key, outcome in stored.items()}
        self.credits += sum(self._paid_earlier.values(), Decimal(0))
        for key in keys & stored.keys() - again:
            if stored[key].state in _PAID:
                self._submitted.add(key)
            if stored[key].state is OutcomeState.PENDING:
                self._in_flight.add(key)

    def __call__(self, event: Event) -> None:
        """Count an event of the session."""
        self.trouble(event)
        match event:
            case RequestSent(endpoint=endpoint):
                self.pause = None if endpoint.paid else self.pause
            case LookAccepted(key=key, credits=credits):
                self.accepted += 1
                self.credits += credits
                self._submitted.add(key)
                self._in_flight.add(key)
            case LookSettled(key=key, seconds=seconds):
                self._in_flight.discard(key or "")
                if seconds is not None and seconds > 0:
                    self._look_seconds.append(seconds)
            case OutcomeLost(key=key, credits=credits):
                self._lost.add(key)
                self.credits += credits
                self.accepted += 1
            case Paused():
                self.pause = event

    def count_outcome(self, outcome: Outcome) -> None:
        """Count an outcome of the batch. With a store in PostgreSQL, another machine may have sent it."""
        self._in_flight.discard(outcome.key)
        paid = outcome.credits + outcome.at_risk - self._paid_earlier.get(outcome.key, Decimal(0))
        if paid > 0 and outcome.key not in self._submitted and outcome.key not in self._lost:
            self.credits += paid
            self.accepted += 1
            self._submitted.add(outcome.key)
        if outcome.state is OutcomeState.READY:
            self.ready += 1
        elif outcome.state is OutcomeState.FAILED:
            self.failed += 1
        else:
            self.others[outcome.state] += 1

    @property
    def submitted(self) -> int:
        """The number of this campaign's looks that were paid for, now or earlier."""
        return len(self._submitted)

    @property
    def in_flight(self) -> int:
        """Looks that were paid for and are not settled yet."""
        return len(self._in_flight)

    @property
    def done(self) -> int:
        """The number of items with an outcome."""
        return self.ready + self.failed + self.others.total()

    def seconds_left(self) -> float | None:
        """The estimated seconds until the end of the run; None when all items have an outcome."""
        if self.done >= self.total:
            return None
        look = median(self._look_seconds) if self._look_seconds else _EXPECTED_LOOK_SECONDS
        left = max(0, self.to_send - self.accepted)
        # a tenth of the quota is spent on polling; the last looks take longer than the median
        return 1.1 * left * self._interval + 1.5 * look
