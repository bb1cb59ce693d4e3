"""Which waiting item of a batch is sent next: items of few avatars at a time.

One status request answers for all looks of an avatar, so looks of one avatar should be made together.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")
_RANKS = 1 << 30
_OLDEST_EVERY = 16  # each 16th time the avatar that has waited longest is chosen, so that none starves


def pick_first(_: int) -> int:
    """The first of equals."""
    return 0


class LocalityQueue(Generic[_T]):
    """Waiting items, by avatar: in order within an avatar; items without an avatar go first.

    One avatar after the other is *active*: its items are taken until there are none.

    ``pick`` chooses one of so many equals. Processes that share the work pick any, so that they seldom choose
    the same item at the same time.
    """

    def __init__(self, *, pick: Callable[[int], int] = pick_first) -> None:
        self._pick = pick
        self._first: deque[_T] = deque()
        self._queues: dict[str, list[tuple[int, _T]]] = {}  # lists: an empty deque takes 600 bytes more
        self._active: str | None = None
        self._most: list[tuple[int, int, int, str]] = []  # (-waiting, rank, number of its first, avatar)
        self._oldest: list[tuple[int, str]] = []  # (number of its first, avatar)
        self._number = 0
        self._chosen = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def longest_row(self) -> int:
        """How many of the waiting items can be sent in a row, of one avatar or of none."""
        self._drop_outdated()
        most = -self._most[0][0] if self._most else 0
        active = 0 if self._active is None else len(self._queues[self._active])
        return max(len(self._first), most, active)

    @property
    def grouped(self) -> int:
        """How many of the waiting items wait behind another one of their avatar."""
        return self._size - len(self._first) - len(self._queues)

    def put(self, avatar_id: str | None, item: _T) -> None:
        """Add an item. ``avatar_id`` is None for one that makes a new avatar: edits may wait for that."""
        self._size += 1
        self._number += 1
        if avatar_id is None:
            self._first.append(item)
            return
        queue = self._queues.get(avatar_id)
        if queue is None:
            queue = self._queues[avatar_id] = []
        queue.append((self._number, item))
        if avatar_id != self._active:
            self._offer(avatar_id)
            if len(queue) == 1:
                heapq.heappush(self._oldest, (self._number, avatar_id))

    def pop(self) -> _T | None:
        """Take the item to send next. None if there is none."""
        if self._first:
            self._size -= 1
            return self._pop_first()
        if self._active is None:
            self._active = self._next_avatar()
        if self._active is None:
            return None
        queue = self._queues[self._active]
        _, item = queue.pop(self._pick(len(queue)))
        self._size -= 1
        if not queue:
            del self._queues[self._active]
            self._active = None
        return item

    def _pop_first(self) -> _T:
        place = self._pick(len(self._first))
        item = self._first[place]
        del self._first[place]
        return item

    def drain(self) -> list[_T]:
        """Take all items, in the order in which they were put."""
        items = list(self._first)
        numbered = sorted((entry for queue in self._queues.values() for entry in queue), key=lambda e: e[0])
        items += [item for _, item in numbered]
        self._first.clear()
        self._queues.clear()
        self._active = None
        self._most.clear()
        self._oldest.clear()
        self._size = 0
        return items

    def _next_avatar(self) -> str | None:
        self._chosen += 1
        if self._chosen % _OLDEST_EVERY == 0:
            return self._pop_oldest()
        return self._pop_most()

    def _offer(self, avatar_id: str) -> None:
        queue = self._queues[avatar_id]
        heapq.heappush(self._most, (-len(queue), self._pick(_RANKS), queue[0][0], avatar_id))
        if len(self._most) > 2 * len(self._queues) + 256:  # most of its entries are outdated
            self._most = [
                (-len(waiting), self._pick(_RANKS), waiting[0][0], each)
                for each, waiting in self._queues.items()
                if each != self._active
            ]
            heapq.heapify(self._most)

    def _pop_most(self) -> str | None:
        self._drop_outdated()
        return heapq.heappop(self._most)[3] if self._most else None

    def _drop_outdated(self) -> None:
        """Drop outdated entries from the top of the heap of the avatars with most items."""
        while self._most:
            waiting, _, number, avatar_id = self._most[0]
            queue = self._queues.get(avatar_id)
            if queue and (len(queue), queue[0][0]) == (-waiting, number) and avatar_id != self._active:
                return
            heapq.heappop(self._most)

    def _pop_oldest(self) -> str | None:
        while self._oldest:
            number, avatar_id = heapq.heappop(self._oldest)
            queue = self._queues.get(avatar_id)
            if queue and queue[0][0] == number and avatar_id != self._active:
                return avatar_id
        return None
