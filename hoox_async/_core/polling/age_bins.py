"""The looks of a large group, counted by age instead of one by one."""

from __future__ import annotations

import math

from .request_value import Term, term
from .tracked_looks import TrackedLook

_FINE, _COARSE = 3.0, 0.2  # width of an age bin: seconds while young, share of the age later


class _Bin:
    """Looks of one kind and about one age."""

    __slots__ = ("accepted", "count", "expects_webhook", "model")

    def __init__(self, entry: TrackedLook) -> None:
        self.model = entry.model
        self.expects_webhook = entry.expects_webhook
        self.count = 0
        self.accepted = 0.0  # the sum

    def is_like(self, entry: TrackedLook) -> bool:
        """Whether it is of the same kind, is told of in the same way, and came about the same time."""
        same = self.model is entry.model and self.expects_webhook is entry.expects_webhook
        return same and abs(entry.accepted - self.accepted / self.count) <= 0.6 * _FINE

    def add(self, entry: TrackedLook) -> None:
        """Count one more."""
        self.count += 1
        self.accepted += entry.accepted


class AgeBins:
    """Looks counted by age, so that a group's worth takes few steps however large the group is."""

    __slots__ = ("bins", "size")

    def __init__(self, entries: list[TrackedLook], now: float) -> None:
        by_age: dict[tuple[int, bool, int], _Bin] = {}
        for entry in entries:
            age = now - entry.accepted
            if age < _FINE / _COARSE:
                number = int(max(age, 0.0) / _FINE)
            else:
                number = 5 + int(math.log(age * _COARSE / _FINE) / _COARSE)
            place = id(entry.model), entry.expects_webhook, number
            found = by_age.get(place)
            if found is None:
                found = by_age[place] = _Bin(entry)
            found.add(entry)
        self.bins = [found for _, found in sorted(by_age.items(), key=lambda kv: -kv[0][2])]  # oldest first
        self.size = len(entries)

    def add(self, entry: TrackedLook) -> None:
        """Count one more, the newest."""
        self.size += 1
        if not self.bins or not self.bins[-1].is_like(entry):
            self.bins.append(_Bin(entry))
        self.bins[-1].add(entry)

    def terms(self, told: float, lost: float) -> list[Term]:
        """The terms of all that are counted. ``lost``: the share of deliveries that never comes."""
        return [
            term(
                each.count,
                each.accepted / each.count,
                told,
                each.model,
                lost if each.expects_webhook else 1.0,
            )
            for each in self.bins
        ]
