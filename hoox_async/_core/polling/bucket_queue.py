"""Finds the request with the largest value among many, without computing the value of all of them.

The value of a request only grows until its next answer. So each item is in a bucket of values (each
bucket begins at twice the value of the one below), and a heap knows when the item will reach the next bucket.
An item of the highest bucket is within a factor of two of the largest value, except for items that are due to
move up and have not been updated yet.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from typing import NamedTuple

from .indexed_heap import NOT_IN_HEAP, IndexedHeap
from .request_value import Term, request_value, time_of_value

_BUCKET_RATIO = 2.0
_BUCKETS_ABOVE_THRESHOLD = 12
_NO_BUCKET = -1
_RESOLUTION = 0.02  # seconds
_LIKELY = 0.25  # looks that an answer must be expected to show done, where a webhook may still report them


class PollTimes(NamedTuple):
    """When an item may be polled.

    Never before ``backoff_until``; before ``min_interval_until`` only if its value reaches the
    threshold; from ``explore_at`` on even if its value is small.
    """

    backoff_until: float
    min_interval_until: float
    explore_at: float


class QueueItem(ABC):
    """Something that one request can ask about. An element of the linked list of its bucket."""

    __slots__ = ("bucket", "heap_index", "moves_up_at", "next_item", "previous_item")

    def __init__(self) -> None:
        self.bucket = _NO_BUCKET
        self.moves_up_at = math.inf
        self.heap_index = NOT_IN_HEAP
        self.previous_item: QueueItem | None = None
        self.next_item: QueueItem | None = None

    @abstractmethod
    def terms(self, now: float) -> list[Term]:
        """The looks that an answer would report; empty if there is nothing to ask now."""

    @abstractmethod
    def poll_times(self, interval: float) -> PollTimes:
        """When it may be polled. ``interval``: seconds between two requests of the whole quota."""


class BucketQueue:
    """Items by the value of a request for them, in look-seconds.

    ``threshold`` is what a request must be worth while submissions wait, ``idle_threshold`` while none do;
    ``interval`` is the time between two requests of the whole quota, in seconds.
    """

    def __init__(self, threshold: float, idle_threshold: float, interval: float = 0.6) -> None:
        self._interval = interval
        below = max(0, math.ceil(math.log(threshold / idle_threshold, _BUCKET_RATIO)))
        buckets = range(below + _BUCKETS_ABOVE_THRESHOLD)
        self._lower_bounds = [threshold * _BUCKET_RATIO ** (bucket - below) for bucket in buckets]
        self._threshold_bucket = below
        self._first: list[QueueItem | None] = [None] * len(self._lower_bounds)
        self._last: list[QueueItem | None] = [None] * len(self._lower_bounds)
        self._not_empty = 0  # a bit for each bucket
        self._moving_up: IndexedHeap[QueueItem] = IndexedHeap("moves_up_at", "heap_index")

    def best(self) -> QueueItem | None:
        """The item that has been longest in the highest bucket."""
        return self._first[self._not_empty.bit_length() - 1] if self._not_empty else None

    def move_up(self, now: float, at_most: int) -> None:
        """Update up to ``at_most`` items that have reached their next bucket, the longest due first."""
        for _ in range(at_most):
            item = self._moving_up.first
            if item is None or item.moves_up_at > now:
                return
            self.update(item, now)

    def next_move(self) -> float:
        """When an item reaches its next bucket."""
        return self._moving_up.next_at

    def update(self, item: QueueItem, now: float) -> None:
        """Work out the item's bucket, and when it reaches the next one. Adds it if it is not in the queue."""
        terms = item.terms(now)
        if not terms:
            self.remove(item)
            return
        backoff_until, min_interval_until, explore_at = item.poll_times(self._interval)
        value, looks = request_value(terms, now)
        bucket = self._bucket_of(value)
        is_unlikely = looks < _LIKELY and now < explore_at and all(each.loss_share < 1.0 for each in terms)
        if is_unlikely:
            likely_at = min(time_of_value(terms, math.inf, now, _LIKELY), explore_at)
            bucket, moves_up_at = _NO_BUCKET, max(backoff_until, min_interval_until, likely_at)
        elif now < backoff_until or (now < min_interval_until and bucket < self._threshold_bucket):
            worth_it_at = min(min_interval_until, self._reaches(terms, self._threshold_bucket, now))
            bucket, moves_up_at = _NO_BUCKET, max(backoff_until, worth_it_at)
        else:
            bucket = max(bucket, 0) if now >= explore_at else bucket
            moves_up_at = self._reaches(terms, bucket + 1, now)
            if bucket == _NO_BUCKET:
                moves_up_at = min(moves_up_at, explore_at)
        self._move(item, bucket)
        self._moving_up.set(item, max(moves_up_at, now + _RESOLUTION))

    def remove(self, item: QueueItem) -> None:
        """Remove the item; `update` adds it again."""
        self._move(item, _NO_BUCKET)
        self._moving_up.remove(item)

    def _reaches(self, terms: list[Term], bucket: int, now: float) -> float:
        if bucket >= len(self._lower_bounds):
            return math.inf
        return time_of_value(terms, self._lower_bounds[bucket], now)

    def _bucket_of(self, value: float) -> int:
        return bisect_right(self._lower_bounds, value * (1.0 + 1e-9)) - 1  # -1 is _NO_BUCKET

    def _move(self, item: QueueItem, bucket: int) -> None:
        if item.bucket == bucket:
            return
        if item.bucket != _NO_BUCKET:
            self._unlink(item)
        item.bucket = bucket
        if bucket != _NO_BUCKET:
            last = self._last[bucket]
            item.previous_item, item.next_item = last, None
            if last is None:
                self._first[bucket] = item
                self._not_empty |= 1 << bucket
            else:
                last.next_item = item
            self._last[bucket] = item

    def _unlink(self, item: QueueItem) -> None:
        previous, following, bucket = item.previous_item, item.next_item, item.bucket
        if previous is None:
            self._first[bucket] = following
        else:
            previous.next_item = following
        if following is None:
            self._last[bucket] = previous
        else:
            following.previous_item = previous
        if self._first[bucket] is None:
            self._not_empty &= ~(1 << bucket)
        item.previous_item = item.next_item = None
