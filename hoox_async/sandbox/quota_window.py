"""The workspace's quota of requests."""

from __future__ import annotations

from collections import deque
from typing import Literal

QuotaKind = Literal["sliding", "fixed"]


class QuotaWindow:
    """At most ``limit`` requests in ``seconds``; None is no limit.

    "sliding": strict, never more than the limit in any ``seconds``. "fixed": a window opens with the
    first request after the last window's end; twice the limit can pass around a border.
    A request that is refused does not count.
    """

    def __init__(self, limit: int | None, *, seconds: float = 60.0, kind: QuotaKind = "sliding") -> None:
        self.limit = limit
        self.seconds = seconds
        self.kind = kind
        self._taken: deque[float] = deque()

    def take(self, now: float) -> bool:
        """Count one request. False where the quota is spent."""
        if self.limit is None:
            return True
        self._forget(now)
        if len(self._taken) >= self.limit:
            return False
        self._taken.append(now)
        return True

    def remaining(self, now: float) -> int:
        """How many requests are left now."""
        if self.limit is None:
            return 1 << 30
        self._forget(now)
        return max(0, self.limit - len(self._taken))

    def resets_at(self, now: float) -> float:
        """When requests come free again: the oldest counted one's end, or the fixed window's."""
        self._forget(now)
        return self._taken[0] + self.seconds if self._taken else now

    def _forget(self, now: float) -> None:
        taken = self._taken
        edge = now - self.seconds
        if self.kind == "fixed":
            if taken and taken[0] <= edge:
                taken.clear()
            return
        while taken and taken[0] <= edge:
            taken.popleft()
