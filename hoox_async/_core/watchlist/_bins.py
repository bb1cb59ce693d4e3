"""The looks of a large group, counted by age instead of one by one."""

from __future__ import annotations

import math

from ..durations import Durations
from ._entries import Entry
from ._worth import Term, term

_FINE, _COARSE = 3.0, 0.2  # width of an age bin: seconds while young, share of the age later


class Bins:
    """Looks counted by age, so that a group's worth takes few steps however large the group is."""

    __slots__ = ("bins", "size")

    def __init__(self, entries: list[Entry], now: float) -> None:
        by_age: dict[tuple[int, int], list[float]] = {}
        models: dict[int, Durations] = {}
        for entry in entries:
            age = now - entry.accepted
            if age < _FINE / _COARSE:
                bin_ = int(max(age, 0.0) / _FINE)
            else:
                bin_ = 5 + int(math.log(age * _COARSE / _FINE) / _COARSE)
            model = entry.model
            models[id(model)] = model
            counted = by_age.setdefault((id(model), bin_), [0.0, 0.0])
            counted[0] += 1
            counted[1] += entry.accepted
        # [count, sum of accepted, model], oldest first
        self.bins: list[tuple[list[float], Durations]] = [
            (counted, models[key]) for (key, _), counted in sorted(by_age.items(), key=lambda kv: -kv[0][1])
        ]
        self.size = len(entries)

    def add(self, entry: Entry) -> None:
        """Count one more, the newest."""
        self.size += 1
        if self.bins:
            counted, model = self.bins[-1]
            if model is entry.model and abs(entry.accepted - counted[1] / counted[0]) <= 0.6 * _FINE:
                counted[0] += 1
                counted[1] += entry.accepted
                return
        self.bins.append(([1.0, entry.accepted], entry.model))

    def terms(self, told: float) -> list[Term]:
        """The terms of all that are counted."""
        return [term(int(n), total / n, told, model) for (n, total), model in self.bins]
