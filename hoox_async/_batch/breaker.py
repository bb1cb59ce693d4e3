"""Holds a batch's paid requests back while the API does not answer them: the circuit breaker at the rate
limiter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from .._core.circuit_breaker import LOSSES, PAUSES, CircuitBreaker, Go, Hold
from .._session.rate_limiter import Permit
from .._session.services import SessionServices
from ..errors import HooxError, OutcomeUnknown
from ..events import Paused

_log = logging.getLogger("hoox_async")


class BatchBreaker:
    """The one place of a run that knows its outstanding POSTs, and whether another may be sent.

    ``give_up(reason)`` is called when the last probe was lost.
    """

    def __init__(
        self, services: SessionServices, max_failures: int | None, give_up: Callable[[HooxError], None]
    ) -> None:
        self._services = services
        self._give_up = give_up
        self._core = CircuitBreaker(trial=LOSSES if max_failures is None else min(LOSSES, max_failures))
        self._taken: dict[
            Permit, bool
        ] = {}  # permits of POSTs that have not ended, and whether each is a probe
        self._is_holding = False
        self._is_paused = False
        self._notices_silence = False
        self._timer: asyncio.TimerHandle | None = None

    def posts(self, ready: Callable[[], bool], got_permit: Callable[[], None], since: float) -> ItemPosts:
        """The POSTs of one item. ``ready``: whether it can go; ``got_permit`` is told that it has its
        permit."""
        return ItemPosts(self, ready, got_permit, since)

    def close(self) -> None:
        """The run is over."""
        if self._timer is not None:
            self._timer.cancel()

    async def acquire_permit(self, ready: Callable[[], bool], since: float) -> Permit:
        """A permit of the quota, once another POST may be sent."""
        rate_limiter = self._services.rate_limiter
        while True:
            permit = await rate_limiter.batch(lambda: ready() and self._may_go(), since=since)
            decision = self._decide()  # several may have got a permit in the same turn of the loop
            if isinstance(decision, Go):
                self._taken[permit] = decision.probe
                if decision.probe:
                    self._core.probe()
                else:
                    self._resume()
                return permit
            permit.cancel()

    def ended(self, permit: Permit, *, answered: bool, lost: bool) -> None:
        """What became of a POST. Neither: nobody here will hear of its end."""
        probe = self._taken.pop(permit)
        now = self._services.clock.now()
        if permit.sent_at is None or not (answered or lost):
            self._core.withdrawn(probe=probe)
        elif answered:
            self._core.answered(now)
            self._resume()
        else:
            self._count_loss(now, probe)
        if self._is_holding:
            self._is_holding = False
            self._services.clock.loop.call_soon(
                self._services.rate_limiter.wake
            )  # not before a failure is counted

    def _count_loss(self, now: float, probe: bool) -> None:
        pause = self._core.lost(now, probe=probe)
        losses = self._core.losses
        if pause is not None:
            self._timer = self._services.clock.loop.call_at(now + pause, self._services.rate_limiter.wake)
            self._pause(pause, f"{losses} paid requests in a row were lost")
        elif self._core.gave_up:
            reason = f"{losses} paid requests in a row were lost, and with them {len(PAUSES)} probes"
            self._give_up(HooxError(f"the API does not answer: {reason}"))

    def _decide(self) -> Go | Hold:
        outstanding = sum(not permit.given_back for permit in self._taken)
        return self._core.decide(self._services.clock.now(), outstanding, self._oldest())

    def _oldest(self) -> float | None:
        """When the oldest outstanding POST was sent."""
        return min((permit.sent_at for permit in self._taken if permit.sent_at is not None), default=None)

    def _may_go(self) -> bool:
        decision = self._decide()
        if isinstance(decision, Go):
            return True
        self._is_holding = True
        if decision.silent and not self._is_paused and not self._notices_silence:
            self._notices_silence = True  # hooks are told outside of the rate limiter's own turn
            self._services.clock.loop.call_soon(self._tell_silence)
        return False

    # --- telling

    def _tell_silence(self) -> None:
        self._notices_silence = False
        since = self._oldest()
        if self._is_paused or since is None:
            return
        left = self._services.timeouts.answer - (self._services.clock.now() - since)
        self._pause(max(0.0, left), "the outstanding paid requests get no answer")

    def _pause(self, seconds: float, reason: str) -> None:
        self._is_paused = True
        _log.warning("a batch sends nothing new for %g s at most: %s", round(seconds, 1), reason)
        self._services.hooks.emit(Paused(seconds, reason))

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            _log.warning("the batch goes on")


class ItemPosts:
    """The POSTs that an item takes until one is accepted, refused or lost: use it around the sending.

    A second one is sent only after the first surely cost nothing.
    """

    def __init__(
        self, breaker: BatchBreaker, ready: Callable[[], bool], got_permit: Callable[[], None], since: float
    ) -> None:
        self._breaker = breaker
        self._ready = ready
        self._got_permit = got_permit
        self._since = since
        self._permit: Permit | None = None
        self.lost = False
        """Whether a POST of this item's own was lost."""

    async def acquire_permit(self) -> Permit:
        """The next permit of this item: see `SendOptions.acquire_permit`."""
        self._ended(answered=True, lost=False)  # by a 429, or it never left
        self._permit = await self._breaker.acquire_permit(self._ready, self._since)
        self._got_permit()
        return self._permit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = isinstance(error, OutcomeUnknown)
        self.lost = lost and self._permit is not None and self._permit.sent_at is not None
        self._ended(answered=not lost and (error is None or isinstance(error, Exception)), lost=lost)

    def _ended(self, *, answered: bool, lost: bool) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            self._breaker.ended(permit, answered=answered, lost=lost)
