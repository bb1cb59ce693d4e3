"""The one count of a run: its items from being read until their outcomes are taken, and what bounds them."""

from __future__ import annotations

import asyncio
from collections import deque
from decimal import Decimal

from .._api.models import Look, LookStatus
from .._api.requests import FREE
from .._core.intents.intent import Intent
from .._core.intents.outcomes import Outcome, OutcomeState
from ..errors import HooxError
from .items import Item
from .stop_signal import StopSignal

MAX_UNSENT = 20_000
"""Items that are read and not sent yet, at most."""
ENOUGH_UNSENT = 1_000
"""The same, where more of them would not help to choose which one is sent next."""
MAX_UNDELIVERED = 1_000
"""Looks in flight and outcomes that were not taken, at most (or twice ``max_in_flight``)."""
_MAX_AWAITING_PERMITS = 32  # enough that no permit is lost, few enough to choose a better item still


class BatchWindow:
    """The items of a run that were read and whose outcomes were not taken: unsent, in flight, or ended.

    Unsent items cost memory alone, about 1 KB each (``benchmarks/prefetch.py``): as many are read ahead as it
    takes to send many looks of one avatar in a row. What is in flight, or has an outcome that was not taken,
    may have been paid: this has a limit of its own, so that nothing more is paid when the reader stops
    reading.

    At most ``max_in_flight`` items hold a place in flight. A look that FAILED frees its place before the
    reason is known, which takes another request: it must neither block other items nor be counted late. As
    many again may wait for a reason. After ``max_failures`` failures the run is stopped.

    ``changed`` is set whenever something changes that a task of the run, or its reader, waits for.
    """

    def __init__(
        self, max_in_flight: int, max_failures: int | None, stop: StopSignal, changed: asyncio.Event
    ) -> None:
        self.changed = changed
        self._max_in_flight = max_in_flight
        self._max_undelivered = max(MAX_UNDELIVERED, 2 * max_in_flight)
        self._max_failures = max_failures
        self._stop = stop
        self._size = 0  # unsent, in flight and with an outcome
        self._await_permit: set[Item] = set()
        self._with_place: set[Item] = set()
        self._await_reason: set[Item] = set()
        self._outcomes: deque[tuple[int, Outcome]] = deque()
        self._failures = 0
        self._closed = False
        self.done = 0
        """How many outcomes were put."""
        self.unknown = 0
        """How many of them are UNKNOWN."""
        self.credits = Decimal(0)
        """What the items with an outcome and those that were admitted have cost or put at risk."""

    @property
    def _undelivered(self) -> int:
        return len(self._with_place) + len(self._await_reason) + len(self._outcomes)

    async def wait(self) -> None:
        """Wait until something changes."""
        self.changed.clear()
        await self.changed.wait()

    # --- unsent

    def room(self, *, enough: bool) -> int:
        """How many more items may be read now. ``enough``: more would not help to choose what is sent."""
        unsent = self._size - self._undelivered
        most = ENOUGH_UNSENT if enough else MAX_UNSENT
        return min(most - unsent, self._max_undelivered - self._undelivered)

    def read(self, count: int) -> None:
        """Count items that were read."""
        self._size += count

    # --- in flight

    def may_start(self) -> bool:
        """Whether one more item may be put in flight."""
        return len(self._with_place) < self._max_in_flight and self._undelivered < self._max_undelivered

    def may_send(self) -> bool:
        """Whether it may be one that waits for a permit of the quota: few enough of them do."""
        return len(self._await_permit) < _MAX_AWAITING_PERMITS

    def start(self, item: Item) -> None:
        """Put an item in flight."""
        self._with_place.add(item)
        if item.needs_sending:
            self._await_permit.add(item)
        self.changed.set()

    def got_permit(self, item: Item) -> None:
        """The item has its permit of the quota, or needs none."""
        self._await_permit.discard(item)
        self.changed.set()

    def look_settled(self, item: Item, look: Look) -> None:
        """The item's look is READY or FAILED."""
        if look.status is not LookStatus.FAILED:
            return
        self.count_failure(item)
        if len(self._await_reason) < self._max_in_flight and item in self._with_place:
            self._with_place.discard(item)
            self._await_reason.add(item)
            self.changed.set()

    def finish(self, item: Item) -> None:
        """The item is not in flight any more; its outcome is put next."""
        for items in (self._await_permit, self._with_place, self._await_reason):
            items.discard(item)
        self.changed.set()

    @property
    def in_flight(self) -> int:
        """How many items were sent or resumed and have no outcome yet."""
        return len(self._with_place) - len(self._await_permit) + len(self._await_reason)

    def count_paid(self, item: Item, intent: Intent) -> None:
        """Count what an item has cost or put at risk so far, by its intent. Its outcome replaces this.

        Of a repeated key the credits may be in the outcome of the first item: it is counted at its end.
        """
        if not item.repeated:
            paid = intent.spent + intent.at_risk
            self.credits += paid - item.paid
            item.paid = paid

    # --- failures

    def count_failure(self, item: Item) -> None:
        """Count the item as a failure: it failed, was rejected, or its POST was lost. Counted once."""
        if item.is_failure:
            return
        item.is_failure = True
        self._failures += 1
        if self._failures == self._max_failures:
            message = f"{self._failures} looks failed, were rejected or were lost (max_failures)"
            self._stop.set(HooxError(message))

    def clear_failure(self, item: Item) -> None:
        """It is not a failure any more: the look of its lost POST was found, or a second POST made one."""
        if item.is_failure:
            item.is_failure = False
            self._failures -= 1

    # --- outcomes

    def put(self, index: int, outcome: Outcome, item: Item | None = None) -> None:
        """Add the outcome of an item that is not in flight, with its index in the input.

        ``item``: None for one that was never admitted.
        """
        self.done += 1
        self.unknown += outcome.state is OutcomeState.UNKNOWN
        self.credits += outcome.credits + outcome.at_risk - (FREE if item is None else item.paid)
        self._outcomes.append((index, outcome))
        self.changed.set()

    def close(self) -> None:
        """No more outcomes will come."""
        self._closed = True
        self.changed.set()

    async def take(self) -> tuple[int, Outcome] | None:
        """Take the next outcome, in the order in which they were put; None when no more will come."""
        while not self._outcomes:
            if self._closed:
                return None
            await self.wait()
        self._size -= 1
        self.changed.set()
        return self._outcomes.popleft()
