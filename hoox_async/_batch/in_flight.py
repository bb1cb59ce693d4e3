"""How many items of a run are in flight, which of them wait for a permit, and how many are failures."""

from __future__ import annotations

import asyncio

from .._api.models import Look, LookStatus
from ..errors import HooxError
from .items import Item
from .stop_signal import StopSignal

_MAX_WAITING = 32  # enough that no permit is lost, few enough that a better item can still be chosen


class InFlightLimiter:
    """Limits how many items are in flight to ``limit``; each of them holds a `Ticket`.

    After ``max_failures`` failures it stops the run. ``changed`` is set whenever another item may start.

    A look that FAILED frees its place before the reason is known, which takes another request: it must
    neither block other items nor be counted late. At most ``limit`` items wait for a reason.
    """

    def __init__(
        self, limit: int, max_failures: int | None, stop: StopSignal, changed: asyncio.Event
    ) -> None:
        self._limit = limit
        self._max_failures = max_failures
        self._stop = stop
        self._changed = changed
        self._in_flight = 0
        self._await_reason = 0
        self._failures = 0
        self._await_permit: set[str] = set()  # keys of items

    @property
    def is_full(self) -> bool:
        """Whether no item may start."""
        return self._in_flight >= self._limit

    @property
    def enough_await_permits(self) -> bool:
        """Whether enough items wait for a permit of the quota, so that no further one should start."""
        return len(self._await_permit) >= _MAX_WAITING

    def start(self, item: Item) -> Ticket:
        """Put an item in flight."""
        self._in_flight += 1
        if item.needs_sending:
            self._await_permit.add(item.key)
        return Ticket(self, item.key)

    def _got_permit(self, key: str) -> None:
        self._await_permit.discard(key)
        self._changed.set()

    def _free_place(self) -> None:
        self._in_flight -= 1
        self._changed.set()

    def _begin_reason(self) -> bool:
        """Count one more item that waits for a reason. False if that would be too many."""
        if self._await_reason >= self._limit:
            return False
        self._await_reason += 1
        return True

    def _end_reason(self) -> None:
        self._await_reason -= 1

    def _count_failure(self, change: int) -> None:
        self._failures += change
        if self._failures == self._max_failures:
            message = f"{self._failures} looks failed, were rejected or were lost (max_failures)"
            self._stop.set(HooxError(message))


class Ticket:
    """The place of one item in flight."""

    def __init__(self, limiter: InFlightLimiter, key: str) -> None:
        self._limiter = limiter
        self._key = key
        self._is_freed = False
        self._awaits_reason = False
        self._is_failure = False

    def got_permit(self) -> None:
        """The item has its permit of the quota, or needs none."""
        self._limiter._got_permit(self._key)

    def look_settled(self, look: Look) -> None:
        """Its look is READY or FAILED."""
        if look.status is LookStatus.FAILED:
            self.count_failure()
            self._awaits_reason = not self._is_freed and self._limiter._begin_reason()
            if self._awaits_reason:
                self._free()

    def count_failure(self) -> None:
        """Count the item as a failure: it failed, was rejected, or its POST was lost. Counted once."""
        if not self._is_failure:
            self._is_failure = True
            self._limiter._count_failure(1)

    def clear_failure(self) -> None:
        """It is not a failure any more: the look of its lost POST was found, or a second POST made one."""
        if self._is_failure:
            self._is_failure = False
            self._limiter._count_failure(-1)

    def finish(self) -> None:
        """The item has its outcome: free its place."""
        if self._awaits_reason:
            self._awaits_reason = False
            self._limiter._end_reason()
        self.got_permit()
        self._free()

    def _free(self) -> None:
        if not self._is_freed:
            self._is_freed = True
            self._limiter._free_place()
