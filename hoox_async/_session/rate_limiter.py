"""The one place where requests wait for a permit of the quota.

It runs without a task: it decides who gets the next permit when a waiter is added, when the quota or a waiter
changes, and when its timer fires because a permit is free. The order of priority is:

1. any waiter that was passed over for 10 s: the batch as a whole, then the poller;
2. a caller's own requests, first come, first served;
3. the poller, if a status request is worth more than a submission;
4. the batch: the first item that is ready;
5. the poller, if no other waiter wants the permit.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from copy import copy
from types import TracebackType
from typing import Literal

from .._api.endpoints import WireResponse
from .._api.models import QuotaSnapshot, ServerQuota
from .._api.responses import retry_after, server_quota
from .._core.quota.sliding_window import SlidingWindow
from .._io.clock import Clock
from .._io.hooks import Hooks
from ..errors import AuthenticationError, HooxError, NotSent, RateLimited, SessionClosed
from ..events import Paused
from .database_window import CALLER_HORIZON, OTHERS_HORIZON, DatabaseWindow
from .process_quota import ProcessQuota

_log = logging.getLogger("hoox_async")
_MAX_PASSED_OVER = 10.0  # seconds
_RETRY_AFTER_FAILURE = 1.0  # seconds until the next decision, after one has raised
LEAST_STORE_SECONDS = 1.0
"""What the store is given to answer a caller that waits for less, in seconds."""
_UNAUTHORIZED, _TOO_MANY_REQUESTS = 401, 429

IsReady = Callable[[], bool]
DueAt = Callable[[float, bool], float]


class RateLimiter:
    """Grants the permits of the quota, one at a time, to waiting callers.

    ``limit`` is in requests a minute. `Paused` is emitted to the ``hooks`` when a 429 stops everything.
    A wait ends with `RateLimited` after ``throttle_timeout`` seconds of nothing but 429. ``quota`` is given
    if other rate limiters use it too. ``on_key_refused``, if it is set, is called at the first 401: then
    only the check of the key gets permits, until `mark_key_valid` or `mark_key_invalid` is called. Every
    wait ends with `SessionClosed` when the rate limiter is closed. A wait that is cancelled costs nothing.
    """

    def __init__(
        self,
        clock: Clock,
        limit: int,
        *,
        hooks: Hooks | None = None,
        throttle_timeout: float = math.inf,
        quota: ProcessQuota | None = None,
    ) -> None:
        self.clock = clock
        self.limit = limit
        self.quota: ProcessQuota = quota or ProcessQuota(limit)
        self.window: SlidingWindow | DatabaseWindow = self.quota.window
        self.on_key_refused: Callable[[], None] | None = None
        self.is_checking_key: bool = False
        """Whether the API key was refused and is being checked: only the check gets permits."""
        self.key_worked: bool = False
        """Whether the API has accepted this key since it was last found invalid."""
        self.key_error: AuthenticationError | None = None
        """Why the key was found invalid; None once it has worked again, or while it is checked."""
        self.key_refused: bool = False
        """Whether the key was found invalid and has not worked since, also while it is checked again."""
        self._hooks = hooks
        self._throttle_timeout = throttle_timeout
        # the waiters; dicts keep their order, and a cancelled waiter is removed in O(1)
        self._callers: dict[_Waiter, None] = {}
        self._batch: dict[_Waiter, None] = {}
        self._poller: _Waiter | None = None
        self._key_check: _Waiter | None = None
        self._batch_since: float | None = None  # since when the batch has been passed over
        # Until this time no waiter wants a permit that is free; -inf: a waiter wants the next one.
        self._uncontended_until = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf  # kept here: uvloop's call_at can return a handle without `.when()`
        self._is_granting = False
        self._closed = False
        self.quota.join(self)

    # --- getting a permit

    def try_acquire(self) -> Permit | None:
        """A permit if one is free that no waiter wants; else None."""
        now = self.clock.now()
        if now >= self._uncontended_until:
            return None
        with self.quota.lock:
            if self.window.earliest(now) > now:
                return None
            return Permit(self, self.window.take(now))

    async def acquire(
        self,
        max_wait: float | None = None,
        *,
        since: float | None = None,
        throttle_timeout: float | None = None,
    ) -> Permit:
        """A permit for a caller's own read or single submission, first come, first served.

        ``since`` is when the work began that the permit is for; without it, now.

        Raises `NotSent`, with ``retry_after``, if it takes longer than ``max_wait`` seconds: at once if that
        can be foreseen. Raises `RateLimited` if there was nothing but 429 for ``throttle_timeout`` seconds
        since ``since``, and `AuthenticationError` if the key is found invalid.
        """
        permit = self.try_acquire()
        if permit is not None:
            return permit
        waiter = self._new_waiter(since=since, throttle_timeout=throttle_timeout)
        self._callers[waiter] = None
        self.wake()
        if max_wait is None or waiter.permit.done():
            return await self._wait(waiter)
        until = self.clock.now() + max_wait
        if isinstance(self.window, DatabaseWindow):
            await self._answered(waiter, self.window, max_wait)
        estimate, left = self._estimate_wait(waiter), until - self.clock.now()
        if not waiter.permit.done() and (left <= 0 or estimate > left):
            self._withdraw(waiter)
            raise _too_long(estimate)
        timer = self.clock.loop.call_later(left, self._time_out, waiter)
        try:
            return await self._wait(waiter)
        finally:
            timer.cancel()

    async def acquire_for_batch(
        self, is_ready: IsReady | None = None, *, since: float | None = None
    ) -> Permit:
        """A permit for an item of a batch: the first waiter whose ``is_ready()`` is true gets it.

        Raises `RateLimited` and `AuthenticationError` as `acquire` does.
        """
        waiter = self._new_waiter(is_ready, since=since)
        self._batch[waiter] = None
        self.wake()
        return await self._wait(waiter)

    async def acquire_for_poller(self, due_at: DueAt) -> Permit:
        """A permit for the poller; only one poller can wait.

        ``due_at(now, busy)`` is the loop's time from which a status request is worth a permit; infinite if
        none is at present. ``busy``: an item of a batch could use that permit.
        """
        if self._poller is not None:
            raise RuntimeError("only one poller can wait at the rate limiter")
        waiter = self._poller = self._new_waiter(due_at=due_at)
        self.wake()
        return await self._wait(waiter)

    async def acquire_for_key_check(self) -> Permit:
        """A permit for the check of a key that was refused. No other waiter gets one meanwhile."""
        waiter = self._key_check = self._new_waiter()
        self.wake()
        return await self._wait(waiter)

    @property
    def busy(self) -> bool:
        """Whether an item of a batch is waiting that could use the next permit."""
        return _first_ready(self._batch) is not None

    @property
    def waiting(self) -> int:
        """How many callers and items of batches wait for a permit."""
        return len(self._callers) + len(self._batch)

    def _new_waiter(
        self,
        is_ready: IsReady | None = None,
        due_at: DueAt | None = None,
        *,
        since: float | None = None,
        throttle_timeout: float | None = None,
    ) -> _Waiter:
        if self._closed:
            raise _closed()
        return _Waiter(
            self.clock.loop.create_future(),
            is_ready,
            due_at,
            self.clock.now() if since is None else since,
            self._throttle_timeout if throttle_timeout is None else throttle_timeout,
        )

    async def _wait(self, waiter: _Waiter) -> Permit:
        try:
            return await waiter.permit
        except BaseException:
            self._withdraw(waiter)
            raise

    async def _answered(self, waiter: _Waiter, window: DatabaseWindow, max_wait: float) -> None:
        """Wait for the database's answer, which says how long this waiter will have to wait.

        Raises `NotSent` where that takes longer than ``max_wait`` seconds, `LEAST_STORE_SECONDS` at least.
        """
        seconds = max(max_wait, LEAST_STORE_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await window.answered()
        except TimeoutError:
            self._withdraw(waiter)
            message = f"the database has given no permit of the quota for {seconds:g} s; nothing was sent"
            raise NotSent(message, retry_after=seconds) from None
        except BaseException:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: _Waiter) -> None:
        """Stop waiting; a permit that was granted in the same turn of the loop is cancelled."""
        self._remove(waiter)
        if waiter.permit.done() and not waiter.permit.cancelled() and waiter.permit.exception() is None:
            waiter.permit.result().cancel()
        self.wake()

    def _remove(self, waiter: _Waiter) -> None:
        self._callers.pop(waiter, None)
        self._batch.pop(waiter, None)
        if self._poller is waiter:
            self._poller = None
        if self._key_check is waiter:
            self._key_check = None

    def _time_out(self, waiter: _Waiter) -> None:
        self.wake()  # a permit that is free at this moment is still in time
        if not waiter.permit.done():
            waiter.permit.set_exception(_too_long(self._estimate_wait(waiter)))
            self._callers.pop(waiter, None)

    def _estimate_wait(self, waiter: _Waiter) -> float:
        in_front = next((n for n, other in enumerate(self._callers) if other is waiter), 0)
        with self.quota.lock:
            now = self.clock.now()
            return self.window.estimate(now, in_front) - now

    # --- granting permits

    def wake(self) -> None:
        """Grant permits again: something that ``is_ready`` or ``due_at`` depend on may have changed.

        It never raises: the caller, such as a paid POST, must not fail because of other waiters.
        """
        if self._is_granting or self._closed:
            return
        self._is_granting = True
        try:
            look_again_at = self._grant()
        except Exception:
            _log.exception("could not decide who gets the next permit; trying again")
            look_again_at = self.clock.now() + _RETRY_AFTER_FAILURE
        finally:
            self._is_granting = False
        self._set_timer(look_again_at)

    def wake_if_waited_for(self) -> None:
        """As `wake`, after a change of the quota, which matters only if a waiter wants a free permit."""
        if self._uncontended_until == -math.inf:
            self.wake()

    def window_changed(self) -> None:
        """The window has changed: wake all waiters for a permit, in other sessions too. Never raises."""
        self.wake_if_waited_for()
        if self.quota.is_shared:
            self.quota.notify_others(self)

    def _grant(self) -> float:
        """Grant the permits that are free now. Returns when to do so next."""
        self._uncontended_until = -math.inf
        next_timeout = self._end_throttled_waits()
        while self._callers or self._batch or self._poller is not None or self._key_check is not None:
            if self.is_checking_key and (self._key_check is None or not self._key_check.is_ready()):
                return next_timeout
            with self.quota.lock:
                now = self.clock.now()
                free_at = self.window.earliest(now)
                if free_at > now:
                    return min(free_at + self.quota.stagger(), next_timeout, self._reserve(now))
                waiter, poller_due_at = self._choose(now)
                if waiter is None:
                    self._release_unused()
                    self._uncontended_until = poller_due_at
                    return min(poller_due_at, next_timeout)
                waiter.permit.set_result(Permit(self, self.window.take(now)))
        self._uncontended_until = -math.inf if self.is_checking_key else math.inf
        self._release_unused()
        return math.inf

    def _reserve(self, now: float) -> float:
        """Where permits come from a database, have it grant one for the most urgent waiter.

        Returns when to decide again because the poller will want one.
        """
        window = self.window
        if not isinstance(window, DatabaseWindow):
            return math.inf
        item, poller = _first_ready(self._batch), self._poller
        poller_due_at = math.inf if poller is None else poller.due_at(now, item is not None)
        if item is not None and self._batch_since is None:
            self._batch_since = now
        is_urgent = self._key_check is not None or _first_ready(self._callers) is not None
        is_urgent |= item is not None and _was_passed_over(self._batch_since, now)
        is_urgent |= poller is not None and _was_passed_over(poller.due_since, now)
        if is_urgent or item is not None or poller_due_at <= now:
            window.request(CALLER_HORIZON if is_urgent else OTHERS_HORIZON)
            return math.inf
        return poller_due_at

    def _release_unused(self) -> None:
        if isinstance(self.window, DatabaseWindow):
            self.window.release_unused()

    def _choose(self, now: float) -> tuple[_Waiter | None, float]:
        """Remove the next waiter. If there is none: None, and from when the poller will want a permit."""
        if self.is_checking_key:
            key_check, self._key_check = self._key_check, None
            return key_check, now
        caller, item, poller = _first_ready(self._callers), _first_ready(self._batch), self._poller
        poller_due_at = math.inf if poller is None else poller.due_at(now, item is not None)
        if poller_due_at > now:
            poller = None
        if item is None:
            self._batch_since = None
        elif self._batch_since is None:
            self._batch_since = now
        if item is not None and _was_passed_over(self._batch_since, now):
            chosen: _Waiter | None = item
        elif poller is not None and _was_passed_over(poller.due_since, now):
            chosen = poller
        else:
            chosen = caller or poller or item
        if chosen is not None:
            self._remove(chosen)
            if chosen is item:
                self._batch_since = None
        return chosen, poller_due_at

    def _end_throttled_waits(self) -> float:
        """End the waits that got nothing but 429 for too long. Returns when the next one will have to end."""
        throttled_since = self.window.throttled_since
        if throttled_since is None:
            return math.inf
        next_at, now = math.inf, self.clock.now()
        for waiter in (*self._callers, *self._batch):
            ends_at = self._throttled_until(waiter.since, waiter.throttle_timeout)
            if now < ends_at:
                next_at = min(next_at, ends_at)
                continue
            self._remove(waiter)
            if not waiter.permit.done():
                message = f"the API has answered nothing but 429 for {now - throttled_since:.0f} s"
                waiter.permit.set_exception(RateLimited(_TOO_MANY_REQUESTS, None, message))
        return next_at

    def _end_all_waits(self, error: HooxError) -> None:
        single = [waiter for waiter in (self._poller, self._key_check) if waiter is not None]
        waiters = (*self._callers, *self._batch, *single)
        self._callers, self._batch, self._poller, self._key_check = {}, {}, None, None
        for waiter in waiters:
            if not waiter.permit.done():
                waiter.permit.set_exception(copy(error))
        self.wake()

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            if self._timer_at == at and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = None if math.isinf(at) else self.clock.loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.wake()

    # --- quota and key in answers

    def answered(self, permit: Permit, response: WireResponse) -> None:
        """Process an answer's quota headers and status. Call it inside the block of the request's permit."""
        quota = server_quota(response.headers)
        if quota is None or quota.resets_in is None:  # without a Date, the reset counts from our clock
            quota = server_quota(response.headers, self.clock.utc())
        if quota is not None and permit.sent_at is not None:
            if response.status == _TOO_MANY_REQUESTS:
                # "none left" ends with the pause, and must not slow down the minute after it
                quota = quota._replace(remaining=None)
            self.observe(quota, permit.sent_at)
        if response.status == _TOO_MANY_REQUESTS:
            self.pause(retry_after(response.headers), "the API answered 429", permit)
            return
        with self.quota.lock:
            self.window.mark_accepted(permit.id, self.clock.now())
        if response.status == _UNAUTHORIZED:
            self._begin_key_check()
        elif response.status < 500:
            self.key_worked, self.key_error, self.key_refused = True, None, False
        self.window_changed()

    def observe(self, quota: ServerQuota, sent_at: float) -> None:
        """Process the quota headers of the answer to a request that was sent at ``sent_at``."""
        with self.quota.lock:
            self.window.observe(self.clock.now(), quota, sent_at)
        self.window_changed()

    def pause(self, seconds: float | None, reason: str, permit: Permit | None = None) -> None:
        """After a 429: send nothing for ``seconds``; None: until the server's reset, or some seconds.

        ``permit`` is that of the request that was answered 429.
        """
        with self.quota.lock:
            now = self.clock.now()
            known = self.window.paused_until
            lasts = self.window.pause(now, seconds, None if permit is None else permit.id)
        is_news = now >= known or now + lasts > known + 1.0
        if self._hooks is not None and lasts > 0.0 and is_news:
            self._hooks.emit(Paused(lasts, reason))
        self.window_changed()

    def is_final(self, error: HooxError, since: float, throttle_timeout: float | None = None) -> bool:
        """Whether this error ends work that began at ``since``.

        A 429 does after ``throttle_timeout`` seconds of nothing but 429, and a 401 does when the key was
        found invalid. No other error does.
        """
        if isinstance(error, RateLimited):
            timeout = self._throttle_timeout if throttle_timeout is None else throttle_timeout
            return self.clock.now() >= self._throttled_until(since, timeout)
        return isinstance(error, AuthenticationError) and self.key_error is not None

    def _throttled_until(self, since: float, timeout: float) -> float:
        """When the API will have answered nothing but 429 for so many seconds, from ``since`` on.

        Infinite while it answers with anything else. It is the time that timers are set to and that the
        clock is compared with: a difference of two times could be rounded to just less than ``timeout``.
        """
        throttled_since = self.window.throttled_since
        return math.inf if throttled_since is None else max(since, throttled_since) + timeout

    def _begin_key_check(self) -> None:
        if self.is_checking_key or self._closed or self.on_key_refused is None:
            return
        self.is_checking_key, self.key_error = True, None
        self._uncontended_until = -math.inf
        self.on_key_refused()

    def mark_key_valid(self) -> None:
        """The check has found the key valid, or could not find out: permits are granted again."""
        self.is_checking_key = False
        self.wake()

    def mark_key_invalid(self, error: AuthenticationError) -> None:
        """The check has found that the key is refused for good: every wait ends with this error."""
        self.is_checking_key, self.key_error, self.key_worked = False, error, False
        self.key_refused = True
        self._end_all_waits(error)

    # --- the quota

    def interval(self, now: float) -> float:
        """Seconds between two of our requests at an even rate, given what other clients seem to use."""
        with self.quota.lock:
            return self.window.interval(now)

    def expected_wait(self, count: int = 1) -> float:
        """About how many seconds until a new caller would have so many permits, by what is known now."""
        with self.quota.lock:
            now = self.clock.now()
            return max(0.0, self.window.estimate(now, len(self._callers) + count - 1) - now)

    def snapshot(self) -> QuotaSnapshot:
        """The quota as it is now."""
        with self.quota.lock:
            now = self.clock.now()
            limit, remaining, resets_at = self.window.snapshot(now)
        return QuotaSnapshot(limit, remaining, self.clock.to_utc(resets_at) if resets_at > now else None)

    def restore(self, sent_at: Iterable[float]) -> None:
        """Count requests of an earlier process, by the loop's times at which they went out."""
        now = self.clock.now()
        with self.quota.lock:
            self.window.restore(now, (now - at for at in sent_at))

    def close(self) -> None:
        """End all waits with `SessionClosed`. Permits that were granted can still be used and ended."""
        self._closed = True
        self._uncontended_until = -math.inf
        self._set_timer(math.inf)
        self._end_all_waits(_closed())
        self._release_unused()
        self.quota.leave(self)


class Permit:
    """Permission to send one request. Use it as a context manager around the sending.

    A paid request calls `mark_sent` when its headers go out, and counts from then on. A read is sent inside
    ``with permit.start_read():`` and counts until a minute after the end of that block. A permit for which
    neither was called by the end of its block is cancelled, and does not count.
    """

    __slots__ = ("_rate_limiter", "_state", "_taken_at", "id", "sent_at")

    def __init__(self, rate_limiter: RateLimiter, permit_id: int) -> None:
        self.id: int = permit_id
        """Its number in the window."""
        self.sent_at: float | None = None
        """The loop's time at which the request went out; None until then."""
        self._rate_limiter = rate_limiter
        self._state: Literal["held", "sent", "reading", "ended"] = "held"
        self._taken_at = rate_limiter.clock.now()

    @property
    def is_cancelled(self) -> bool:
        """Whether it has ended without a request."""
        return self._state == "ended" and self.sent_at is None

    def is_stale(self, max_hold: float) -> bool:
        """Whether a new permit must be taken before sending.

        It is stale if it was held for more than ``max_hold`` seconds or is void, or if the key has been
        refused since it was taken.
        """
        rate_limiter = self._rate_limiter
        held = rate_limiter.clock.now() - self._taken_at
        return held > max_hold or rate_limiter.is_checking_key or rate_limiter.window.is_void(self.id)

    def mark_sent(self) -> None:
        """The headers of a paid request go out now. A second call changes nothing."""
        if self._state == "held":
            self._state = "sent"
            with self._rate_limiter.quota.lock:
                self.sent_at = self._rate_limiter.clock.now()
                self._rate_limiter.window.mark_sent(self.id, self.sent_at)
            self._rate_limiter.window_changed()

    def start_read(self) -> Permit:
        """A read goes out now. Returns the permit itself. A second call changes nothing."""
        if self._state == "held":
            self._state = "reading"
            with self._rate_limiter.quota.lock:
                self.sent_at = self._rate_limiter.clock.now()
                self._rate_limiter.window.start_read(self.id, self.sent_at)
        return self

    def cancel(self) -> None:
        """Nothing was sent for certain: the permit does not count. After `mark_sent` this changes nothing."""
        if self._state in ("held", "reading"):
            self._state = "ended"
            with self._rate_limiter.quota.lock:
                self._rate_limiter.window.cancel(self.id)
            self._rate_limiter.window_changed()

    def __enter__(self) -> Permit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state in ("sent", "reading"):
            self._state = "ended"
            with self._rate_limiter.quota.lock:
                self._rate_limiter.window.end(self.id, self._rate_limiter.clock.now())
            self._rate_limiter.window_changed()
        else:
            self.cancel()


class CallerPermits:
    """The permits of one caller's submission, which waits for all of them together, ``max_wait`` s at most.

    Each call acquires one. ``max_wait=None``: there is no limit.
    """

    __slots__ = ("_rate_limiter", "_until", "since")

    def __init__(self, rate_limiter: RateLimiter, max_wait: float | None) -> None:
        self._rate_limiter = rate_limiter
        self.since: float = rate_limiter.clock.now()
        self._until = None if max_wait is None else self.since + max_wait

    def left(self) -> float | None:
        """The seconds that are left to wait; None if there is no limit."""
        return None if self._until is None else max(0.0, self._until - self._rate_limiter.clock.now())

    async def __call__(self) -> Permit:
        """A permit. Raises as `RateLimiter.acquire` does with the seconds that are left."""
        return await self._rate_limiter.acquire(self.left(), since=self.since)


class _Waiter:
    """A caller, a batch item, the poller or the key check, waiting for a permit."""

    __slots__ = ("_due_at", "_is_ready", "due_since", "permit", "since", "throttle_timeout")

    def __init__(
        self,
        permit: asyncio.Future[Permit],
        is_ready: IsReady | None,
        due_at: DueAt | None,
        since: float,
        throttle_timeout: float,
    ) -> None:
        self.permit = permit
        self.since = since  # when the work began that the permit is for
        self.throttle_timeout = throttle_timeout  # the wait ends after this many seconds of nothing but 429
        self.due_since: float | None = None  # since when a poller has wanted a permit
        self._is_ready = is_ready
        self._due_at = due_at

    def is_ready(self) -> bool:
        """Whether it could use a permit now. If finding out raises, the wait ends with that error."""
        if self.permit.done():
            return False
        try:
            return self._is_ready is None or self._is_ready()
        except Exception as error:
            self.permit.set_exception(error)  # for this waiter, not for the caller that triggered the check
            return False

    def due_at(self, now: float, busy: bool) -> float:
        """From when the poller wants a permit. Notes since when it has been wanting one."""
        at = math.inf
        if self._due_at is not None and not self.permit.done():
            try:
                at = self._due_at(now, busy)
            except Exception as error:
                self.permit.set_exception(error)  # as above
        if at > now:
            self.due_since = None
        elif self.due_since is None:
            self.due_since = now
        return at


def _first_ready(waiters: Iterable[_Waiter]) -> _Waiter | None:
    return next((waiter for waiter in waiters if waiter.is_ready()), None)


def _was_passed_over(since: float | None, now: float) -> bool:
    return since is not None and now - since >= _MAX_PASSED_OVER


def _too_long(seconds: float) -> NotSent:
    return NotSent(
        f"the quota has no permit for about {seconds:.1f} s; nothing was sent", retry_after=seconds
    )


def _closed() -> SessionClosed:
    return SessionClosed("the session is closed")
