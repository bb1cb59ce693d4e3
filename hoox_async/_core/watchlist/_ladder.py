"""Which of many has the largest worth, without looking at all of them.

Worth only grows until the next answer. So each unit stands on a rung of a ladder of worths (each
√2 of the one below), and a heap knows when it will reach the next rung; another heap knows when it
reaches the price. One of the highest rung is within √2 of the largest.
"""

from __future__ import annotations

import heapq
import math

from ._worth import Term, reaches, worth

_STEP = math.sqrt(2.0)
_ABOVE_PRICE = 24
_OFF = -1
_GRAIN = 0.02  # seconds


class Unit:
    """Something that one request can ask about. Linked into the rung that it stands on."""

    __slots__ = ("after", "before", "next_at", "price_at", "rung")

    def __init__(self) -> None:
        self.rung = _OFF
        self.next_at = math.inf
        self.price_at = math.inf
        self.before: Unit | None = None
        self.after: Unit | None = None

    def terms(self, now: float) -> list[Term]:
        """What it waits for; empty if there is nothing to ask now."""
        raise NotImplementedError

    def bounds(self, slot: float) -> tuple[float, float, float]:
        """Not asked before the first moment at all, nor before the second while it is worth less than
        the price; from the third on asked even where little is expected."""
        raise NotImplementedError

    def name(self) -> str:
        """What breaks a tie, so that runs repeat."""
        raise NotImplementedError

    def __lt__(self, other: Unit) -> bool:
        return self.name() < other.name()


class Ladder:
    """The units, by what asking about them is worth. Look-seconds."""

    def __init__(self, price: float, idle_price: float, slot: float = 0.6) -> None:
        self._slot = slot
        below = max(0, math.ceil(math.log(price / idle_price, _STEP)))
        self._values = [price * _STEP ** (rung - below) for rung in range(below + _ABOVE_PRICE)]
        self.price_rung = below
        self._first: list[Unit | None] = [None] * len(self._values)
        self._last: list[Unit | None] = [None] * len(self._values)
        self._mask = 0
        self._next: list[tuple[float, Unit]] = []
        self._ripe: list[tuple[float, Unit]] = []
        self._next_limit = self._ripe_limit = 256

    def top(self) -> Unit | None:
        """The one that has stood longest on the highest rung."""
        return self._first[self._mask.bit_length() - 1] if self._mask else None

    def advance(self, now: float, most: int, *, busy: bool) -> bool:
        """Let those climb that reached a rung by now; with ``busy`` only to the price or above it.

        Returns whether more than ``most`` may have, so that some are left as they were.
        """
        heap = self._ripe
        while most > 0 and heap and heap[0][0] <= now:
            at, unit = heapq.heappop(heap)
            if unit.price_at == at:
                unit.price_at = math.inf
                self.place(unit, now)
                most -= 1
        heap = self._next
        while not busy and most > 0 and heap and heap[0][0] <= now:
            at, unit = heapq.heappop(heap)
            if unit.next_at == at:
                unit.next_at = math.inf
                self.place(unit, now)
                most -= 1
        return most <= 0

    def next_change(self) -> float:
        """When some unit reaches its next rung."""
        return self._peek(self._next, "next_at")

    def next_ripe(self) -> float:
        """When some unit reaches the price, or a rung above it."""
        return self._peek(self._ripe, "price_at")

    def place(self, unit: Unit, now: float) -> None:
        """Work out where the unit stands, and when it climbs."""
        terms = unit.terms(now)
        if not terms:
            self.remove(unit)
            return
        hushed, thrifty, curious = unit.bounds(self._slot)
        value, _ = worth(terms, now)
        rung = self._rung(value)
        if rung >= self.price_rung and now >= hushed:
            self._stand(unit, rung)
            self._schedule(unit, now, math.inf, self._reaches(terms, rung + 1, now))
            return
        price_at = max(self._reaches(terms, self.price_rung, now), hushed)
        if now < hushed or now < thrifty:
            rung, next_at = _OFF, max(hushed, min(thrifty, price_at))
        else:
            rung = max(rung, 0) if now >= curious else rung
            next_at = self._reaches(terms, rung + 1, now)
            if rung == _OFF:
                next_at = min(next_at, curious)
        self._stand(unit, rung)
        self._schedule(unit, now, next_at, price_at)

    def remove(self, unit: Unit) -> None:
        """Take the unit off. It comes back with `place`."""
        self._stand(unit, _OFF)
        unit.next_at = unit.price_at = math.inf

    def _reaches(self, terms: list[Term], rung: int, now: float) -> float:
        return reaches(terms, self._values[rung], now) if rung < len(self._values) else math.inf

    def _rung(self, value: float) -> int:
        if value < self._values[0]:
            return _OFF
        return min(int(math.log(value / self._values[0], _STEP) + 1e-9), len(self._values) - 1)

    def _schedule(self, unit: Unit, now: float, next_at: float, price_at: float) -> None:
        next_at, price_at = max(next_at, now + _GRAIN), max(price_at, now + _GRAIN)
        if next_at != unit.next_at:
            unit.next_at = next_at
            self._next_limit = _push(self._next, next_at, unit, "next_at", self._next_limit)
        if price_at != unit.price_at:
            unit.price_at = price_at
            self._ripe_limit = _push(self._ripe, price_at, unit, "price_at", self._ripe_limit)

    @staticmethod
    def _peek(heap: list[tuple[float, Unit]], field: str) -> float:
        while heap and getattr(heap[0][1], field) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf

    def _stand(self, unit: Unit, rung: int) -> None:
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

    def _unlink(self, unit: Unit) -> None:
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


def _push(heap: list[tuple[float, Unit]], at: float, unit: Unit, field: str, limit: int) -> int:
    """Add to a heap; clear out what is no longer true once it is full. Returns when it is full next."""
    if at == math.inf:
        return limit
    heapq.heappush(heap, (at, unit))
    if len(heap) < limit:
        return limit
    heap[:] = [entry for entry in heap if getattr(entry[1], field) == entry[0]]
    heapq.heapify(heap)
    return 2 * len(heap) + 256
