"""What a run has in hand: items pulled ahead, and outcomes that its reader has not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque

from .._core.outcomes import Outcome


class Lookahead:
    """How many items may still be pulled: those in hand are neither in flight nor delivered."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._changed = asyncio.Event()

    @property
    def room(self) -> int:
        """How many more items may be pulled now."""
        return self._most - self._held

    def hold(self, count: int = 1) -> None:
        """So many more are in hand."""
        self._held += count

    def let_go(self) -> None:
        """One took off, or its outcome was taken."""
        self._held -= 1
        self._changed.set()

    def wake(self) -> None:
        """Whoever waits looks again at what it waits for."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait until there may be room."""
        self._changed.clear()
        await self._changed.wait()


class Outbox:
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
