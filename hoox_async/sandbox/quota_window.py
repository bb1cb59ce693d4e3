"""Counts the requests of the fake workspace against its quota."""

from __future__ import annotations

from collections import deque
from typing import Literal, get_args

from .._checks import option

QuotaKind = Literal["sliding", "fixed"]


class QuotaWindow:
    """At most ``limit`` requests in ``seconds``; None is no limit.

    "sliding": never more than the limit in any period of that length. "fixed": a window starts with the
    first request after the end of the window before, so that twice the limit can pass around its end.
    A request that is throttled does not count, unless ``throttled_counts``. Raises `ConfigurationError` for
    an option that is not usable.
    """

    def __init__(
        self,
        limit: int | None,
        *,
        seconds: float = 60.0,
        kind: QuotaKind = "sliding",
        throttled_counts: bool = False,
    ) -> None:
        if limit is not None:
            option.whole("requests_per_minute", limit, least=1)
        option.choice("quota", kind, get_args(QuotaKind))
        option.number("quota_window", seconds, above=True)
        self.limit = limit
        self.seconds = seconds
        self.kind = kind
        self._throttled_counts = throttled_counts
        self._counted: deque[float] = deque()

    def take(self, now: float) -> bool:
        """Count one request. False if the quota is spent: the request is throttled."""
        if self.limit is None:
            return True
        self._forget(now)
        is_free = len(self._counted) < self.limit
        if is_free or self._throttled_counts:
            self._counted.append(now)
        return is_free

    def remaining(self, now: float) -> int:
        """How many requests are left now."""
        if self.limit is None:
            return 1 << 30
        self._forget(now)
        return max(0, self.limit - len(self._counted))

    def resets_at(self, now: float) -> float:
        """The time at which the oldest counted request stops counting, or at which the fixed window ends."""
        self._forget(now)
        return self._counted[0] + self.seconds if self._counted else now

    def _forget(self, now: float) -> None:
        counted = self._counted
        oldest_allowed = now - self.seconds
        if self.kind == "fixed":
            if counted and counted[0] <= oldest_allowed:
                counted.clear()
            return
        while counted and counted[0] <= oldest_allowed:
            counted.popleft()
