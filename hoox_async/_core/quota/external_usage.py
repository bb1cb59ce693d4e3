"""The other clients of the workspace, as far as the server's quota headers tell. Times are in seconds."""

from __future__ import annotations

import math
from collections import deque

from ..._api.models import ServerQuota

MINUTE = 60.0
HUGEST_LIMIT = 100_000
_JUST_NOW = 5.0  # a reset that was so many seconds ago is over; one longer ago makes no sense


class ExternalUsage:
    """What the other clients of the workspace use, as far as the server's headers tell.

    A server may count a sliding minute or fixed ones; which, shows in how its reset moves.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self.hold_until: float = -math.inf
        self.quiet_from: float = -math.inf  # from when on `used` and `peak` are nothing
        self._resets_at = -math.inf
        self._used = 0
        self._seen_at = self._as_of = -math.inf
        self._peaks: deque[tuple[float, int]] = deque()
        self._unrest = 0.0
        self._fixed = True
        self._reset_seen: tuple[float, float] | None = None

    def hear(self, now: float, quota: ServerQuota) -> int | None:
        """Take in what one answer said of limit and reset. Gives how many requests the server has counted.

        What makes no sense is passed over; None where it tells of no count.
        """
        if quota.limit is not None and 1 <= quota.limit <= HUGEST_LIMIT:
            self.limit = quota.limit
        self._observe_reset(now, quota.resets_in)
        if self.limit is None or quota.remaining is None or not 0 <= quota.remaining <= self.limit:
            return None
        return self.limit - quota.remaining

    def note(self, now: float, as_of: float, used: int, *, spent: bool) -> None:
        """So many of the counted requests were theirs, by the answer to a request sent at ``as_of``.

        ``spent``: there is nothing left of the quota.
        """
        if as_of < self._as_of:
            return
        self._remember(now, as_of, used)
        if spent and used and self._fixed and now < self._resets_at:
            self.hold_until = self._resets_at + 0.5  # resets are whole seconds
        elif not spent:
            self.hold_until = -math.inf

    def _remember(self, now: float, as_of: float, used: int) -> None:
        if now - self._seen_at < MINUTE:
            self._unrest += 0.05 * (abs(used - self._used) - self._unrest)
        self._used, self._seen_at, self._as_of = used, now, as_of
        if used:
            self.quiet_from = now + MINUTE
        while self._peaks and self._peaks[-1][1] <= used:
            self._peaks.pop()
        self._peaks.append((now, used))

    def _observe_reset(self, now: float, resets_in: float | None) -> None:
        if resets_in is None or not math.isfinite(resets_in):
            return
        if resets_in < -_JUST_NOW:
            self._resets_at = -math.inf
            return
        self._resets_at = now + min(max(resets_in, 0.0), MINUTE)
        if self._reset_seen is None:
            self._reset_seen = (now, self._resets_at)
        elif now - self._reset_seen[0] >= 5.0:
            moved = self._resets_at - self._reset_seen[1]
            self._reset_seen = (now, self._resets_at)
            if moved < MINUTE - 10.0:  # more is one fixed minute giving way to the next
                self._fixed = moved <= 2.0

    def refused(self) -> None:
        """The server refused a request: keep more distance for a while."""
        self._unrest += 1.0

    def used(self, now: float) -> int:
        """Their requests in the server's count, by the latest answer of the last minute."""
        return self._used if now - self._seen_at < MINUTE else 0

    def peak(self, now: float) -> int:
        """What to expect of them over a whole minute: a fixed minute's count shows that at its end only."""
        while self._peaks and now - self._peaks[0][0] >= MINUTE:
            self._peaks.popleft()
        return self._peaks[0][1] if self._fixed and self._peaks else self.used(now)

    def leave(self, used: int) -> int:
        """What to keep free of a quota of which they use this much: all of that, and room for surprises."""
        return used + 2 + math.ceil(1.5 * self._unrest) if used else 0

    def reset_within(self, now: float) -> float | None:
        """Seconds until the reset that the server named last; None where that is over."""
        return self._resets_at - now if self._resets_at >= now else None
