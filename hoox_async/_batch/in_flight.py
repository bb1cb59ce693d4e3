"""Which items are in flight: how many may be, which wait at the rate limiter, and which have landed as
failures."""

from __future__ import annotations

from collections.abc import Callable

from .._api.models import Look, LookStatus
from .items import Item

_AT_GATE = 32  # enough that a permit is never lost, few enough that who comes later can still be chosen


class InFlightLimiter:
    """The places of a run, ``most`` at a time.

    A look that failed leaves its place before its reason is known, which is asked for last: it must
    neither keep others from being sent nor be counted late. Those that still wait for a reason are as
    many at most as there are places.
    """

    def __init__(self, most: int, moved: Callable[[], None], failed: Callable[[int], None]) -> None:
        self._most = most
        self._moved = moved
        self._failed = failed
        self._in_flight = 0
        self._explaining = 0
        self._failures = 0
        self._at_gate: dict[str, str] = {}  # the avatar of each item there, by its key

    @property
    def full(self) -> bool:
        """Whether no item may take off."""
        return self._in_flight >= self._most

    @property
    def gate_is_full(self) -> bool:
        """Whether enough items wait for a permit of the quota."""
        return len(self._at_gate) >= _AT_GATE

    def at_gate(self, avatar_id: str) -> bool:
        """Whether an item of this avatar waits for a permit."""
        return avatar_id in self._at_gate.values()

    def take_off(self, item: Item) -> Ticket:
        """Give the item a place."""
        self._in_flight += 1
        if item.needs_sending:
            self._at_gate[item.key] = item.source.avatar_id if item.source else ""
        return Ticket(self, item.key)

    def _got_permit(self, key: str) -> None:
        self._at_gate.pop(key, None)
        self._moved()

    def _landed(self) -> None:
        self._in_flight -= 1
        self._moved()

    def _explain(self, change: int) -> bool:
        """Count those that wait for a reason. False where one more would be too many."""
        if self._explaining + change > self._most:
            return False
        self._explaining += change
        return True

    def _count_failure(self, change: int) -> None:
        self._failures += change
        self._failed(self._failures)


class Ticket:
    """One item's place."""

    def __init__(self, in_flight: InFlightLimiter, key: str) -> None:
        self._in_flight = in_flight
        self._key = key
        self._is_left = False
        self._explains = False
        self._is_failure = False

    def got_permit(self) -> None:
        """It has its permit of the quota, or needs none."""
        self._in_flight._got_permit(self._key)

    def landed(self, look: Look) -> None:
        """Its look is READY or FAILED."""
        if look.status is LookStatus.FAILED:
            self.failed()
            self._explains = not self._is_left and self._in_flight._explain(1)
            if self._explains:
                self._leave()

    def failed(self) -> None:
        """It is a failure; counted once."""
        if not self._is_failure:
            self._is_failure = True
            self._in_flight._count_failure(1)

    def lost(self) -> None:
        """Its POST was lost: a failure until its look is found."""
        self.failed()

    def found(self) -> None:
        """It was no failure after all: the look of a lost POST was proved, or made by a second one."""
        if self._is_failure:
            self._is_failure = False
            self._in_flight._count_failure(-1)

    def over(self) -> None:
        """It has its outcome."""
        if self._explains:
            self._explains = False
            self._in_flight._explain(-1)
        self.got_permit()
        self._leave()

    def _leave(self) -> None:
        if not self._is_left:
            self._is_left = True
            self._in_flight._landed()
