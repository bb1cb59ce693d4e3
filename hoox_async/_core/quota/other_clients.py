"""What other clients of the workspace use of its quota: from the quota headers, else inferred from 429s."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import attrs

from ..._api.models import ServerQuota

MINUTE = 60.0
_MAX_LIMIT = 100_000  # a limit above this is implausible, and is ignored
_RECENT_RESET = 5.0  # a reset up to this many seconds in the past is over; an earlier one is implausible
_WHOLE_MINUTE = MINUTE - 1.5  # a reset that moves and is so far ahead is a minute from now always
_MIN_RESET_CHANGE = 10.0  # resets that are this close to a minute apart are those of two fixed minutes


class ExternalUsage:
    """Estimates what the other clients use. All times are of one clock, in seconds.

    A server may count a sliding minute or fixed ones; which of them shows in how its reset moves.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        """The server's limit in requests a minute; None until it has named one."""
        self.hold_until: float = -math.inf
        """Until when nothing should be sent, because others have used up a fixed minute."""
        self.none_after: float = -math.inf
        """From this time on, `used` and `peak` are 0 unless a later answer is recorded."""
        self._resets_at = -math.inf
        self._reset_ahead = 0.0  # how far ahead that was when it was named
        self._used = 0
        self._recorded_at = -math.inf  # when the answer that says so came
        self._as_of = -math.inf  # when its request was sent
        self._peaks: deque[tuple[float, int]] = deque()  # (time, use), decreasing: a sliding-window maximum
        self._variation = 0.0  # how much their use changes from answer to answer, as a moving average
        self._has_fixed_minutes = True
        self._reset_seen: tuple[float, float] | None = None  # when, and the reset that was named then

    def dump(self) -> dict[str, Any]:
        """Its state as JSON values, for `load`."""
        return {**vars(self), "_peaks": [list(peak) for peak in self._peaks]}

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> ExternalUsage:
        """The estimate whose state was dumped. What a later version has added is ignored."""
        usage = cls()
        for name in vars(usage).keys() & state.keys():
            setattr(usage, name, state[name])
        usage._peaks = deque((float(at), int(used)) for at, used in usage._peaks)
        if usage._reset_seen is not None:
            seen_at, reset_at = usage._reset_seen
            usage._reset_seen = (seen_at, reset_at)
        return usage

    def observe(self, now: float, quota: ServerQuota) -> int | None:
        """Process the limit and the reset of one answer. Returns how many requests the server has counted.

        Implausible values are ignored. Returns None if the answer says nothing about the count.
        """
        if quota.limit is not None and 1 <= quota.limit <= _MAX_LIMIT:
            self.limit = quota.limit
        self._observe_reset(now, quota.resets_in)
        if self.limit is None or quota.remaining is None or not 0 <= quota.remaining <= self.limit:
            return None
        return self.limit - quota.remaining

    def record(self, now: float, as_of: float, used: int, *, exhausted: bool) -> None:
        """Others have used this many requests, by the answer to a request that was sent at ``as_of``.

        ``exhausted``: nothing is left of the quota.
        """
        if as_of < self._as_of:
            return
        self._remember(now, as_of, used)
        if exhausted and used and self._has_fixed_minutes and now < self._resets_at:
            self.hold_until = self._resets_at + 0.5  # resets are whole seconds
        elif not exhausted:
            self.hold_until = -math.inf

    def _remember(self, now: float, as_of: float, used: int) -> None:
        if now - self._recorded_at < MINUTE:
            self._variation += 0.05 * (abs(used - self._used) - self._variation)
        self._used, self._recorded_at, self._as_of = used, now, as_of
        if used:
            self.none_after = now + MINUTE
        while self._peaks and self._peaks[-1][1] <= used:
            self._peaks.pop()
        self._peaks.append((now, used))

    def _observe_reset(self, now: float, resets_in: float | None) -> None:
        if resets_in is None or not math.isfinite(resets_in):
            return
        if resets_in < -_RECENT_RESET:
            self._resets_at = -math.inf
            return
        self._reset_ahead = min(max(resets_in, 0.0), MINUTE)
        self._resets_at = now + self._reset_ahead
        if self._reset_seen is None:
            self._reset_seen = (now, self._resets_at)
        elif now - self._reset_seen[0] >= 5.0:
            moved = self._resets_at - self._reset_seen[1]
            self._reset_seen = (now, self._resets_at)
            if moved < MINUTE - _MIN_RESET_CHANGE:  # more is one fixed minute giving way to the next
                self._has_fixed_minutes = moved <= 2.0

    def widen_reserve(self) -> None:
        """The server throttled a request although the estimate allowed it: keep more free for a while."""
        self._variation += 1.0

    def is_known(self, now: float) -> bool:
        """Whether an answer of the last minute has said how many requests the server had counted."""
        return now - self._recorded_at < MINUTE

    def used(self, now: float) -> int:
        """Their requests in the server's count, by the latest answer of the last minute."""
        return self._used if self.is_known(now) else 0

    def peak(self, now: float) -> int:
        """Their requests to expect in a whole minute: a fixed minute shows its full count only at its end."""
        while self._peaks and now - self._peaks[0][0] >= MINUTE:
            self._peaks.popleft()
        return self._peaks[0][1] if self._has_fixed_minutes and self._peaks else self.used(now)

    def reserve(self, used: int) -> int:
        """How many requests of a minute to leave to them when they use ``used``: those and some room."""
        return used + 2 + math.ceil(1.5 * self._variation) if used else 0

    def reset_within(self, now: float) -> float | None:
        """Seconds until the reset that the server named last; None if that is over, or says nothing.

        It says nothing if it moves on and is always a minute ahead, however much of the quota is left.
        """
        if self._reset_ahead >= _WHOLE_MINUTE and not self._has_fixed_minutes:
            return None
        return self._resets_at - now if self._resets_at >= now else None


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
