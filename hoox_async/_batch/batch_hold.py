"""Holds a batch's paid requests back while the API does not answer.

`_core.circuit_breaker` decides when to hold, pause, probe and stop. This module applies its decisions to the
permits and the outstanding POSTs of one run.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

from .._core.circuit_breaker import LOSSES, PAUSES, BatchBreaker, Go, Hold
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._session.rate_limiter import Permit, RateLimiter
from ..errors import HooxError, OutcomeUnknown
from ..events import Paused
from .items import Item
from .stop_signal import StopSignal
from .window import BatchWindow

_log = logging.getLogger("hoox_async")
_EARLY = 0.05  # seconds by which a loop may call a timer early: the resolution of its clock, 16 ms on Windows


class BatchHold:
    """Tracks the outstanding POSTs of a run, and decides whether another may be sent.

    It stops the run when the last probe was lost.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        rate_limiter: RateLimiter,
        hooks: Hooks,
        answer_timeout: float,
        max_failures: int | None,
        stop: StopSignal,
        window: BatchWindow,
    ) -> None:
        self._clock = clock
        self._rate_limiter = rate_limiter
        self._hooks = hooks
        self._answer_timeout = answer_timeout
        self._stop = stop
        self._window = window
        self._breaker = BatchBreaker(trial=LOSSES if max_failures is None else min(LOSSES, max_failures))
        self._outstanding: dict[Permit, bool] = {}  # permit → whether its POST is a probe
        self._is_holding = False
        self.is_paused = False
        """Whether paid requests are held back since they get no answer."""
        self._reports_silence = False
        self._timer: asyncio.TimerHandle | None = None

    def sending(self, item: Item, since: float) -> HeldSending:
        """A context manager for sending an item. ``since`` is the loop's time at which it began."""
        return HeldSending(self, item, since)

    def close(self) -> None:
        """The run is over."""
        if self._timer is not None:
            self._timer.cancel()

    async def acquire_permit(self, item: Item, since: float) -> Permit:
        """A permit of the quota, once another POST may be sent. Pass it to `end` when the POST has ended.

        Raises `RateLimited`, `AuthenticationError` and `SessionClosed`.
        """
        while True:
            permit = await self._rate_limiter.acquire_for_batch(self._may_send, since=since)
            decision = self._decide()  # several may have got a permit in the same turn of the loop
            if isinstance(decision, Go):
                self._outstanding[permit] = decision.probe
                if decision.probe:
                    self._breaker.probe()
                else:
                    self._resume()
                self._window.got_permit(item)
                return permit
            permit.cancel()

    def end(self, permit: Permit, *, answered: bool, lost: bool) -> None:
        """Count the outcome of a POST. Neither ``answered`` nor ``lost``: it will not be known here."""
        probe = self._outstanding.pop(permit)
        now = self._clock.now()
        if permit.sent_at is None or not (answered or lost):
            self._breaker.withdrawn(probe=probe)
        elif answered:
            self._breaker.answered(now)
            self._resume()
        else:
            self._count_loss(now, probe)
        if self._is_holding:
            self._is_holding = False
            # in the loop's next turn, when the run has counted this item as a failure if it is one
            self._clock.loop.call_soon(self._rate_limiter.wake)

    def _count_loss(self, now: float, probe: bool) -> None:
        pause = self._breaker.lost(now, probe=probe)
        losses = self._breaker.losses
        if pause is not None:
            until = now + pause + _EARLY
            self._timer = self._clock.loop.call_at(until, self._rate_limiter.wake)
            self._pause(pause, f"{losses} paid requests in a row were lost")
        elif self._breaker.stopped:
            reason = f"{losses} paid requests in a row were lost, and with them {len(PAUSES)} probes"
            self._stop.set(HooxError(f"the API does not answer: {reason}"))

    def _decide(self) -> Go | Hold:
        outstanding = sum(not permit.is_cancelled for permit in self._outstanding)
        return self._breaker.decide(self._clock.now(), outstanding, self._oldest_sent_at())

    def _oldest_sent_at(self) -> float | None:
        """When the oldest outstanding POST was sent of those that were sent after the last answer."""
        sent = [permit.sent_at for permit in self._outstanding if permit.sent_at is not None]
        return min((at for at in sent if at >= self._breaker.answered_at), default=None)

    def _may_send(self) -> bool:
        decision = self._decide()
        if isinstance(decision, Go):
            return True
        self._is_holding = True
        if decision.silent and not self.is_paused and not self._reports_silence:
            self._reports_silence = True  # not now: the rate limiter is deciding, and a hook may call it
            self._clock.loop.call_soon(self._report_silence)
        return False

    # --- reporting

    def _report_silence(self) -> None:
        self._reports_silence = False
        since = self._oldest_sent_at()
        if self.is_paused or since is None:
            return
        left = self._answer_timeout - (self._clock.now() - since)
        self._pause(max(0.0, left), "the outstanding paid requests get no answer")

    def _pause(self, seconds: float, reason: str) -> None:
        self.is_paused = True
        _log.warning("a batch sends nothing new for %g s at most: %s", round(seconds, 1), reason)
        self._hooks.emit(Paused(seconds, reason))

    def _resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            _log.warning("the batch goes on")


class HeldSending:
    """The POSTs of one item until one is accepted, refused or lost: a ``with`` block around its sending.

    A second POST is sent only after the first certainly cost nothing.
    """

    def __init__(self, hold: BatchHold, item: Item, since: float) -> None:
        self._hold = hold
        self._item = item
        self._since = since
        self._permit: Permit | None = None
        self.lost = False
        """Whether a POST of this item was lost."""

    async def acquire_permit(self) -> Permit:
        """A permit for the next POST of the item."""
        self.end_last()
        self._permit = await self._hold.acquire_permit(self._item, self._since)
        return self._permit

    def end_last(self) -> None:
        """The item's last POST, if there was one, was answered 429, or never left."""
        self._end(answered=True, lost=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = isinstance(error, OutcomeUnknown)
        self.lost = lost and self._permit is not None and self._permit.sent_at is not None
        self._end(answered=not lost and (error is None or isinstance(error, Exception)), lost=lost)

    def _end(self, *, answered: bool, lost: bool) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            self._hold.end(permit, answered=answered, lost=lost)
