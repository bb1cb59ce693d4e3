"""What other clients use of the quota where the server sends no quota headers: inferred from 429s."""

from __future__ import annotations

import math

import attrs

from .external_usage import MINUTE

_ROOM = 2  # requests a minute that are left free besides
_DOUBT = 2 * MINUTE  # a second 429 within this time confirms a first one that was implausible
_KEPT = 5 * MINUTE  # after this time without an answer nothing is known any more


@attrs.define
class InferredUsage:
    """How many requests of a minute to leave to others, so that the server throttles none of ours.

    After a 429 these are all that the server allows but those of ours that it had counted. From then on
    they become fewer every minute, by 1, 2, 4 and so on: our rate stays near what the server has accepted for
    a while, and then grows quickly if the others have gone. A server whose limit is lower than the configured
    one looks the same. All times are of one clock.

    ``reserve``: how many to leave, until ``none_after`` unless it is lowered before. ``lower_at``: when it is
    lowered next, by ``lower_by``. ``doubted_at``: when a 429 came from which nothing was inferred.
    """

    reserve: int = 0
    none_after: float = -math.inf
    lower_at: float = math.inf
    lower_by: int = 1
    doubted_at: float = -math.inf

    def used(self, now: float) -> int:
        """How many requests of a minute to leave to others."""
        return self.reserve if now < self.none_after else 0

    def throttled(self, now: float, limit: int, ours: int) -> None:
        """A request was throttled. ``limit`` is the server's, and it had counted at most so many of ours.

        A 429 at less than half of our rate may have another reason than the minute's quota, such as a
        limit for shorter times. So it counts only if another one follows, and then it halves the rate.
        """
        share = limit - self.used(now)
        if ours < share / 2 and now - self.doubted_at > _DOUBT:
            self.doubted_at = now
            return
        kept = max(min(ours, share) - _ROOM, share // 2, limit // 20, 1)
        self.reserve = limit - kept
        self.lower_at, self.lower_by, self.none_after = now + MINUTE, 1, now + _KEPT

    def is_due(self, now: float) -> bool:
        """Whether an accepted request lowers the reserve."""
        return self.lower_at <= now < self.none_after

    def accepted(self, now: float) -> None:
        """A request was accepted. Once a minute, leave fewer to others, to find out if they have gone."""
        if self.is_due(now):
            self.reserve -= self.lower_by
            self.lower_at, self.lower_by, self.none_after = now + MINUTE, 2 * self.lower_by, now + _KEPT
            if self.reserve <= 0:
                self.forget()

    def forget(self) -> None:
        """Leave nothing to others."""
        self.reserve, self.none_after, self.lower_at = 0, -math.inf, math.inf
