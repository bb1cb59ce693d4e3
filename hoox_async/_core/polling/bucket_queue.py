"""Which of many has the largest worth, without looking at all of them.

Worth only grows until the next answer. So each unit stands on a rung of a ladder of worths (each
twice the one below), and an agenda knows when it will reach the next rung. One of the highest rung is
within a factor of two of the largest, but for those that are due to climb and have not come to it yet.
"""

from __future__ import annotations

import math
from bisect import bisect_right

from .indexed_heap import NOWHERE, IndexedHeap
from .request_value import Term, reaches, worth

_STEP = 2.0
_ABOVE_PRICE = 12
_OFF = -1
_GRAIN = 0.02  # seconds
_LIKELY = 0.25  # looks that an answer must be expected to show done, where a webhook may still tell of them


class QueueItem:
    """Something that one request can ask about. Linked into the rung that it stands on."""

    __slots__ = ("after", "before", "climbs_at", "place", "rung")

    def __init__(self) -> None:
        self.rung = _OFF
        self.climbs_at = math.inf
        self.place = NOWHERE
        self.before: QueueItem | None = None
        self.after: QueueItem | None = None

    def terms(self, now: float) -> list[Term]:
        """What it waits for; empty if there is nothing to ask now."""
        raise NotImplementedError

    def bounds(self, permit: float) -> tuple[float, float, float]:
        """Not asked before the first moment at all, nor before the second while it is worth less than
        the price; from the third on asked even where little is expected."""
        raise NotImplementedError


class BucketQueue:
    """The units, by what asking about them is worth. Look-seconds."""

    def __init__(self, price: float, idle_price: float, permit: float = 0.6) -> None:
        self._permit = permit
        below = max(0, math.ceil(math.log(price / idle_price, _STEP)))
        self._values = [price * _STEP ** (rung - below) for rung in range(below + _ABOVE_PRICE)]
        self._price_rung = below
        self._first: list[QueueItem | None] = [None] * len(self._values)
        self._last: list[QueueItem | None] = [None] * len(self._values)
        self._mask = 0
        self._climbing: IndexedHeap[QueueItem] = IndexedHeap("climbs_at", "place")

    def top(self) -> QueueItem | None:
        """The one that has stood longest on the highest rung."""
        return self._first[self._mask.bit_length() - 1] if self._mask else None

    def advance(self, now: float, most: int) -> None:
        """Let those climb that reached a rung by now: ``most`` of them, the longest due first."""
        for _ in range(most):
            unit = self._climbing.first
            if unit is None or unit.climbs_at > now:
                return
            self.place(unit, now)

    def next_change(self) -> float:
        """When some unit reaches its next rung."""
        return self._climbing.next_at

    def place(self, unit: QueueItem, now: float) -> None:
        """Work out where the unit stands, and when it climbs."""
        terms = unit.terms(now)
        if not terms:
            self.remove(unit)
            return
        hushed, thrifty, curious = unit.bounds(self._permit)
        value, looks = worth(terms, now)
        rung = self._rung(value)
        unlikely = looks < _LIKELY and now < curious and all(each.lost < 1.0 for each in terms)
        if unlikely:
            likely = min(reaches(terms, math.inf, now, _LIKELY), curious)
            rung, climbs_at = _OFF, max(hushed, thrifty, likely)
        elif now < hushed or (now < thrifty and rung < self._price_rung):
            rung, climbs_at = _OFF, max(hushed, min(thrifty, self._reaches(terms, self._price_rung, now)))
        else:
            rung = max(rung, 0) if now >= curious else rung
            climbs_at = self._reaches(terms, rung + 1, now)
            if rung == _OFF:
                climbs_at = min(climbs_at, curious)
        self._stand(unit, rung)
        self._climbing.set(unit, max(climbs_at, now + _GRAIN))

    def remove(self, unit: QueueItem) -> None:
        """Take the unit off. It comes back with `place`."""
        self._stand(unit, _OFF)
        self._climbing.call_off(unit)

    def _reaches(self, terms: list[Term], rung: int, now: float) -> float:
        return reaches(terms, self._values[rung], now) if rung < len(self._values) else math.inf

    def _rung(self, value: float) -> int:
        return bisect_right(self._values, value * (1.0 + 1e-9)) - 1  # -1 is _OFF

    def _stand(self, unit: QueueItem, rung: int) -> None:
        if unit.rung == rung:
            return
        if unit.rung != _OFF:
            self._unlink(unit)
        unit.rung = rung
        if rung != _OFF:
            last = self._last[rung]
            unit.before, unit.after = last, None
            if last is None:
                self._first[rung] = unit
                self._mask |= 1 << rung
            else:
                last.after = unit
            self._last[rung] = unit

    def _unlink(self, unit: QueueItem) -> None:
        before, after, rung = unit.before, unit.after, unit.rung
        if before is None:
            self._first[rung] = after
        else:
            before.after = after
        if after is None:
            self._last[rung] = before
        else:
            after.before = before
        if self._first[rung] is None:
            self._mask &= ~(1 << rung)
        unit.before = unit.after = None
