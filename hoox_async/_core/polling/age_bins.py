"""The looks of a large group, counted by age instead of one by one."""

from __future__ import annotations

import math

from .request_value import Term, make_term
from .tracked_looks import TrackedLook

_FINE, _COARSE = 3.0, 0.2  # width of an age bin: seconds while young, share of the age later


class _Bin:
    """Looks of one kind and about one age. ``accepted_sum`` is the sum of their times of acceptance."""

    __slots__ = ("accepted_sum", "count", "durations", "expects_webhook")

    def __init__(self, look: TrackedLook) -> None:
        self.durations = look.durations
        self.expects_webhook = look.expects_webhook
        self.count = 0
        self.accepted_sum = 0.0

    def fits(self, look: TrackedLook) -> bool:
        """Whether the look is of this kind and age, and expects a webhook as the others do."""
        same = self.durations is look.durations and self.expects_webhook is look.expects_webhook
        return same and abs(look.accepted_at - self.accepted_sum / self.count) <= 0.6 * _FINE

    def add(self, look: TrackedLook) -> None:
        """Count one more look."""
        self.count += 1
        self.accepted_sum += look.accepted_at


class AgeBins:
    """Looks counted by age, so that a group's value takes few steps however large the group is."""

    __slots__ = ("bins", "size")

    def __init__(self, looks: list[TrackedLook], now: float) -> None:
        by_age: dict[tuple[int, bool, int], _Bin] = {}
        for look in looks:
            age = now - look.accepted_at
            if age < _FINE / _COARSE:
                number = int(max(age, 0.0) / _FINE)
            else:
                number = 5 + int(math.log(age * _COARSE / _FINE) / _COARSE)
            key = id(look.durations), look.expects_webhook, number
            found = by_age.get(key)
            if found is None:
                found = by_age[key] = _Bin(look)
            found.add(look)
        self.bins = [found for _, found in sorted(by_age.items(), key=lambda kv: -kv[0][2])]  # oldest first
        self.size = len(looks)

    def add(self, look: TrackedLook) -> None:
        """Count one more look, the newest."""
        self.size += 1
        if not self.bins or not self.bins[-1].fits(look):
            self.bins.append(_Bin(look))
        self.bins[-1].add(look)

    def terms(self, last_checked_at: float, loss_share: float) -> list[Term]:
        """The terms of all looks. ``loss_share``: the share of webhook deliveries that never comes."""
        return [
            make_term(
                each.count,
                each.accepted_sum / each.count,
                last_checked_at,
                each.durations,
                loss_share if each.expects_webhook else 1.0,
            )
            for each in self.bins
        ]
