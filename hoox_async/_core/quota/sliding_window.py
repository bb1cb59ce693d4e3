"""The accounting of the workspace's quota: never more than the limit in any 60 s, spread evenly.

Two questions are kept apart. How many permits are taken: a strict log of our own requests, here. How many
of the quota are not ours to take: `others`. Times are the loop's, in seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable

from ..._api.models import QuotaSnapshot, ServerQuota
from .external_usage import MINUTE, ExternalUsage

MARGIN = 0.05
"""A request counts this much longer than a minute, beside what its own answer's time adds."""
WIDEST_MARGIN = 1.5
RESTORED_MARGIN = 1.0
"""An earlier process's request counts this much longer: its time was written down before its bytes left."""
SAME_SEND = 0.5
MEASURED = 20
LATEST = 10.0
EDGE = 0.25
LONGEST_PAUSE = 3600.0
PROBE_PATIENCE = 10.0
BELIEVED = 5


class SlidingWindow:
    """Who has sent what in the last minute, and from when the next request may go.

    A permit is taken, and then stamped (a paid request's headers go out: it counts for a minute from then
    on, and longer where its answer was slow), or read (a read counts until a minute after its end), and
    ended; or it is given back (it counts nothing).

    After a refusal the flow stops. When the pause is over one request goes alone, as a probe; the others
    go when it was answered with anything but a refusal.
    """

    def __init__(self, limit: int, *, burst: int = 10) -> None:
        self.limit: int = limit
        """Requests a minute: what was configured, or the server's limit where that is smaller."""
        self._configured = limit
        self._burst = burst
        self.others: ExternalUsage = ExternalUsage()
        # permit: its step of the pace, start of its read
        self._open: dict[int, tuple[float, float | None]] = {}
        self._sent: dict[int, tuple[float, float]] = {}  # stamped, not ended: when, and when it leaves
        self._fastest = math.inf  # answer to a paid request
        self._measured = 0  # answers to paid requests
        self._leaves: list[float] = []  # when the permits that count on will leave the window, sorted
        self._starts: deque[float] = deque()  # when requests went out, sorted, for the server's count
        self._next_id = 0
        self._even = -math.inf  # when the next permit would be due if there were no bursts
        self._taken_at = -math.inf
        self.paused_until: float = -math.inf
        """Until when nothing is sent because the server refused a request."""
        self.refused_since: float | None = None
        """When the server began to answer nothing but refusals; None where it does not."""
        self._refusals = 0
        self._probing = False
        self._probe: int | None = None
        self._probe_until = -math.inf
        self._newest_refused = 0  # permits up to this one were taken before the latest pause began
        self._spent_in_a_row = 0
        self._span = MINUTE + MARGIN
        self._known_at = math.nan  # for when the next two hold
        self._cap = limit  # how many of a minute's requests are ours
        self._gap = self._span / limit  # seconds between two of them, evenly

    def earliest(self, now: float) -> float:
        """From when a permit is free; ``now`` or later. ``inf`` while only requests outstanding can free
        one."""
        self._go_on(now)
        at = max(now, self.paused_until, self.others.hold_until)
        if self._probe is not None:
            at = max(at, self._probe_until)
        paced_from = self._even - (self._burst - 1) * self._gap  # a burst ahead of the even stream
        if paced_from > at:  # but one step after the last, where the limit has grown
            at = max(at, min(paced_from, self._taken_at + self._step(now)))
        short = len(self._open) + len(self._leaves) + 1 - self._cap
        if short <= 0:
            return at
        return max(at, self._leaves[short - 1]) if short <= len(self._leaves) else math.inf

    def idle(self, now: float) -> bool:
        """Whether nothing that was sent counts any more."""
        self._go_on(now)
        return not (self._open or self._sent or self._leaves or self.paused_until > now)

    def set_limit(self, limit: int) -> None:
        """Requests a minute, as configured from now on."""
        self._configured = limit
        self.limit = min(limit, self.others.limit or limit)
        self._known_at = math.nan

    def expect(self, now: float, ahead: int) -> float:
        """About when a permit is free for one who lets ``ahead`` others go first. Always finite."""
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
        """Take a permit; its number. Only when `earliest` said ``now``."""
        self._go_on(now)
        self._next_id += 1
        step = self._step(now)
        self._even = max(self._even, now) + step
        self._taken_at = now
        self._open[self._next_id] = (step, None)
        if self._probing:
            self._probe, self._probe_until = self._next_id, now + PROBE_PATIENCE
        return self._next_id

    def mark_sent(self, permit: int, now: float) -> None:
        """The headers of a paid request go out now."""
        del self._open[permit]
        insort(self._starts, now)
        leaves = now + self._span
        insort(self._leaves, leaves)
        self._sent[permit] = (now, leaves)

    def read(self, permit: int, now: float) -> None:
        """A read goes out now. It counts until it is ended, and a minute on."""
        self._open[permit] = (self._open[permit][0], now)
        insort(self._starts, now)

    def end(self, permit: int, now: float) -> None:
        """A request was answered, or failed."""
        if permit in self._open:
            del self._open[permit]
            insort(self._leaves, now + self._span)
        else:
            self._correct(*self._sent.pop(permit), now)
        self._end_probe(permit)

    def cancel(self, permit: int) -> None:
        """The permit was not used."""
        step, start = self._open.pop(permit)
        self._even -= step
        if start is not None and start in self._starts:
            self._starts.remove(start)
        self._end_probe(permit)

    def accepted(self, now: float, permit: int) -> None:
        """The request of this permit, which is not ended yet, was answered with anything but a refusal."""
        self.refused_since = None
        if not self._probing or permit <= self._newest_refused:
            return  # one from before the pause says nothing of now
        self._probing, self._probe, self._refusals = False, None, 0
        self._known_at = math.nan
        self._go_on(now)
        self._even = max(self._even, now + (self._burst - 1) * self._gap)  # evenly, without a burst

    def observe(self, now: float, quota: ServerQuota, sent_at: float | None = None) -> None:
        """Take in the quota headers of an answer, whose request went out at ``sent_at``.

        Without that, the answer is taken for that of the longest read outstanding, or of the last request.
        """
        if sent_at is None:
            self._go_on(now)
            reads = [start for _, start in self._open.values() if start is not None]
            sent_at = min(reads, default=self._starts[-1] if self._starts else now)
        self._known_at = math.nan
        counted = self.others.hear(now, quota)
        self.limit = min(self._configured, self.others.limit or self._configured)
        if counted is not None:
            used = max(0, counted - self._ours(sent_at)) if counted > self._ours_at_most(sent_at) else 0
            if self._is_believed(used, quota.remaining):
                self.others.note(now, sent_at, used, spent=not quota.remaining)
        if quota.remaining:
            self._refusals = 0

    def pause(self, now: float, seconds: float | None, permit: int | None = None) -> float:
        """The request of this permit was refused: nothing goes for so long; returns for how many seconds.

        A time that the server named is kept to, up to a minute; it may be nonsense, and a probe tells. Where
        that is refused too, up to two minutes, and so on. ``None`` (or 0, which names none) leaves it to us.
        """
        if self.refused_since is None:
            self.refused_since = now
        self._spent_in_a_row = 0
        late = self._probing and permit is not None and permit <= self._newest_refused
        if late and now >= self.paused_until:  # a request from before the pause, answered after it
            return 0.0
        self._probing, self._probe = True, None
        self._newest_refused = self._next_id
        if now >= self.paused_until:
            right_after = now - self.paused_until < MINUTE
            self._refusals = self._refusals + 1 if right_after else 1
            self._learn_from_refusal(now)
            self._known_at = math.nan
        if seconds is None or not seconds > 0:
            seconds = self._pause_unnamed(now, seconds)
        longest = min(MINUTE * 2.0 ** min(self._refusals - 1, 10), LONGEST_PAUSE)
        self.paused_until = max(self.paused_until, now + min(seconds, longest))
        return self.paused_until - now

    def restore(self, now: float, ages: Iterable[float]) -> None:
        """Requests that an earlier process sent so many seconds ago count as ours.

        They count for the pace too: a burst that it has had does not come again. Those that are known here
        already (the earlier session was of this process) count once.
        """
        self._go_on(now)
        counts_for = self._span + RESTORED_MARGIN
        known = deque(self._starts)
        for start in sorted(now - max(age, 0.0) for age in ages if age < counts_for):
            while known and known[0] < start - SAME_SEND:
                known.popleft()
            if known and known[0] <= start + SAME_SEND:
                known.popleft()
                continue
            insort(self._starts, start)
            insort(self._leaves, start + counts_for)
            self._even = max(self._even, start) + self._gap

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

    def is_overtaken(self, permit: int) -> bool:
        """Whether it was taken before a pause that is not over, or whose probe is not answered."""
        return self._probing and permit <= self._newest_refused

    def _is_believed(self, used: int, remaining: int | None) -> bool:
        """Whether an answer's count is taken in, by which others have used so much.

        Requests that are all answered, while all answers say that others have left nothing, show that this
        is wrong.
        """
        if remaining:
            self._spent_in_a_row = 0
        elif used:
            self._spent_in_a_row += 1
        return self._spent_in_a_row < BELIEVED

    def _correct(self, sent: float, leaves: float, now: float) -> None:
        """A paid request may have arrived as late as its answer allows: it counts for that much longer.

        No request arrives before it is sent, and the fastest answer tells what the way takes at least. Until
        that is known by a number of answers, a request may have arrived just before it was answered.
        """
        self._measured += 1
        self._fastest = min(self._fastest, now - sent)
        least = self._fastest if self._measured >= MEASURED else 0.0
        late = min(now - sent - least, LATEST)
        if late <= 0.0:
            return
        place = bisect_left(self._leaves, leaves)
        if place < len(self._leaves) and self._leaves[place] == leaves:
            del self._leaves[place]
        if leaves + late > now:
            insort(self._leaves, leaves + late)

    def _end_probe(self, permit: int) -> None:
        """Without an answer the probe told nothing: another one may go."""
        if self._probe == permit:
            self._probe = None

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
        if self._leaves and self._leaves[0] <= now:
            del self._leaves[: bisect_right(self._leaves, now)]
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
        """What taking a permit moves the pace: its even share, or more where a burst has left few permits.

        Without that, the requests of a burst would be missing a minute later, all at once.
        """
        free = self._cap - len(self._open) - len(self._leaves)
        if not self._leaves or free <= 0:
            return self._gap
        return max(self._gap, (self._leaves[0] - now) / free)
