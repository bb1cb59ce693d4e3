"""Holds submissions back while the session's paid requests get no answer, and says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..._core.circuit_breaker import LOSSES, SubmissionBreaker
from ..._core.trouble import NO_ANSWER
from ..._io.clock import Clock
from ..._io.hooks import Hooks
from ..._io.tasks import TaskSet
from ...errors import HooxError, NotSent, SessionClosed
from ...events import Paused
from ..rate_limiter import CallerPermits, Permit, RateLimiter
from ..reads import Reads

_log = logging.getLogger("hoox_async")
_UNANSWERED = 20.0  # seconds; then a paid request without an answer is logged
_PAUSES = (2.0, 5.0, 10.0, 20.0, 30.0)  # seconds after a free request without an answer; the last one repeats


class SubmissionHold:
    """Tracks the paid requests of a session; `_core.circuit_breaker` decides when submissions are held.

    A batch has a breaker of its own: its POSTs are counted here, and only single submissions are held back.
    """

    def __init__(
        self, clock: Clock, rate_limiter: RateLimiter, reads: Reads, hooks: Hooks, tasks: TaskSet
    ) -> None:
        self._clock = clock
        self._rate_limiter = rate_limiter
        self._reads = reads
        self._hooks = hooks
        self._tasks = tasks
        self._breaker = SubmissionBreaker()
        self._timers: dict[str, asyncio.TimerHandle] = {}  # by the attempt: each logs that it has no answer
        self._waiting: dict[asyncio.Future[None], None] = {}  # in the order in which they came
        self._probing: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many submissions are held back."""
        return len(self._waiting)

    def unanswered(self) -> float | None:
        """The seconds for which the oldest outstanding paid request has had no answer; None: none is."""
        oldest = self._breaker.oldest()
        return None if oldest is None else max(0.0, self._clock.now() - oldest)

    @property
    def ended_at(self) -> float:
        """The loop's time at which a paid request was last answered or lost."""
        return self._breaker.ended_at

    @property
    def is_silent(self) -> bool:
        """Whether a paid request is open for long, and none was answered since it was sent."""
        return self._breaker.silent_since(self._clock.now()) is not None

    # --- paid requests

    @contextmanager
    def sending(self, attempt_id: str) -> Iterator[None]:
        """The block sends one paid request.

        It calls `sent` as the bytes leave, then `answered` or `lost` as soon as that is known.
        """
        self._breaker.began(attempt_id)
        try:
            yield
        finally:
            self._breaker.withdrawn(attempt_id)
            self._ended(attempt_id)

    def sent(self, attempt_id: str, key: str) -> None:
        """The bytes of the paid request leave now."""
        self._breaker.sent(attempt_id, self._clock.now())
        self._timers[attempt_id] = self._clock.loop.call_later(_UNANSWERED, _log_unanswered, key)

    def answered(self, attempt_id: str) -> None:
        """The paid request was answered, with an acceptance or a refusal."""
        self._breaker.answered(attempt_id, self._clock.now())
        self._ended(attempt_id)

    def lost(self, attempt_id: str) -> None:
        """The paid request may have been charged, and got no answer that says so."""
        self._breaker.lost(attempt_id, self._clock.now())
        self._ended(attempt_id)

    def _ended(self, attempt_id: str) -> None:
        timer = self._timers.pop(attempt_id, None)
        if timer is not None:
            timer.cancel()
        self._wake()

    # --- submissions

    async def acquire(self, permits: CallerPermits) -> Permit:
        """A permit for a submission, once it is not held back.

        Raises what `CallerPermits` raises, and `NotSent` where its ``max_wait`` ends before.
        """
        while True:
            await self._wait(permits)
            permit = await permits()
            if not self._holds():
                return permit
            permit.cancel()

    def close(self) -> None:
        """The session is being closed: what is held back ends with `SessionClosed`."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(SessionClosed("the session was closed"))

    def _holds(self) -> bool:
        return self._breaker.holds(self._clock.now())

    async def _wait(self, permits: CallerPermits) -> None:
        while self._holds():
            waiter: asyncio.Future[None] = self._clock.loop.create_future()
            self._waiting[waiter] = None
            self._probe()
            try:
                async with asyncio.timeout(permits.left()):
                    await waiter
            except TimeoutError:
                raise NotSent(self._reason(), retry_after=_PAUSES[-1]) from None
            finally:
                del self._waiting[waiter]

    def _reason(self) -> str:
        if self._breaker.losses >= LOSSES:
            return f"the last {self._breaker.losses} paid requests were lost; this one was not sent"
        return "the outstanding paid requests get no answer; this one was not sent"

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    # --- free requests

    def _probe(self) -> None:
        """Have free requests sent, unless the paid ones that are outstanding are only the first ones."""
        is_outage = self._breaker.unanswered_since(self._clock.now()) is not None
        if not is_outage or (self._probing is not None and not self._probing.done()):
            return
        reason = f"{self._reason()}, nor are others before a free request is answered"
        _log.warning("submissions are held back: %s", reason)
        self._hooks.emit(Paused(_PAUSES[0], reason))
        with suppress(SessionClosed):
            self._probing = self._tasks.spawn(self._run_probes(), "hoox-outage-probe")

    async def _run_probes(self) -> None:
        """Send a free request after each pause as long as a submission is held back."""
        sent = 0
        while self._waiting and self._holds():
            if await self._is_answered():
                self._breaker.answered_free(self._clock.now())
                self._wake()
            await asyncio.sleep(_PAUSES[min(sent, len(_PAUSES) - 1)])
            sent += 1

    async def _is_answered(self) -> bool:
        try:
            await self._reads.probe(await self._rate_limiter.acquire())
        except NO_ANSWER as error:
            _log.debug("a free request was not answered: %s", error)
            return False
        except HooxError:  # a refusal is an answer
            return True
        except Exception:  # a transport may raise anything; what is held back must be woken one day
            _log.exception("a free request failed")
            return False
        return True


def _log_unanswered(key: str) -> None:
    _log.warning("the paid request of %s has had no answer for %g s", key, _UNANSWERED)
