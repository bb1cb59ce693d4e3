"""The accounting of the workspace's quota: never more than the limit in any 60 s, spread evenly.

Two counts are kept apart: the log of our own requests, which is exact and kept here, and what other clients
of the workspace use, which is an estimate (`QuotaLearning`). All times are the loop's, in seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from ..._api.models import ServerQuota
from .other_clients import MINUTE, ExternalUsage
from .quota_learning import MARGIN, QuotaCounts, QuotaLearning, Throttling

_RESTORED_MARGIN = 1.0
"""An earlier process's request counts this much longer: its time was stored before its bytes left."""
_SAME_REQUEST = 0.5  # a restored send time this close to a known one is that of the same request
BURST = 10
"""Permits ahead of an even pace."""
MIN_MEASUREMENTS = 20
"""Answers, until the fastest of them is taken as the minimum network latency."""
MAX_DELAY = 10.0
"""The longest assumed delay from sending a request's headers to their arrival, in seconds."""
_COUNTING_SLACK = 0.25  # the server may count a request this much earlier or later than we do
_PROBE_TIMEOUT = 10.0  # a probe without an answer for this long is followed by another one


class WindowSnapshot(NamedTuple):
    """The limit, how many requests of it are free, and the time at which all of it will be."""

    limit: int
    remaining: int
    resets_at: float


class SlidingWindow:
    """The permits of the last minute, and the time from which the next one is free.

    A permit is taken with `take`. Then one of three things happens to it:

    - `mark_sent`: the headers of a paid request go out. It counts for a minute from then on, and longer if
      its answer is slow. `end` says that the request is over.
    - `start_read`: a read goes out. It counts until a minute after its `end`, because it is unknown when the
      server counted it.
    - `cancel`: nothing was sent, and it does not count.

    After a 429 nothing is sent for the length of the pause. Then one request is sent alone, as a probe;
    others are sent once it was answered with anything but a 429.
    """

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        """Requests a minute: what was configured, or the server's limit if that is smaller."""
        self.learning: QuotaLearning = QuotaLearning()
        self.external: ExternalUsage = self.learning.external
        self.throttling: Throttling = self.learning.throttling
        self._configured = limit
        # Our own requests. A permit is in one of the first two until it ends.
        self._held: dict[int, tuple[float, float | None]] = {}  # its step of the pace, start of its read
        self._outstanding: dict[int, tuple[float, float]] = {}  # paid: when sent, and when it expires
        self._expiries: list[float] = []  # when requests that have ended leave the window, sorted
        self._sent_at: deque[float] = deque()  # when requests went out, sorted: what a server has counted
        self._last_permit = 0
        # Pacing, as in the generic cell rate algorithm: when the next permit is due at an even rate.
        self._even_at = -math.inf
        self._taken_at = -math.inf
        # How long paid requests take to be answered.
        self._fastest = math.inf
        self._measurements = 0
        self._probe: int | None = None
        self._probe_until = -math.inf
        # Computed from the above for one point in time.
        self._span = MINUTE + MARGIN  # for how many seconds a request counts
        self._computed_at = math.nan
        self._share = limit  # how many requests of a minute are ours
        self._interval = self._span / limit  # seconds between two of them, evenly

    # --- when the next permit is free

    def earliest(self, now: float) -> float:
        """From when a permit is free: ``now`` or later.

        Infinite as long as only the end of an outstanding request can free one.
        """
        self._advance(now)
        at = max(now, self.throttling.paused_until, self.external.hold_until)
        if self._probe is not None:
            at = max(at, self._probe_until)
        paced_from = self._even_at - (BURST - 1) * self._interval  # a burst ahead of the even rate
        if paced_from > at:  # but no later than one step after the last, in case the limit has grown
            at = max(at, min(paced_from, self._taken_at + self._step(now)))
        missing = self._counted + 1 - self._share
        if missing <= 0:
            return at
        return max(at, self._expiries[missing - 1]) if missing <= len(self._expiries) else math.inf

    def estimate(self, now: float, in_front: int) -> float:
        """About when a permit is free for a waiter with ``in_front`` others in front of it. Always finite."""
        first = self.earliest(now)
        if math.isinf(first):
            first = now + self._span
        steps = in_front - BURST + 1
        paced = max(first, max(self._even_at, now) + steps * self._interval)
        missing = self._counted + 1 + in_front - self._share
        if missing <= 0 or not self._expiries:
            return paced
        return max(paced, self._expiries[min(missing, len(self._expiries)) - 1])

    def interval(self, now: float) -> float:
        """Seconds between two of our requests at an even rate, given what other clients seem to use."""
        self._advance(now)
        return self._interval

    def snapshot(self, now: float) -> WindowSnapshot:
        """The limit, how many requests of it are free, and when all of it will be."""
        self._advance(now)
        used = self.used_by_others(now)
        total = min(self.limit, max(0, (self.external.limit or self.limit) - used))
        remaining = max(0, total - self._counted)
        last = max(self._expiries[-1] if self._expiries else now, self.throttling.paused_until)
        return WindowSnapshot(
            self.limit, remaining, max(last, now + self._span) if self._held or used else last
        )

    def used_by_others(self, now: float) -> int:
        """How many requests of the last minute other clients seem to have used."""
        return self.learning.used_by_others(now)

    def is_idle(self, now: float) -> bool:
        """Whether no permit is in use and nothing that was sent counts any more."""
        self._advance(now)
        return not (self._held or self._outstanding or self._expiries or self.throttling.paused_until > now)

    @property
    def paused_until(self) -> float:
        """Until when nothing is sent because the server answered 429."""
        return self.throttling.paused_until

    @property
    def throttled_since(self) -> float | None:
        """When the server began to answer nothing but 429; None if it does not."""
        return self.throttling.throttled_since

    @property
    def held(self) -> int:
        """How many permits are taken and not used yet, or belong to a read without an answer."""
        return len(self._held)

    @property
    def _counted(self) -> int:
        return len(self._held) + len(self._expiries)

    def set_limit(self, limit: int) -> None:
        """The configured requests a minute, from now on."""
        if limit != self._configured:
            self.learning.inferred.forget()  # it was inferred from the other limit
        self._configured = limit
        self.limit = min(limit, self.external.limit or limit)
        self._computed_at = math.nan

    # --- the life of a permit

    def take(self, now: float) -> int:
        """Take a permit and return its number. Only when `earliest` has returned ``now``."""
        self._advance(now)
        self._last_permit += 1
        step = self._step(now)
        self._even_at = max(self._even_at, now) + step
        self._taken_at = now
        self._held[self._last_permit] = (step, None)
        if self.throttling.is_probing:
            self._probe, self._probe_until = self._last_permit, now + _PROBE_TIMEOUT
        return self._last_permit

    def mark_sent(self, permit: int, now: float) -> None:
        """The headers of a paid request go out now."""
        del self._held[permit]
        insort(self._sent_at, now)
        expires_at = now + self._span
        insort(self._expiries, expires_at)
        self._outstanding[permit] = (now, expires_at)

    def start_read(self, permit: int, now: float) -> None:
        """A read goes out now. It counts until a minute after its end."""
        self._held[permit] = (self._held[permit][0], now)
        insort(self._sent_at, now)

    def end(self, permit: int, now: float) -> None:
        """The request of this permit was answered, or has failed."""
        if permit in self._held:
            del self._held[permit]
            insort(self._expiries, now + self._span)
        else:
            self._extend_by_delay(*self._outstanding.pop(permit), now)
        self._end_probe(permit)

    def cancel(self, permit: int) -> None:
        """Nothing was sent with this permit: it does not count, also not for the pace."""
        step, read_at = self._held.pop(permit)
        self._even_at -= step
        if read_at is not None and read_at in self._sent_at:
            self._sent_at.remove(read_at)
        self._end_probe(permit)

    def restore(self, now: float, ages: Iterable[float]) -> None:
        """Count requests of an earlier process as ours, by how many seconds ago they were sent.

        They count for the pace too, so that a burst does not come again. Requests that are known here
        already, because the earlier session was of this process, count once.
        """
        self._advance(now)
        counts_for = self._span + _RESTORED_MARGIN
        known = deque(self._sent_at)
        for sent_at in sorted(now - max(age, 0.0) for age in ages if age < counts_for):
            while known and known[0] < sent_at - _SAME_REQUEST:
                known.popleft()
            if known and known[0] <= sent_at + _SAME_REQUEST:
                known.popleft()
                continue
            insort(self._sent_at, sent_at)
            insort(self._expiries, sent_at + counts_for)
            self._even_at = max(self._even_at, sent_at) + self._interval

    # --- the server's answers

    def mark_accepted(self, permit: int, now: float) -> None:
        """The request of this permit, which has not ended yet, was answered with anything but a 429."""
        if self.learning.inferred.is_due(now):
            self._computed_at = math.nan
        if not self.learning.accepted(now, permit):
            return
        self._probe = None
        self._computed_at = math.nan
        self._advance(now)
        self._even_at = max(self._even_at, now + (BURST - 1) * self._interval)  # without a burst

    def observe(self, now: float, quota: ServerQuota, sent_at: float) -> None:
        """Process the quota headers of the answer to a request that was sent at ``sent_at``."""
        self._computed_at = math.nan
        least, most = self._least_counted(sent_at), self._most_counted(sent_at)
        self.learning.observe(quota, sent_at, QuotaCounts(now, least, most, self._last_permit))
        self.limit = min(self._configured, self.external.limit or self._configured)

    def pause(self, now: float, seconds: float | None, permit: int | None = None) -> float:
        """The request of this permit was answered 429. Returns for how many seconds nothing is sent from now.

        ``seconds`` is what the server names; ``None`` (or 0, which names no time) leaves the length to us.
        See `Throttling.extend_pause`.
        """
        self._advance(now)
        ours = max(self._most_counted(now), self._counted)
        counts = QuotaCounts(now, self._least_counted(now), ours, self._last_permit)
        if not self.throttling.is_late(now, permit):
            self._probe = None
        lasts = self.learning.pause(counts, seconds, permit, self._configured)
        self._span = MINUTE + self.learning.margin
        self._computed_at = math.nan
        return lasts

    def is_void(self, permit: int) -> bool:
        """Whether it may not be used any more: a 429 has paused everything since it was taken."""
        return self.throttling.predates_pause(permit)

    def _least_counted(self, at: float) -> int:
        """How many of our requests a server had certainly counted when one that was sent then arrived."""
        return bisect_right(self._sent_at, at) - bisect_right(self._sent_at, at - MINUTE)

    def _most_counted(self, at: float) -> int:
        """How many of our requests it can have counted until it answered that one."""
        return len(self._sent_at) - bisect_right(self._sent_at, at - MINUTE - _COUNTING_SLACK)

    def _extend_by_delay(self, sent_at: float, expires_at: float, now: float) -> None:
        """Let a paid request that was answered now count for as much longer as its answer was slow.

        It may have arrived that late. The fastest answer shows the minimum network latency; until enough
        answers have come for that, a request may have arrived just before it was answered.
        """
        self._measurements += 1
        self._fastest = min(self._fastest, now - sent_at)
        least = self._fastest if self._measurements >= MIN_MEASUREMENTS else 0.0
        delay = min(now - sent_at - least, MAX_DELAY)
        if delay <= 0.0:
            return
        place = bisect_left(self._expiries, expires_at)
        if place < len(self._expiries) and self._expiries[place] == expires_at:
            del self._expiries[place]
        if expires_at + delay > now:
            insort(self._expiries, expires_at + delay)

    def _end_probe(self, permit: int) -> None:
        """If the probe ends without an answer, another one may go."""
        if self._probe == permit:
            self._probe = None

    # --- advancing the time

    def _advance(self, now: float) -> None:
        """Let requests leave the window, and compute our share of the quota for this time."""
        if now == self._computed_at:
            return
        self._computed_at = now
        if self._expiries and self._expiries[0] <= now:
            del self._expiries[: bisect_right(self._expiries, now)]
        while self._sent_at and self._sent_at[0] <= now - 2 * MINUTE:
            self._sent_at.popleft()
        if now >= self.learning.none_after:
            self._share, self._interval = self.limit, self._span / self.limit
        else:
            reserve, reserve_at_peak = self.learning.reserves(now)
            self._share = self._left_by_others(reserve)
            self._interval = self._span / self._left_by_others(reserve_at_peak)

    def _left_by_others(self, reserve: int) -> int:
        # never below a twentieth: only an answer can show that the others have stopped
        free = (self.external.limit or self._configured) - reserve
        return max(1, self.limit // 20, min(self.limit, free))

    def _step(self, now: float) -> float:
        """By how much taking a permit moves the pace: one interval, or more if a burst has left few permits.

        Otherwise the requests of a burst would all be missing at once, a minute later.
        """
        free = self._share - self._counted
        if not self._expiries or free <= 0:
            return self._interval
        return max(self._interval, (self._expiries[0] - now) / free)
