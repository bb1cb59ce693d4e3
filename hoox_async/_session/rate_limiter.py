"""The one place where requests wait for the quota. It has no task: a timer and those who come wake it.

Who goes first when a permit is free: who has been passed over for 10 s (the batch as a whole and the poller,
once each), then a caller's own requests, then the poller where a status request is worth more than a
submission, then the batch, then the poller where it is worth a permit that nobody else wants.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from copy import copy
from types import TracebackType

from .._api.endpoints import WireResponse
from .._api.models import QuotaSnapshot, ServerQuota
from .._api.responses import retry_after, server_quota
from .._core.quota.sliding_window import SlidingWindow
from .._io.clock import Clock
from ..errors import AuthenticationError, HooxError, NotSent, RateLimited, SessionClosed
from .shared_quota import Quota

_log = logging.getLogger("hoox_async")
PATIENCE = 10.0
_DENIED, _REFUSED = 401, 429
_AFTER_FAILURE = 1.0  # seconds until it is decided anew who can go
OnPause = Callable[[float, str], None]
Ready = Callable[[], bool]
Due = Callable[[float, bool], float]


class _Claim:
    """Somebody who waits for a permit."""

    __slots__ = ("due", "due_since", "permit", "ready", "refused", "since")

    def __init__(
        self,
        permit: asyncio.Future[Permit],
        ready: Ready | None,
        due: Due | None,
        since: float,
        refused: float,
    ) -> None:
        self.permit = permit
        self.since = since  # when what it is for began
        self.refused = refused  # for how many seconds that goes on against nothing but 429
        self.ready = ready
        self.due = due
        self.due_since: float | None = None

    def can_go(self) -> bool:
        if self.permit.done():
            return False
        try:
            return self.ready is None or self.ready()
        except Exception as error:
            self.permit.set_exception(error)  # for who waits here, not for who happens to look
            return False

    def due_at(self, now: float, busy: bool) -> float:
        """From when the poller wants a permit. Notes since when it has been wanting one."""
        at = math.inf
        if self.due is not None and not self.permit.done():
            try:
                at = self.due(now, busy)
            except Exception as error:
                self.permit.set_exception(error)  # as above
        if at > now:
            self.due_since = None
        elif self.due_since is None:
            self.due_since = now
        return at


class RateLimiter:
    """Hands out the permits of the quota, one by one, to those who wait.

    ``limit`` is in requests a minute. ``on_pause(seconds, reason)`` is told when a 429 stops everything.
    ``refused`` is for how many seconds who waits goes on against nothing but 429. ``quota`` is one that is
    shared with other gates. ``on_doubt``, if it is set, is called at the first 401: nothing goes then until
    `key_is_good` or `key_is_bad` is said. All waits end with `SessionClosed` when the rate limiter is
    closed, and a
    wait that is cancelled costs nothing.
    """

    def __init__(
        self,
        clock: Clock,
        limit: int,
        *,
        on_pause: OnPause | None = None,
        refused: float = math.inf,
        quota: Quota | None = None,
    ) -> None:
        self.clock = clock
        self.limit = limit
        self.quota: Quota = quota or Quota(limit)
        self.window: SlidingWindow = self.quota.window
        self.last_sent_at: float | None = None
        self.on_doubt: Callable[[], None] | None = None
        self.key_worked: bool = False
        """Whether the API has answered this key with anything but a 401 since it was last refused."""
        self.denied: AuthenticationError | None = None
        """Why the key was found to be bad; None once it has worked again, or while it is checked."""
        self._on_pause = on_pause
        self._refused = refused
        self._checking = False
        self._check: _Claim | None = None
        self._own: dict[_Claim, None] = {}  # dicts: in order, and left in O(1) by who is cancelled
        self._batch: dict[_Claim, None] = {}
        self._watch: _Claim | None = None
        self._batch_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf  # kept here: uvloop's call_at can return a handle without `.when()`
        self._serving = False
        self._closed = False
        # until when a permit that is free is wanted by nobody who waits; -inf: somebody waits for one
        self._unwanted_until = math.inf
        self.quota.join(self)

    async def own(
        self, max_wait: float | None = None, *, since: float | None = None, refused: float | None = None
    ) -> Permit:
        """A permit for a caller's own read or single submission, in the order of their coming.

        Raises `NotSent`, with ``retry_after``, when that takes longer than ``max_wait`` seconds: at once
        where it is foreseen. Raises `RateLimited` when there was nothing but 429 for ``refused`` seconds
        since ``since``, when what the permit is for began, and `AuthenticationError` when the key is
        found bad.
        """
        permit = self.free_permit()
        if permit is not None:
            return permit
        claim = self._claim(since=since, refused=refused)
        self._own[claim] = None
        self.wake()
        if max_wait is None or claim.permit.done():
            return await self._wait(claim)
        foreseen = self._foresee(claim)
        if max_wait <= 0 or foreseen > max_wait:
            self._leave(claim)
            raise _too_long(foreseen)
        timer = self.clock.loop.call_later(max_wait, self._run_out, claim)
        try:
            return await self._wait(claim)
        finally:
            timer.cancel()

    def free_permit(self) -> Permit | None:
        """A permit that is free and that nobody who waits would have, for whoever asks now; else None."""
        now = self.clock.now()
        if now >= self._unwanted_until:
            return None
        with self.quota.lock:
            if self.window.earliest(now) > now:
                return None
            return Permit(self, self.window.take(now))

    async def batch(self, ready: Ready | None = None, *, since: float | None = None) -> Permit:
        """A permit for an item of a batch: the first to come whose ``ready()`` is true when one is free.

        Raises as `own` does.
        """
        claim = self._claim(ready, since=since)
        self._batch[claim] = None
        self.wake()
        return await self._wait(claim)

    async def watch(self, due: Due) -> Permit:
        """A permit for the poller, who waits alone.

        ``due(now, busy)`` is the loop's time from which a status request is worth a permit; ``inf`` for
        never, as things are. ``busy``: an item of a batch could have that permit.
        """
        if self._watch is not None:
            raise RuntimeError("only one poller can wait at the rate limiter")
        claim = self._watch = self._claim(due=due)
        self.wake()
        return await self._wait(claim)

    async def check(self) -> Permit:
        """A permit for the check of a key that was refused: it alone goes meanwhile."""
        claim = self._check = self._claim()
        self.wake()
        return await self._wait(claim)

    def wake(self) -> None:
        """Look again who can go: something that ``ready`` or ``due`` depend on may have changed.

        It never raises: whoever calls this, as a paid POST does, must not fail for those who wait.
        """
        if self._serving or self._closed:
            return
        self._serving = True
        try:
            at = self._serve()
        except Exception:
            _log.exception("who may send next could not be decided; it is tried again")
            at = self.clock.now() + _AFTER_FAILURE
        finally:
            self._serving = False
        self._arm(at)

    def permits_changed(self) -> None:
        """What the quota has left has changed. That concerns those only who wait for a permit. Never
        raises."""
        self.quota_changed()
        if self.quota.is_shared:
            self.quota.tell_others(self)

    def quota_changed(self) -> None:
        """As `permits_changed`, said by another session that shares the quota."""
        if self._unwanted_until == -math.inf:
            self.wake()

    @property
    def busy(self) -> bool:
        """Whether an item of a batch could have the next permit."""
        return _first(self._batch) is not None

    def answered(self, permit: Permit, response: WireResponse) -> None:
        """Take in what an answer says of quota and key. To be said inside the block of its permit."""
        quota = server_quota(response.headers)
        if quota is None or quota.resets_in is None:  # without a Date, the reset counts against our clock
            quota = server_quota(response.headers, self.clock.utc())
        if quota is not None:
            if response.status == _REFUSED:
                # "none left" is over when the pause is, and must not slow the minute after it
                quota = quota._replace(remaining=None)
            self.observe(quota, permit)
        if response.status == _REFUSED:
            self.pause(retry_after(response.headers), "the API answered 429", permit)
            return
        with self.quota.lock:
            permit.accepted()
        if response.status == _DENIED:
            self._doubt()
        elif response.status < 500:
            self.key_worked, self.denied = True, None
        self.permits_changed()

    def observe(self, quota: ServerQuota, permit: Permit | None = None) -> None:
        """Take in an answer's quota headers. ``permit`` is its request's; the one that ended last, if
        None."""
        sent_at = self.last_sent_at if permit is None else permit.sent_at
        with self.quota.lock:
            self.window.observe(self.clock.now(), quota, sent_at)
        self.permits_changed()

    def pause(self, seconds: float | None, reason: str, permit: Permit | None = None) -> None:
        """A 429: nothing goes for so many seconds; None means until the server's reset, or for a minute."""
        with self.quota.lock:
            now = self.clock.now()
            known = self.window.paused_until
            lasts = permit.refused(seconds) if permit is not None else self.window.pause(now, seconds)
        if self._on_pause is not None and lasts > 0.0 and (now >= known or now + lasts > known + 1.0):
            self._on_pause(lasts, reason)
        self.permits_changed()

    @property
    def checking(self) -> bool:
        """Whether nothing goes because the key was refused and is being checked."""
        return self._checking

    def has_given_up(self, error: HooxError, since: float, refused: float | None = None) -> bool:
        """Whether a 429 or a 401 is the end for what began then: it was refused for too long, for good."""
        if isinstance(error, RateLimited):
            return self._refused_for(since) >= (self._refused if refused is None else refused)
        return isinstance(error, AuthenticationError) and self.denied is not None

    def _refused_for(self, since: float) -> float:
        """For how many seconds there has been nothing but 429 for what began then."""
        refused_since = self.window.refused_since
        return 0.0 if refused_since is None else self.clock.now() - max(since, refused_since)

    def _doubt(self) -> None:
        if self._checking or self._closed or self.on_doubt is None:
            return
        self._checking, self.denied = True, None
        self._unwanted_until = -math.inf
        self.on_doubt()

    def key_is_good(self) -> None:
        """The check has found the key good, or nothing out: all goes on."""
        self._checking = False
        self.wake()

    def key_is_bad(self, error: AuthenticationError) -> None:
        """The check has found that the key is refused for good: all waits end with this error."""
        self._checking, self.denied, self.key_worked = False, error, False
        self._end_waits(error)

    def _end_waits(self, error: HooxError) -> None:
        claims = (*self._own, *self._batch, *(c for c in (self._watch, self._check) if c is not None))
        self._own, self._batch, self._watch, self._check = {}, {}, None, None
        for claim in claims:
            if not claim.permit.done():
                claim.permit.set_exception(copy(error))
        self.wake()

    def pace(self, now: float) -> float:
        """Seconds between two of our requests, evenly, as far as is known of what others leave us."""
        with self.quota.lock:
            return self.window.pace(now)

    def snapshot(self) -> QuotaSnapshot:
        """The quota as it stands now."""
        with self.quota.lock:
            return self.window.snapshot(self.clock.now())

    def restore(self, sent_at: Iterable[float]) -> None:
        """Count requests of an earlier process, by the loop's times at which they went out."""
        now = self.clock.now()
        with self.quota.lock:
            self.window.restore(now, (now - at for at in sent_at))

    def close(self) -> None:
        """End all waits with `SessionClosed`. Slots in hand can still be used and let go."""
        self._closed = True
        self._unwanted_until = -math.inf
        self._arm(math.inf)
        self._end_waits(_closed())
        self.quota.leave(self)

    def _claim(
        self,
        ready: Ready | None = None,
        due: Due | None = None,
        *,
        since: float | None = None,
        refused: float | None = None,
    ) -> _Claim:
        if self._closed:
            raise _closed()
        return _Claim(
            self.clock.loop.create_future(),
            ready,
            due,
            self.clock.now() if since is None else since,
            self._refused if refused is None else refused,
        )

    async def _wait(self, claim: _Claim) -> Permit:
        try:
            return await claim.permit
        except BaseException:
            self._leave(claim)
            raise

    def _leave(self, claim: _Claim) -> None:
        """Give up the place, or the permit where that came in the same instant."""
        self._take_out(claim)
        if claim.permit.done() and not claim.permit.cancelled() and claim.permit.exception() is None:
            claim.permit.result().cancel()
        self.wake()

    def _run_out(self, claim: _Claim) -> None:
        self.wake()  # a permit that is free in this very instant is still in time
        if not claim.permit.done():
            claim.permit.set_exception(_too_long(self._foresee(claim)))
            self._own.pop(claim, None)

    def _foresee(self, claim: _Claim) -> float:
        ahead = next((n for n, other in enumerate(self._own) if other is claim), 0)
        with self.quota.lock:
            now = self.clock.now()
            return self.window.expect(now, ahead) - now

    def _serve(self) -> float:
        """Hand out what is free now; returns when to look again."""
        self._unwanted_until = -math.inf
        ends_at = self._end_refused()
        while self._own or self._batch or self._watch is not None or self._check is not None:
            if self._checking and (self._check is None or not self._check.can_go()):
                return ends_at
            with self.quota.lock:
                now = self.clock.now()
                free_at = self.window.earliest(now)
                if free_at > now:
                    return min(free_at + self.quota.stagger(), ends_at)
                claim, look_again = self._pick(now)
                if claim is None:
                    self._unwanted_until = look_again
                    return min(look_again, ends_at)
                claim.permit.set_result(Permit(self, self.window.take(now)))
        self._unwanted_until = -math.inf if self._checking else math.inf
        return math.inf

    def _end_refused(self) -> float:
        """End the waits that met nothing but 429 for too long; returns when the next one does."""
        refused_since = self.window.refused_since
        if refused_since is None:
            return math.inf
        next_at, now = math.inf, self.clock.now()
        for claim in (*self._own, *self._batch):
            left = claim.refused - self._refused_for(claim.since)
            if left > 0.0:
                next_at = min(next_at, now + left)
                continue
            self._take_out(claim)
            if not claim.permit.done():
                message = f"the API has answered nothing but 429 for {now - refused_since:.0f} s"
                claim.permit.set_exception(RateLimited(_REFUSED, None, message))
        return next_at

    def _pick(self, now: float) -> tuple[_Claim | None, float]:
        """Who goes now; or nobody, and from when the poller would."""
        if self._checking:
            check, self._check = self._check, None
            return check, now
        own, batch, watch = _first(self._own), _first(self._batch), self._watch
        due_at = math.inf if watch is None else watch.due_at(now, batch is not None)
        if watch is None or due_at > now:
            watch = None
        if batch is None:
            self._batch_since = None
        elif self._batch_since is None:
            self._batch_since = now
        if batch is not None and _passed_over(self._batch_since, now):
            chosen: _Claim | None = batch
        elif watch is not None and _passed_over(watch.due_since, now):
            chosen = watch
        else:
            chosen = own or watch or batch
        if chosen is not None:
            self._take_out(chosen)
        if chosen is batch:
            self._batch_since = None
        return chosen, due_at

    def _take_out(self, claim: _Claim) -> None:
        self._own.pop(claim, None)
        self._batch.pop(claim, None)
        if self._watch is claim:
            self._watch = None
        if self._check is claim:
            self._check = None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            if self._timer_at == at and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = None if math.isinf(at) else self.clock.loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.wake()


def _first(claims: Iterable[_Claim]) -> _Claim | None:
    return next((claim for claim in claims if claim.can_go()), None)


def _passed_over(since: float | None, now: float) -> bool:
    return since is not None and now - since >= PATIENCE


def _too_long(seconds: float) -> NotSent:
    return NotSent(
        f"the quota has no permit for about {seconds:.1f} s; nothing was sent", retry_after=seconds
    )


def _closed() -> SessionClosed:
    return SessionClosed("the session is closed")


class Permit:
    """Leave to send one request. Use it as a context manager around the sending.

    A paid request calls `mark_sent` when its headers go out; it counts from then on. A read says
    ``with permit.read():`` and counts from now until a minute after the end of the block. A permit of
    which neither was said is given back and counts nothing.
    """

    __slots__ = ("_id", "_rate_limiter", "_state", "_taken_at", "sent_at")

    def __init__(self, rate_limiter: RateLimiter, permit_id: int) -> None:
        self._rate_limiter = rate_limiter
        self._id = permit_id
        self._state = "taken"
        self._taken_at = rate_limiter.clock.now()
        self.sent_at: float | None = None
        """The loop's time at which the request went out; None until then."""

    @property
    def given_back(self) -> bool:
        """Whether it has ended and nothing was sent."""
        return self._state == "over" and self.sent_at is None

    def is_stale(self, longest: float) -> bool:
        """Whether a new permit must be taken: it was held for longer than that, or all has paused since."""
        rate_limiter = self._rate_limiter
        held = rate_limiter.clock.now() - self._taken_at
        return held > longest or rate_limiter.checking or rate_limiter.window.is_overtaken(self._id)

    def mark_sent(self) -> None:
        """The headers of a paid request go out now. Said again, it changes nothing."""
        if self._state == "taken":
            self._state = "sent"
            with self._rate_limiter.quota.lock:
                self.sent_at = self._rate_limiter.clock.now()
                self._rate_limiter.window.mark_sent(self._id, self.sent_at)
            self._rate_limiter.permits_changed()

    def read(self) -> Permit:
        """A read goes out now; gives the permit itself. Said again, it changes nothing."""
        if self._state == "taken":
            self._state = "reading"
            with self._rate_limiter.quota.lock:
                self.sent_at = self._rate_limiter.clock.now()
                self._rate_limiter.window.read(self._id, self.sent_at)
        return self

    def accepted(self) -> None:
        """Its request was answered with anything but a 429."""
        self._rate_limiter.window.accepted(self._rate_limiter.clock.now(), self._id)

    def refused(self, seconds: float | None) -> float:
        """Its request was answered 429; for how many seconds nothing goes now."""
        return self._rate_limiter.window.pause(self._rate_limiter.clock.now(), seconds, self._id)

    def cancel(self) -> None:
        """Nothing was sent, for certain: the permit counts nothing. A stamped one counts all the same."""
        if self._state in ("taken", "reading"):
            self._state = "over"
            with self._rate_limiter.quota.lock:
                self._rate_limiter.window.cancel(self._id)
            self._rate_limiter.permits_changed()

    def __enter__(self) -> Permit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rate_limiter.last_sent_at = self.sent_at
        if self._state in ("sent", "reading"):
            self._state = "over"
            with self._rate_limiter.quota.lock:
                self._rate_limiter.window.end(self._id, self._rate_limiter.clock.now())
            self._rate_limiter.permits_changed()
        else:
            self.cancel()


class OwnPermits:
    """Slots for one caller's submission: each call gives one, all within ``max_wait`` seconds from now on.

    ``max_wait=None``: without an end.
    """

    __slots__ = ("_rate_limiter", "_until", "since")

    def __init__(self, rate_limiter: RateLimiter, max_wait: float | None) -> None:
        self._rate_limiter = rate_limiter
        self.since = rate_limiter.clock.now()
        self._until = None if max_wait is None else self.since + max_wait

    def left(self) -> float | None:
        """The seconds that are left; None without an end."""
        return None if self._until is None else max(0.0, self._until - self._rate_limiter.clock.now())

    async def __call__(self) -> Permit:
        """A permit. Raises as `RateLimiter.own` does, and `NotSent` when it takes longer than is left."""
        return await self._rate_limiter.own(self.left(), since=self.since)
