"""Who is due when, where any of them can be moved or called off at any moment: a heap that knows places.

`heapq` leaves what was called off where it stands. To clear that out takes milliseconds now and then,
in which a web app's loop would stand still; here each change takes O(log n) steps.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

NOWHERE = -1

T = TypeVar("T")


class HeapItem(Generic[T]):
    """A thing with a time, where the thing itself is too small to keep one."""

    __slots__ = ("at", "place", "what")

    def __init__(self, what: T) -> None:
        self.at = math.inf
        self.place = NOWHERE
        self.what = what


class IndexedHeap(Generic[T]):
    """Things with a time, the earliest first.

    Each keeps its time and its place in the attributes of these names, infinity and ``NOWHERE`` while
    it is not on it: with 100,000 things, an object for the two would cost more memory than they do.
    """

    __slots__ = ("_at", "_heap", "_place")

    def __init__(self, at: str, place: str) -> None:
        self._at, self._place = at, place
        self._heap: list[T] = []

    @property
    def next_at(self) -> float:
        """When the first is due; infinity if there is none."""
        at: float = getattr(self._heap[0], self._at) if self._heap else math.inf
        return at

    @property
    def first(self) -> T | None:
        """The one that is due first."""
        return self._heap[0] if self._heap else None

    def set(self, item: T, at: float) -> None:
        """Put it on, or move it. Infinity takes it off."""
        if at == math.inf:
            self.call_off(item)
            return
        later = at > getattr(item, self._at)
        setattr(item, self._at, at)
        if getattr(item, self._place) == NOWHERE:
            self._heap.append(item)
            self._rise(item, len(self._heap) - 1)
        elif later:
            self._sink(item, getattr(item, self._place))
        else:
            self._rise(item, getattr(item, self._place))

    def call_off(self, item: T) -> None:
        """Take it off, if it is on."""
        place = getattr(item, self._place)
        if place == NOWHERE:
            return
        last = self._heap.pop()
        if last is not item:
            self._rise(last, place)
            self._sink(last, getattr(last, self._place))
        setattr(item, self._at, math.inf)
        setattr(item, self._place, NOWHERE)

    def _rise(self, item: T, place: int) -> None:
        heap, name, at = self._heap, self._at, getattr(item, self._at)
        while place:
            above = heap[(place - 1) >> 1]
            if getattr(above, name) <= at:
                break
            self._put(above, place)
            place = (place - 1) >> 1
        self._put(item, place)

    def _sink(self, item: T, place: int) -> None:
        heap, name, at = self._heap, self._at, getattr(item, self._at)
        size = len(heap)
        while (below := 2 * place + 1) < size:
            if below + 1 < size and getattr(heap[below + 1], name) < getattr(heap[below], name):
                below += 1
            if getattr(heap[below], name) >= at:
                break
            self._put(heap[below], place)
            place = below
        self._put(item, place)

    def _put(self, item: T, place: int) -> None:
        self._heap[place] = item
        setattr(item, self._place, place)
