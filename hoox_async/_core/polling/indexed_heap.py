"""A heap of things with a time, the earliest first, in which each can be moved or removed at any moment.

`heapq` cannot remove from the middle: the usual way marks an entry as removed and leaves it there. Clearing
such entries out takes milliseconds now and then, which would block the loop of a web app. Here each
item knows its index in the heap, so every change takes O(log n) steps.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

NOT_IN_HEAP = -1

T = TypeVar("T")


class HeapItem(Generic[T]):
    """A thing with a time, for things that have no attributes for their time and index themselves."""

    __slots__ = ("at", "heap_index", "item")

    def __init__(self, item: T) -> None:
        self.at = math.inf
        self.heap_index = NOT_IN_HEAP
        self.item = item


class IndexedHeap(Generic[T]):
    """Things with a time, the earliest first.

    ``time_attribute`` and ``index_attribute`` name the attributes in which each item keeps its time and its
    index; they are infinity and ``NOT_IN_HEAP`` while it is not in the heap. They are the item's own because
    with 100,000 items an object for the two would cost more memory than they do.
    """

    __slots__ = ("_heap", "_index_attribute", "_time_attribute")

    def __init__(self, time_attribute: str, index_attribute: str) -> None:
        self._time_attribute, self._index_attribute = time_attribute, index_attribute
        self._heap: list[T] = []

    @property
    def next_at(self) -> float:
        """When the first item is due; infinity if the heap is empty."""
        at: float = getattr(self._heap[0], self._time_attribute) if self._heap else math.inf
        return at

    @property
    def first(self) -> T | None:
        """The item that is due first."""
        return self._heap[0] if self._heap else None

    def set(self, item: T, at: float) -> None:
        """Add the item, or move it to another time. A time of infinity removes it."""
        if at == math.inf:
            self.remove(item)
            return
        is_later = at > getattr(item, self._time_attribute)
        setattr(item, self._time_attribute, at)
        if getattr(item, self._index_attribute) == NOT_IN_HEAP:
            self._heap.append(item)
            self._sift_up(item, len(self._heap) - 1)
        elif is_later:
            self._sift_down(item, getattr(item, self._index_attribute))
        else:
            self._sift_up(item, getattr(item, self._index_attribute))

    def remove(self, item: T) -> None:
        """Remove the item. Does nothing if it is not in the heap."""
        index = getattr(item, self._index_attribute)
        if index == NOT_IN_HEAP:
            return
        last = self._heap.pop()
        if last is not item:
            self._sift_up(last, index)
            self._sift_down(last, getattr(last, self._index_attribute))
        setattr(item, self._time_attribute, math.inf)
        setattr(item, self._index_attribute, NOT_IN_HEAP)

    def _sift_up(self, item: T, index: int) -> None:
        heap, name, at = self._heap, self._time_attribute, getattr(item, self._time_attribute)
        while index:
            parent = heap[(index - 1) >> 1]
            if getattr(parent, name) <= at:
                break
            self._put(parent, index)
            index = (index - 1) >> 1
        self._put(item, index)

    def _sift_down(self, item: T, index: int) -> None:
        heap, name, at = self._heap, self._time_attribute, getattr(item, self._time_attribute)
        size = len(heap)
        while (child := 2 * index + 1) < size:
            if child + 1 < size and getattr(heap[child + 1], name) < getattr(heap[child], name):
                child += 1
            if getattr(heap[child], name) >= at:
                break
            self._put(heap[child], index)
            index = child
        self._put(item, index)

    def _put(self, item: T, index: int) -> None:
        self._heap[index] = item
        setattr(item, self._index_attribute, index)
