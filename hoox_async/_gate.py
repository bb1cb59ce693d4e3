"""The one place where requests wait for the quota. It has no task: a timer and those who come wake it.

Who goes first when a slot is free: who has been passed over for 10 s (the batch as a whole and the watcher,
once each), then a caller's own requests, then the watcher where a status request is worth more than a
submission, then the batch, then the watcher where it is worth a slot that nobody else wants.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable

from ._clock import Clock
from ._core.models import QuotaSnapshot, ServerQuota
from ._core.quota import Window
from ._slot import Slot
from .errors import NotSent, SessionClosed

__all__ = ["Gate", "Slot"]

_log = logging.getLogger("hoox_async")
PATIENCE = 10.0
_AFTER_FAILURE = 1.0  # seconds until it is decided anew who can go
OnPause = Callable[[float, str], None]
Ready = Callable[[], bool]
Due = Callable[[float, bool], float]


class _Claim:
    """Somebody who waits for a slot."""

    __slots__ = ("due", "due_since", "ready", "slot")

    def __init__(self, slot: asyncio.Future[Slot], ready: Ready | None, due: Due | None) -> None:
        self.slot = slot
        self.ready = ready
        self.due = due
        self.due_since: float | None = None

    def can_go(self) -> bool:
        if self.slot.done():
            return False
        try:
            return self.ready is None or self.ready()
        except Exception as error:
            self.slot.set_exception(error)  # for who waits here, not for who happens to look
            return False

    def due_at(self, now: float, busy: bool) -> float:
        """From when the watcher wants a slot. Notes since when it has been wanting one."""
        at = math.inf
        if self.due is not None and not self.slot.done():
            try:
                at = self.due(now, busy)
            except Exception as error:
                self.slot.set_exception(error)  # as above
        if at > now:
            self.due_since = None
        elif self.due_since is None:
            self.due_since = now
        return at


class Gate:
    """Hands out the slots of the quota, one by one, to those who wait.

    ``limit`` is in requests a minute. ``on_pause(seconds, reason)`` is told when a 429 stops everything.
    All waits end with `SessionClosed` when the gate is closed, and a wait that is cancelled costs nothing.
    """

    def __init__(self, clock: Clock, limit: int, *, on_pause: OnPause | None = None) -> None:
        self.clock = clock
        self.window = Window(limit)
        self.last_sent_at: float | None = None
        self._on_pause = on_pause
        self._own: dict[_Claim, None] = {}  # dicts: in order, and left in O(1) by who is cancelled
        self._batch: dict[_Claim, None] = {}
        self._watch: _Claim | None = None
        self._batch_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf  # kept here: uvloop's call_at can return a handle without `.when()`
        self._serving = False
        self._closed = False
        # until when a slot that is free is wanted by nobody who waits; -inf: somebody waits for one
        self._unwanted_until = math.inf

    async def own(self, max_wait: float | None = None) -> Slot:
        """A slot for a caller's own read or single submission, in the order of their coming.

        Raises `NotSent`, with ``retry_after``, when that takes longer than ``max_wait`` seconds: at once
        where it is foreseen.
        """
        slot = self.free_slot()
        if slot is not None:
            return slot
        claim = self._claim()
        self._own[claim] = None
        self.kick()
        if max_wait is None or claim.slot.done():
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

    def free_slot(self) -> Slot | None:
        """A slot that is free and that nobody who waits would have, for whoever asks now; else None."""
        now = self.clock.now()
        if now >= self._unwanted_until or self.window.earliest(now) > now:
            return None
        return Slot(self, self.window.take(now))

    async def batch(self, ready: Ready | None = None) -> Slot:
        """A slot for an item of a batch: the first to come whose ``ready()`` is true when one is free."""
        claim = self._claim(ready)
        self._batch[claim] = None
        self.kick()
        return await self._wait(claim)

    async def watch(self, due: Due) -> Slot:
        """A slot for the watcher, who waits alone.

        ``due(now, busy)`` is the loop's time from which a status request is worth a slot; ``inf`` for
        never, as things are. ``busy``: an item of a batch could have that slot.
        """
        if self._watch is not None:
            raise RuntimeError("only one watcher can wait at the gate")
        claim = self._watch = self._claim(due=due)
        self.kick()
        return await self._wait(claim)

    def kick(self) -> None:
        """Look again who can go: something that ``ready`` or ``due`` depend on may have changed.

        It never raises: whoever calls this, as a paid POST does, must not fail for those who wait.
        """
        self._look_again()

    def slots_changed(self) -> None:
        """What the quota has left has changed. That concerns those only who wait for a slot. Never raises."""
        if self._unwanted_until == -math.inf:
            self._look_again()

    def _look_again(self) -> None:
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

    @property
    def busy(self) -> bool:
        """Whether an item of a batch could have the next slot."""
        return _first(self._batch) is not None

    def observe(self, quota: ServerQuota, slot: Slot | None = None) -> None:
        """Take in an answer's quota headers. ``slot`` is its request's; the one that ended last, if None."""
        sent_at = self.last_sent_at if slot is None else slot.sent_at
        self.window.observe(self.clock.now(), quota, sent_at)
        self.slots_changed()

    def pause(self, seconds: float | None, reason: str) -> None:
        """A 429: nothing goes for so many seconds; None means until the server's reset, or for a minute."""
        now = self.clock.now()
        known = self.window.paused_until
        lasts = self.window.pause(now, seconds)
        if self._on_pause is not None and (now >= known or now + lasts > known + 1.0):
            self._on_pause(lasts, reason)
        self.slots_changed()

    def snapshot(self) -> QuotaSnapshot:
        """The quota as it stands now."""
        return self.window.snapshot(self.clock.now())

    def restore(self, sent_at: Iterable[float]) -> None:
        """Count requests of an earlier process, by the loop's times at which they went out."""
        now = self.clock.now()
        self.window.restore(now, (now - at for at in sent_at))

    def close(self) -> None:
        """End all waits with `SessionClosed`. Slots in hand can still be used and let go."""
        self._closed = True
        self._unwanted_until = -math.inf
        self._arm(math.inf)
        watch = () if self._watch is None else (self._watch,)
        claims = (*self._own, *self._batch, *watch)
        self._own, self._batch, self._watch = {}, {}, None
        for claim in claims:
            if not claim.slot.done():
                claim.slot.set_exception(_closed())

    def _claim(self, ready: Ready | None = None, due: Due | None = None) -> _Claim:
        if self._closed:
            raise _closed()
        return _Claim(self.clock.loop.create_future(), ready, due)

    async def _wait(self, claim: _Claim) -> Slot:
        try:
            return await claim.slot
        except BaseException:
            self._leave(claim)
            raise

    def _leave(self, claim: _Claim) -> None:
        """Give up the place, or the slot where that came in the same instant."""
        self._take_out(claim)
        if claim.slot.done() and not claim.slot.cancelled() and claim.slot.exception() is None:
            claim.slot.result().give_back()
        self.kick()

    def _run_out(self, claim: _Claim) -> None:
        self.kick()  # a slot that is free in this very instant is still in time
        if not claim.slot.done():
            claim.slot.set_exception(_too_long(self._foresee(claim)))
            self._own.pop(claim, None)

    def _foresee(self, claim: _Claim) -> float:
        ahead = next((n for n, other in enumerate(self._own) if other is claim), 0)
        now = self.clock.now()
        return self.window.expect(now, ahead) - now

    def _serve(self) -> float:
        """Hand out what is free now; returns when to look again."""
        self._unwanted_until = -math.inf
        while self._own or self._batch or self._watch is not None:
            now = self.clock.now()
            free_at = self.window.earliest(now)
            if free_at > now:
                return free_at
            claim, look_again = self._pick(now)
            if claim is None:
                self._unwanted_until = look_again
                return look_again
            claim.slot.set_result(Slot(self, self.window.take(now)))
        self._unwanted_until = math.inf
        return math.inf

    def _pick(self, now: float) -> tuple[_Claim | None, float]:
        """Who goes now; or nobody, and from when the watcher would."""
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

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            if self._timer_at == at and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = None if math.isinf(at) else self.clock.loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.kick()


def _first(claims: Iterable[_Claim]) -> _Claim | None:
    return next((claim for claim in claims if claim.can_go()), None)


def _passed_over(since: float | None, now: float) -> bool:
    return since is not None and now - since >= PATIENCE


def _too_long(seconds: float) -> NotSent:
    return NotSent(f"the quota has no slot for about {seconds:.1f} s; nothing was sent", retry_after=seconds)


def _closed() -> SessionClosed:
    return SessionClosed("the session is closed")
