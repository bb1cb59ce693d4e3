"""How far a run reads ahead and sends ahead, and the outcomes that its reader has not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque

from .._core.intents.outcomes import Outcome

UNSENT = 20_000
ALWAYS_UNSENT = 1_000
UNDELIVERED = 1_000


class PrefetchWindow:
    """Bounds what a run holds: items that are read and not sent yet, and looks that nobody has taken yet.

    Items that are not sent yet cost memory alone, about 1 KB each (``benchmarks/lookahead.py``): as many are
    read ahead as it takes to send many looks of one avatar in a row, ``UNSENT`` at most. What is in flight or
    has an outcome that the reader has not taken may have been paid: ``UNDELIVERED`` at most, or twice
    ``max_in_flight``, so that one who stops reading does not go on paying.
    """

    def __init__(self, max_in_flight: int) -> None:
        self._unsent = 0
        self._undelivered = 0  # those in flight included
        self._most_undelivered = max(UNDELIVERED, 2 * max_in_flight)
        self._changed = asyncio.Event()

    def room(self, *, enough: bool) -> int:
        """How many more items may be read now. ``enough``: more would not help to choose what is sent."""
        unsent = (ALWAYS_UNSENT if enough else UNSENT) - self._unsent
        return min(unsent, self._most_undelivered - self._undelivered)

    def may_send(self) -> bool:
        """Whether one more item may be sent."""
        return self._undelivered < self._most_undelivered

    def read(self, count: int) -> None:
        """So many items were read."""
        self._unsent += count

    def take_off(self) -> None:
        """One of the items that were read is in flight."""
        self._unsent -= 1
        self._undelivered += 1
        self._changed.set()

    def land(self) -> None:
        """One that was in flight has come to its end, and is about to be told."""
        self._unsent += 1
        self._undelivered -= 1

    def tell(self) -> None:
        """One of the items that were read has its outcome."""
        self._unsent -= 1
        self._undelivered += 1
        self._changed.set()

    def deliver(self) -> None:
        """The reader took an outcome."""
        self._undelivered -= 1
        self._changed.set()

    def wake(self) -> None:
        """Whoever waits looks again at what it waits for."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait until there may be room."""
        self._changed.clear()
        await self._changed.wait()


class ResultQueue:
    """The outcomes that nobody has taken yet, each with its place in the input."""

    def __init__(self) -> None:
        self._outcomes: deque[tuple[int, Outcome]] = deque()
        self._told = asyncio.Event()

    def put(self, index: int, outcome: Outcome) -> None:
        """Add one."""
        self._outcomes.append((index, outcome))
        self._told.set()

    def wake(self) -> None:
        """Let the reader look again whether more will come."""
        self._told.set()

    def take(self) -> tuple[int, Outcome] | None:
        """The next one, if there is one."""
        return self._outcomes.popleft() if self._outcomes else None

    async def changed(self) -> None:
        """Wait until there may be one."""
        self._told.clear()
        await self._told.wait()
