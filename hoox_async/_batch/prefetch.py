"""How far a run reads ahead and sends ahead of its reader, and the outcomes that wait for that reader."""

from __future__ import annotations

import asyncio
from collections import deque

from .._core.intents.outcomes import Outcome

MAX_UNSENT = 20_000
"""Items that are read and not sent yet, at most."""
ENOUGH_UNSENT = 1_000
"""The same, where more of them would not help to choose which one is sent next."""
MAX_UNDELIVERED = 1_000
"""Looks in flight and outcomes that were not taken, at most (or twice ``max_in_flight``)."""


class PrefetchWindow:
    """Bounds what a run holds in memory and what it pays for before its outcomes are taken.

    Items that are not sent yet cost memory alone, about 1 KB each (``benchmarks/prefetch.py``): as many are
    read ahead as it takes to send many looks of one avatar in a row. What is in flight, or has an outcome
    that the reader has not taken, may have been paid: this has a separate limit, so that nothing more is paid
    when the reader stops reading.
    """

    def __init__(self, max_in_flight: int) -> None:
        self._unsent = 0
        self._undelivered = 0  # those in flight included
        self._max_undelivered = max(MAX_UNDELIVERED, 2 * max_in_flight)
        self._changed = asyncio.Event()

    def room(self, *, enough: bool) -> int:
        """How many more items may be read now. ``enough``: more would not help to choose what is sent."""
        unsent = (ENOUGH_UNSENT if enough else MAX_UNSENT) - self._unsent
        return min(unsent, self._max_undelivered - self._undelivered)

    def may_start(self) -> bool:
        """Whether one more item may be put in flight."""
        return self._undelivered < self._max_undelivered

    def read(self, count: int) -> None:
        """Count items that were read."""
        self._unsent += count

    def start(self) -> None:
        """Count one of the items that were read as in flight."""
        self._unsent -= 1
        self._undelivered += 1
        self._changed.set()

    def finish(self) -> None:
        """Take one out of flight; its outcome is counted next, with `settle`."""
        self._unsent += 1
        self._undelivered -= 1

    def settle(self) -> None:
        """Count the outcome of an item that was read and is not in flight."""
        self._unsent -= 1
        self._undelivered += 1
        self._changed.set()

    def deliver(self) -> None:
        """Count an outcome that the reader took."""
        self._undelivered -= 1
        self._changed.set()

    def wake(self) -> None:
        """Wake the waiters in `changed`."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait until there may be room."""
        self._changed.clear()
        await self._changed.wait()


class ResultQueue:
    """The outcomes that were not taken yet, each with its index in the input."""

    def __init__(self) -> None:
        self._outcomes: deque[tuple[int, Outcome]] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, index: int, outcome: Outcome) -> None:
        """Add an outcome."""
        self._outcomes.append((index, outcome))
        self._changed.set()

    def close(self) -> None:
        """No more outcomes will come."""
        self._closed = True
        self._changed.set()

    async def get(self) -> tuple[int, Outcome] | None:
        """Take the next outcome, in the order in which they were put; None when the closed queue is empty."""
        while not self._outcomes:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._outcomes.popleft()
