"""The accounting of the workspace's quota: never more than the limit in any 60 s, spread evenly.

Two questions are kept apart. How many slots are taken: a strict log of our own requests, here. How many
of the quota are not ours to take: `others`. Times are the loop's, in seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable

from .models import QuotaSnapshot, ServerQuota
from .others import MINUTE, Others

MARGIN = 0.05
"""A request counts this much longer than a minute: two of them need not take equally long to arrive."""
WIDEST_MARGIN = 1.5
EDGE = 0.25
LONGEST_PAUSE = 3600.0


class Window:
    """Who has sent what in the last minute, and from when the next request may go.

    A slot is taken, and then stamped (a paid request's headers go out: it counts for a minute from then
    on), or read and ended (a read counts until a minute after its end), or given back (it counts nothing).
    """

    def __init__(self, limit: int, *, burst: int = 10) -> None:
        self.limit: int = limit
        """Requests a minute: what was configured, or the server's limit where that is smaller."""
        self._configured = limit
        self._burst = burst
        self.others: Others = Others()
        # slot: its step of the pace, start of its read
        self._open: dict[int, tuple[float, float | None]] = {}
        self._leaves: deque[float] = deque()  # when the slots that count on will leave the window, sorted
        self._starts: deque[float] = deque()  # when requests went out, sorted, for the server's count
        self._next_id = 0
        self._even = -math.inf  # when the next slot would be due if there were no bursts
        self._taken_at = -math.inf
        self.paused_until: float = -math.inf
        """Until when nothing is sent because the server refused a request."""
        self._refusals = 0
        self._span = MINUTE + MARGIN
        self._known_at = math.nan  # for when the next two hold
        self._cap = limit  # how many of a minute's requests are ours
        self._gap = self._span / limit  # seconds between two of them, evenly

    def earliest(self, now: float) -> float:
        """From when a slot is free; ``now`` or later. ``inf`` while only requests in the air can free one."""
        self._go_on(now)
        at = max(now, self.paused_until, self.others.hold_until)
        paced_from = self._even - (self._burst - 1) * self._gap  # a burst ahead of the even stream
        if paced_from > at:  # but one step after the last, where the limit has grown
            at = max(at, min(paced_from, self._taken_at + self._step(now)))
        short = len(self._open) + len(self._leaves) + 1 - self._cap
        if short <= 0:
            return at
        return max(at, self._leaves[short - 1]) if short <= len(self._leaves) else math.inf

    def expect(self, now: float, ahead: int) -> float:
        """About when a slot is free for one who lets ``ahead`` others go first. Always finite."""
        first = self.earliest(now)
        if math.isinf(first):
            first = now + self._span
        steps = ahead - self._burst + 1
        paced = max(first, max(self._even, now) + steps * self._gap)
        short = len(self._open) + len(self._leaves) + 1 + ahead - self._cap
        if short <= 0 or not self._leaves:
            return paced
        return max(paced, self._leaves[min(short, len(self._leaves)) - 1])

    def pace(self, now: float) -> float:
        """Seconds between two of our requests, evenly, as far as is known of what others leave us."""
        self._go_on(now)
        return self._gap

    def take(self, now: float) -> int:
        """Take a slot; its number. Only when `earliest` said ``now``."""
        self._go_on(now)
        self._next_id += 1
        step = self._step(now)
        self._even = max(self._even, now) + step
        self._taken_at = now
        self._open[self._next_id] = (step, None)
        return self._next_id

    def stamp(self, slot: int, now: float) -> None:
        """The headers of a paid request go out now."""
        del self._open[slot]
        self._starts.append(now)
        self._leaves.append(now + self._span)

    def read(self, slot: int, now: float) -> None:
        """A read goes out now. It counts until it is ended, and a minute on."""
        self._open[slot] = (self._open[slot][0], now)
        self._starts.append(now)

    def end(self, slot: int, now: float) -> None:
        """A read was answered, or failed."""
        del self._open[slot]
        self._leaves.append(now + self._span)

    def give_back(self, slot: int) -> None:
        """The slot was not used."""
        step, start = self._open.pop(slot)
        self._even -= step
        if start is not None and start in self._starts:
            self._starts.remove(start)

    def observe(self, now: float, quota: ServerQuota, sent_at: float | None = None) -> None:
        """Take in the quota headers of an answer, whose request went out at ``sent_at``.

        Without that, the answer is taken for that of the longest read in the air, or of the last request.
        """
        if sent_at is None:
            self._go_on(now)
            reads = [start for _, start in self._open.values() if start is not None]
            sent_at = min(reads, default=self._starts[-1] if self._starts else now)
        self._known_at = math.nan
        counted = self.others.hear(now, quota)
        self.limit = min(self._configured, self.others.limit or self._configured)
        if counted is not None:
            used = counted - self._ours(sent_at) if counted > self._ours_at_most(sent_at) else 0
            self.others.note(now, sent_at, max(0, used), spent=not quota.remaining)
        if quota.remaining:
            self._refusals = 0

    def pause(self, now: float, seconds: float | None) -> float:
        """A request was refused: nothing goes for so long; returns for how many seconds, from now.

        A time that the server named is kept to. ``None`` (or 0, which names none) leaves it to us.
        """
        if now >= self.paused_until:
            right_after = now - self.paused_until < MINUTE
            self._refusals = self._refusals + 1 if right_after else 1
            self._learn_from_refusal(now)
            self._known_at = math.nan
        if seconds is None or not seconds > 0:
            seconds = self._pause_unnamed(now, seconds)
        self.paused_until = max(self.paused_until, now + min(seconds, LONGEST_PAUSE))
        return self.paused_until - now

    def restore(self, now: float, ages: Iterable[float]) -> None:
        """Requests that an earlier process sent so many seconds ago count as ours."""
        starts = [now - max(age, 0.0) for age in ages if age < self._span]
        self._starts = deque(sorted([*self._starts, *starts]))
        self._leaves = deque(sorted([*self._leaves, *(start + self._span for start in starts)]))

    def snapshot(self, now: float) -> QuotaSnapshot:
        """The quota as it stands: the limit, how many of it are free, and when all of it will be."""
        self._go_on(now)
        used = self.others.used(now)
        total = min(self.limit, max(0, (self.others.limit or self.limit) - used))
        remaining = max(0, total - len(self._open) - len(self._leaves))
        last = max(self._leaves[-1] if self._leaves else now, self.paused_until)
        return QuotaSnapshot(
            self.limit, remaining, max(last, now + self._span) if self._open or used else last
        )

    def _pause_unnamed(self, now: float, seconds: float | None) -> float:
        """Until the server's reset, or a minute without one; longer at each refusal right after a pause."""
        if seconds is None or math.isnan(seconds):
            seconds = self.others.reset_within(now)
        if seconds is None:
            return MINUTE
        return max(seconds, min(MINUTE, 2.0 ** (self._refusals - 1)))

    def _ours(self, at: float) -> int:
        """How many of our requests a server had surely counted when one sent at that time came."""
        return bisect_right(self._starts, at) - bisect_right(self._starts, at - MINUTE)

    def _ours_at_most(self, at: float) -> int:
        """How many of ours it can have counted until it answered that one."""
        return len(self._starts) - bisect_right(self._starts, at - MINUTE - EDGE)

    def _learn_from_refusal(self, now: float) -> None:
        if self.others.used(now):
            self.others.refused()
        else:  # all of it was ours: requests take more or less long to arrive than the margin allows
            self._span = MINUTE + min(2 * (self._span - MINUTE) + 0.1, WIDEST_MARGIN)

    def _go_on(self, now: float) -> None:
        """Bring what depends on the time up to now."""
        if now == self._known_at:
            return
        self._known_at = now
        while self._leaves and self._leaves[0] <= now:
            self._leaves.popleft()
        while self._starts and self._starts[0] <= now - 2 * MINUTE:
            self._starts.popleft()

        if now >= self.others.quiet_from:
            self._cap, self._gap = self.limit, self._span / self.limit
        else:
            self._cap = self._left_to_us(self.others.used(now))
            self._gap = self._span / self._left_to_us(self.others.peak(now))

    def _left_to_us(self, used: int) -> int:
        # never below a twentieth: asking is the only way to learn that the others have stopped
        free = (self.others.limit or self._configured) - self.others.leave(used)
        return max(1, self.limit // 20, min(self.limit, free))

    def _step(self, now: float) -> float:
        """What taking a slot moves the pace: its even share, or more where a burst has left few slots.

        Without that, the requests of a burst would be missing a minute later, all at once.
        """
        free = self._cap - len(self._open) - len(self._leaves)
        if not self._leaves or free <= 0:
            return self._gap
        return max(self._gap, (self._leaves[0] - now) / free)
