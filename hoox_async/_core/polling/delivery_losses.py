"""Learns the share of webhook deliveries that never come."""

from __future__ import annotations

from typing import NamedTuple

from ..._api.models import LookRef
from ..trouble import LATE_DELIVERY

_PRIOR_SHARE, _PRIOR_WEIGHT = 0.02, 50.0  # before any observation: one delivery of fifty is lost
_MEMORY = 100.0  # deliveries; older ones fade
_MAX_REMEMBERED = 1_000  # looks
_SHIFT_RATIO = 1.25


class _Undelivered(NamedTuple):
    accepted_at: float
    found_at: float


class DeliveryLosses:
    """Estimates the share of lost deliveries from those that were expected.

    It also knows the looks that polling has found since the last delivery. Times are the loop's, in seconds.
    """

    __slots__ = ("_found_by_polling", "_lost", "_planned_share", "_seen", "_undelivered", "share")

    def __init__(self) -> None:
        self._lost = self._seen = 0.0
        self._found_by_polling: dict[LookRef, None] = {}  # their deliveries may still come
        self._undelivered: list[_Undelivered] = []  # since the last delivery
        self.share = self._planned_share = _PRIOR_SHARE

    def came(self) -> None:
        """A delivery came, of whatever look."""
        self._undelivered.clear()

    def undelivered(self, now: float, since: float) -> int:
        """How many looks that were accepted after ``since`` are done without a delivery, and none came since.

        Those that were just found are not counted: their deliveries may be on the way.
        """
        self._undelivered = [look for look in self._undelivered if look.accepted_at > since]
        return sum(now - look.found_at >= LATE_DELIVERY for look in self._undelivered)

    def delivered(self) -> None:
        """A delivery came before a status request found its look settled."""
        self.came()
        self._count(0.0)

    def found_by_polling(self, ref: LookRef, accepted_at: float, now: float) -> None:
        """A status request found the look settled, and no delivery has come so far."""
        if len(self._undelivered) < _MAX_REMEMBERED:
            self._undelivered.append(_Undelivered(accepted_at, now))
        self._found_by_polling[ref] = None
        if len(self._found_by_polling) > _MAX_REMEMBERED:
            del self._found_by_polling[next(iter(self._found_by_polling))]
        self._count(1.0)

    def delivered_late(self, ref: LookRef) -> None:
        """A look that a status request had found settled was delivered after all: it was not lost."""
        self.came()
        if ref in self._found_by_polling:
            del self._found_by_polling[ref]
            self._lost = max(self._lost - 1.0, 0.0)
            self._refresh()

    def has_shifted(self) -> bool:
        """Whether the share has changed by a quarter since this was last true."""
        ratio = self.share / self._planned_share
        if 1.0 / _SHIFT_RATIO < ratio < _SHIFT_RATIO:
            return False
        self._planned_share = self.share
        return True

    def _count(self, lost: float) -> None:
        fade = 1.0 - 1.0 / _MEMORY
        self._lost = self._lost * fade + lost
        self._seen = self._seen * fade + 1.0
        self._refresh()

    def _refresh(self) -> None:
        prior = _PRIOR_SHARE * _PRIOR_WEIGHT
        self.share = (self._lost + prior) / (self._seen + _PRIOR_WEIGHT)
