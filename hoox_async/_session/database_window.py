"""The window of the quota where several processes take permits from one database.

The database grants the permits. This window asks it for one whenever a waiter wants one and none is in stock,
with a horizon that is the priority of the most urgent waiter. Nothing of the quota is decided here.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from .._api.models import ServerQuota
from .._core.quota.other_clients import MINUTE
from .._core.quota.quota_learning import (
    MARGIN,
    Accepted,
    Observed,
    QuotaAnswer,
    QuotaCounts,
    QuotaLearning,
    QuotaTerms,
    Throttled,
)
from .._core.quota.sliding_window import BURST, MAX_DELAY, MIN_MEASUREMENTS, WindowSnapshot
from .._core.trouble import Sign, after_write
from .._io.clock import Clock
from .._io.error_words import is_disk_full
from .._io.protocols import Reservation, SentPermit, SharedPermits
from .._io.tasks import TaskSet
from ..errors import SessionClosed, StoreError

_log = logging.getLogger("hoox_async")
CALLER_HORIZON = 8.0
"""How many seconds ahead a permit may be reserved for a caller's own request."""
OTHERS_HORIZON = 1.2
"""The same for the poller and the items of a batch. Who may look further ahead goes first."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds, after the database has failed
_PROBED_EVERY = 0.5  # seconds: while another process probes after a 429, the database is asked that often
_REPORT_PAUSE = 0.05  # seconds in which reports are collected
_REPORTED_AT_MOST = 180.0  # seconds; a permit that is older does not count any more
_LEARN_EVERY = 10.0  # seconds: an answer that says nothing new is written that often
_LEARN_TRIES = 5
_COUNTED_EVERY = 5.0  # seconds: the count that `snapshot` tells is at most that old, and one statement
_STEPS_WITHOUT_BURST = BURST - 1  # after a pause requests go on evenly


def longest_hold(connect_timeout: float) -> float:
    """For how many seconds a permit may be held before its request is sent: two tries to connect and some."""
    return 2.0 * connect_timeout + 15.0


class _Reserved(NamedTuple):
    """A permit, and from when it may be used, by the loop's clock.

    The moment that the database has granted it for is not before ``granted_for``, which is reckoned from the
    asking: the process may have been stopped before it read the answer. By the boot-time clock the same.
    """

    permit: int
    usable_at: float
    granted_for: float
    granted_for_boot: float


class DatabaseWindow:
    """The permits that this process holds, and what it knows of the quota that all processes share.

    It has the methods of `SlidingWindow` that a rate limiter uses. ``hold`` is for how many seconds after its
    moment a permit may be used. A request that is sent later might not be counted when the server counts it.
    """

    def __init__(
        self,
        permits: SharedPermits,
        clock: Clock,
        tasks: TaskSet,
        *,
        limit: int,
        hold: float,
    ) -> None:
        self.limit: int = limit
        """Requests a minute: the lowest that a process states, or the server's limit if that is smaller."""
        self.on_change: Callable[[], None] = _ignore
        """Called when a permit, or what was learned of the quota, has come from the database."""
        self._permits = permits
        self._clock = clock
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._stated = limit
        self._hold = hold
        self._learning = QuotaLearning()
        self._learned_text: str | None = None
        self._offset: float | None = None  # the database's clock less the loop's
        self._interval = (MINUTE + MARGIN) / limit
        self._counted = 0  # requests that counted at the last reservation
        self._known = (0, -math.inf)  # the same or a later count, for `snapshot`, and when that was
        self._counter: asyncio.Task[None] | None = None
        # reservations
        self._stock: deque[_Reserved] = deque()
        self._asking = False
        self._answered = asyncio.Event()
        self._asked_horizon = 0.0
        self._ask_again_at = -math.inf
        self._failures = 0
        self.sign: Sign | None = None
        """What the last reservation has shown of trouble with the database; None: it answered soon."""
        # permits in use
        self._taken: dict[int, _Reserved] = {}
        self._sent: dict[int, float] = {}
        self._reads: set[int] = set()
        self._ended: list[tuple[int, float, float]] = []  # number, when sent, when arrived at the latest
        self._cancelled: list[int] = []
        self._reporter: asyncio.Task[None] | None = None
        self._fastest = math.inf
        self._measurements = 0
        # learning
        self._observation: tuple[ServerQuota, float] | None = None
        self._observer: asyncio.Task[None] | None = None
        self._learned_at = -math.inf
        self._unwritten_pause = -math.inf  # until then a pause holds here that others may not know yet
        self._pauses_written = 0  # of this process

    # --- reservations

    def earliest(self, now: float) -> float:
        """From when a permit in stock can be used, or the database is worth asking again; else infinite."""
        while self._stock and self._is_over(self._stock[0]):  # the process was stopped meanwhile
            self._cancel(self._stock.popleft().permit)
        if self._stock:
            return max(now, self._stock[0].usable_at)
        return self._ask_again_at if self._ask_again_at > now else math.inf

    def request(self, horizon: float) -> None:
        """A waiter wants a permit: ask the database for one, unless that is under way."""
        now = self._clock.now()
        waits = now < self._ask_again_at and horizon <= self._asked_horizon
        if self._stock or self._asking or waits:
            return
        self._asking, self._asked_horizon = True, horizon
        if not self._spawn(self._reserve(horizon), "hoox-reserve-permit"):
            self._asking = False

    def release_unused(self) -> None:
        """No waiter wants the permits in stock: cancel them."""
        while self._stock:
            self._cancel(self._stock.popleft().permit)

    async def answered(self) -> None:
        """Wait until the database has answered the reservation that is under way."""
        if self._asking:
            await self._answered.wait()

    async def _reserve(self, horizon: float) -> None:
        asked_at, asked_at_boot = self._clock.now(), self._clock.boot()
        pauses = self._pauses_written
        try:
            reservation = await self._permits.reserve(self._stated, horizon, self._hold)
        except Exception as error:  # nothing is sent without the database
            self._failures += 1
            now = self._clock.now()
            self.sign = after_write(now, asked_at, failed=True, is_full=is_disk_full(error))
            pause = min(_FIRST_PAUSE * 2.0 ** (self._failures - 1), _LONGEST_PAUSE)
            self._ask_again_at = now + pause
            if self._failures == 1:
                _log.warning("no permit could be reserved, so nothing is sent; trying again: %s", error)
        else:
            self._failures = 0
            self.sign = after_write(self._clock.now(), asked_at, failed=False)
            if self._clock.now() >= self._unwritten_pause and pauses == self._pauses_written:
                self._take_in(reservation, asked_at, asked_at_boot)
            else:  # it was granted without the pause
                self._ask_again_at = self._unwritten_pause
                if reservation.permit is not None:
                    self._cancel(reservation.permit)
        finally:
            self._asking = False
            self._answered.set()
            self._answered = asyncio.Event()
            self.on_change()

    def _take_in(self, reservation: Reservation, asked_at: float, asked_at_boot: float) -> None:
        now, wait = self._clock.now(), reservation.wait
        self._offset = reservation.moment - now
        self.limit, self._interval = reservation.limit, reservation.interval
        self._counted, self._known = reservation.counted, (reservation.counted, now)
        self._load(reservation.learned)
        if reservation.permit is None:
            self._ask_again_at = now + max(wait, 0.002)
            if self._learning.throttling.is_probing:  # the probe of another process may be answered sooner
                self._ask_again_at = min(self._ask_again_at, max(now, self.paused_until) + _PROBED_EVERY)
        else:
            self._ask_again_at = -math.inf
            reserved = _Reserved(reservation.permit, now + wait, asked_at + wait, asked_at_boot + wait)
            self._stock.append(reserved)

    def _load(self, learned: str | None) -> None:
        if learned != self._learned_text:
            self._learning, self._learned_text = QuotaLearning.load(learned), learned

    # --- the life of a permit

    def take(self, now: float) -> int:
        """Take the permit in stock and return its number. Only when `earliest` has returned ``now``."""
        del now
        reserved = self._stock.popleft()
        self._taken[reserved.permit] = reserved
        return reserved.permit

    def mark_sent(self, permit: int, now: float) -> None:
        """The headers of a paid request go out now."""
        self._sent[permit] = now

    def start_read(self, permit: int, now: float) -> None:
        """A read goes out now. It counts until a minute after its end."""
        self._sent[permit] = now
        self._reads.add(permit)

    def end(self, permit: int, now: float) -> None:
        """The request of this permit was answered, or has failed: report when it can have arrived."""
        self._taken.pop(permit, None)
        sent_at = self._sent.pop(permit, now)
        if permit in self._reads:
            self._reads.discard(permit)
            arrived_at = now
        else:
            arrived_at = sent_at + self._delay(now - sent_at)
        self._ended.append((permit, sent_at, arrived_at))
        self._report()

    def _delay(self, seconds: float) -> float:
        """How much later than it was sent a request that was answered after ``seconds`` can have arrived."""
        self._measurements += 1
        self._fastest = min(self._fastest, seconds)
        least = self._fastest if self._measurements >= MIN_MEASUREMENTS else 0.0
        return max(0.0, min(seconds - least, MAX_DELAY))

    def cancel(self, permit: int) -> None:
        """Nothing was sent with this permit: it does not count."""
        self._taken.pop(permit, None)
        self._sent.pop(permit, None)
        self._reads.discard(permit)
        self._cancel(permit)

    def _cancel(self, permit: int) -> None:
        self._cancelled.append(permit)
        self._report()

    def is_void(self, permit: int) -> bool:
        """Whether it may not be used any more: it is too old, or a 429 has paused everything since."""
        if self._learning.throttling.predates_pause(permit):
            return True
        taken = self._taken.get(permit)
        return taken is not None and self._is_over(taken)

    def _is_over(self, reserved: _Reserved) -> bool:
        """Whether the permit was to be used by now.

        The boot-time clock is compared too, since the loop's clock stands still while the machine sleeps.
        """
        late = max(self._clock.now() - reserved.granted_for, self._clock.boot() - reserved.granted_for_boot)
        return late > self._hold

    @property
    def held(self) -> int:
        """How many permits are taken and have not ended."""
        return len(self._taken)

    # --- reports

    def _report(self) -> None:
        if self._reporter is None or self._reporter.done():
            self._reporter = self._spawn(self._run_reports(), "hoox-report-permits")

    async def _run_reports(self) -> None:
        pause = _REPORT_PAUSE
        while self._ended or self._cancelled:
            await asyncio.sleep(pause)
            pause = _REPORT_PAUSE if await self.send_reports() else min(2 * pause + 0.2, _LONGEST_PAUSE)

    async def send_reports(self) -> bool:
        """Report what has ended since the last time. Returns whether the database has it now."""
        now = self._clock.now()
        ended, self._ended = [one for one in self._ended if now - one[1] < _REPORTED_AT_MOST], []
        cancelled, self._cancelled = self._cancelled, []
        sent = [SentPermit(permit, now - sent_at, now - arrived_at) for permit, sent_at, arrived_at in ended]
        is_reported = False
        try:
            if sent or cancelled:
                await self._permits.report(sent, cancelled)
            is_reported = True
        except StoreError as error:  # until then they count for longer than they must
            _log.debug("the use of permits could not be reported yet: %s", error)
        finally:
            if not is_reported:
                self._ended, self._cancelled = ended + self._ended, cancelled + self._cancelled
        return is_reported

    # --- the server's answers

    def observe(self, now: float, quota: ServerQuota, sent_at: float) -> None:
        """Process the quota headers of the answer to a request that was sent at ``sent_at``."""
        del now  # it is compared by the database's clock, once it is written
        self._observation = (quota, sent_at)
        if self._observer is None or self._observer.done():
            self._observer = self._spawn(self._observe(), "hoox-observe-quota")

    async def _observe(self) -> None:
        while self._observation is not None:
            (quota, sent_at), self._observation = self._observation, None
            await self._learn(Observed(quota, self._clock.now() - sent_at), sent_at)
            await asyncio.sleep(_REPORT_PAUSE)

    async def _learn(self, answer: QuotaAnswer, sent_at: float) -> None:
        """Write what an answer says, for all processes; again where another has written meanwhile.

        ``sent_at`` is when its request was sent.
        """
        try:
            for _ in range(_LEARN_TRIES):
                found = await self._permits.learned(self._clock.now() - sent_at)
                learning, moment = QuotaLearning.load(found.learned), found.counts.now
                before = learning.terms(moment)
                learning.apply(answer, found.counts)
                terms = learning.terms(moment)
                if not self._is_worth_writing(answer, before, terms):
                    return
                text = learning.dump()
                if await self._permits.learn(
                    found.version, text, terms, _STEPS_WITHOUT_BURST * self._interval
                ):
                    self._learned_at = self._clock.now()
                    if isinstance(answer, Throttled):
                        self._unwritten_pause = -math.inf
                        self._pauses_written += 1
                    if self._clock.now() >= self._unwritten_pause:
                        self._load(text)
                    if before.is_probing and not terms.is_probing:
                        self._ask_again_at = -math.inf
                    self.on_change()
                    return
        except StoreError as error:
            _log.debug("what an answer says about the quota could not be written: %s", error)

    def _is_worth_writing(self, answer: QuotaAnswer, before: QuotaTerms, after: QuotaTerms) -> bool:
        is_new = after != before or after.used > 0 or not isinstance(answer, Observed)
        return is_new or self._clock.now() - self._learned_at >= _LEARN_EVERY

    def pause(self, now: float, seconds: float | None, permit: int | None = None) -> float:
        """A request was answered 429. Returns for how many seconds nothing is sent from now."""
        number = 0 if permit is None else permit
        last_permit = max(self._taken, default=number)
        counts = QuotaCounts(self._to_database(now), self._counted, self._counted, last_permit)
        lasts = self._learning.pause(counts, seconds, number, self.limit)
        self._learned_text = None  # the copy here is ahead of what is stored
        self._unwritten_pause = now + lasts
        self.release_unused()
        self._spawn(self._learn(Throttled(number, seconds, self.limit), now), "hoox-pause")
        return lasts

    def mark_accepted(self, permit: int, now: float) -> None:
        """The request of this permit was answered with anything but a 429."""
        learning, moment = self._learning, self._to_database(now)
        may_end_pause = learning.throttling.throttled_since is not None or learning.throttling.is_probing
        if not may_end_pause and not learning.inferred.is_due(moment):
            return
        learning.accepted(moment, permit)
        self._spawn(self._learn(Accepted(permit), now), "hoox-pause-over")

    @property
    def paused_until(self) -> float:
        """Until when nothing is sent because the server answered 429 to any process."""
        return self._to_loop(self._learning.throttling.paused_until)

    @property
    def throttled_since(self) -> float | None:
        """When the server began to answer nothing but 429; None if it does not."""
        since = self._learning.throttling.throttled_since
        return None if since is None else self._to_loop(since)

    def used_by_others(self, now: float) -> int:
        """How many requests of the last minute clients seem to have used that do not share the database."""
        return self._learning.used_by_others(self._to_database(now))

    def _to_database(self, now: float) -> float:
        return now + (self._offset or 0.0)

    def _to_loop(self, moment: float) -> float:
        return moment - (self._offset or 0.0)

    # --- what is known of the quota

    def set_limit(self, limit: int) -> None:
        """The requests a minute that this process states from now on."""
        self._stated = limit
        self.limit = min(limit, self.limit)

    def estimate(self, now: float, in_front: int) -> float:
        """About when a permit is free for a waiter with ``in_front`` others in front of it. Always finite."""
        first = self._stock[0].usable_at if self._stock else max(now, self._ask_again_at)
        return max(first, self.paused_until) + in_front * self._interval

    def interval(self, now: float) -> float:
        """Seconds between two requests of all processes at an even rate."""
        del now
        return self._interval

    def snapshot(self, now: float) -> WindowSnapshot:
        """The limit, how many requests of it are free, and when all of it will be.

        As of the last reservation, or some seconds ago in a process that reserves no permits and calls this
        again and again: then the database is asked in the background.
        """
        counted, counted_at = self._known
        is_counting = self._counter is not None and not self._counter.done()
        if now - counted_at >= _COUNTED_EVERY and not is_counting and self._is_on_loop():
            self._counter = self._spawn(self._count(), "hoox-count-permits")
        free_at = counted_at + MINUTE
        counted = counted if now < free_at else 0
        return WindowSnapshot(self.limit, max(0, self.limit - counted), max(free_at, self.paused_until))

    def _is_on_loop(self) -> bool:
        """Whether the caller runs on the session's loop; a thread that shows metrics does not."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    async def _count(self) -> None:
        """Ask what counts now, and no sooner again than in some seconds if that fails."""
        try:
            found = await self._permits.learned(0.0)
            self._known = (found.counts.most, self._clock.now())
        except StoreError as error:
            _log.debug("what counts against the quota could not be read: %s", error)
            await asyncio.sleep(_COUNTED_EVERY)

    def restore(self, now: float, ages: Iterable[float]) -> None:
        """Do nothing: the database knows the requests of earlier processes."""

    def is_idle(self, now: float) -> bool:
        """True: this process keeps nothing that other sessions of it would have to know."""
        del now
        return True

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        with suppress(SessionClosed):
            return self._tasks.spawn(work, name)
        return None


def _ignore() -> None:
    """Nothing waits for permits yet."""
