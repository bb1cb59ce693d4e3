"""Which share of the webhook deliveries never comes, as far as was seen."""

from __future__ import annotations

from ..._api.models import LookRef

_PRIOR_SHARE, _PRIOR_WEIGHT = 0.02, 50.0  # before anything was seen: one delivery of fifty is lost
_MEMORY = 100.0  # deliveries; older ones fade
_KEPT = 1_000
_MOVED = 1.25


class DeliveryLosses:
    """Learns the share of lost deliveries from looks that were expected to be delivered."""

    __slots__ = ("_found", "_lost", "_planned", "_seen", "share")

    def __init__(self) -> None:
        self._lost = self._seen = 0.0
        self._found: dict[LookRef, None] = {}  # found by asking; their deliveries may still come
        self.share = self._planned = _PRIOR_SHARE

    def came(self) -> None:
        """A delivery came before the look was found by asking."""
        self._count(0.0)

    def found(self, ref: LookRef) -> None:
        """A status request found the look done, and no delivery has come so far."""
        self._found[ref] = None
        if len(self._found) > _KEPT:
            del self._found[next(iter(self._found))]
        self._count(1.0)

    def came_late(self, ref: LookRef) -> None:
        """The delivery of a look that was found by asking came after all: it was not lost."""
        if ref in self._found:
            del self._found[ref]
            self._lost = max(self._lost - 1.0, 0.0)
            self._refresh()

    def moved(self) -> bool:
        """Whether the share has changed by a quarter since this was last true."""
        ratio = self.share / self._planned
        if 1.0 / _MOVED < ratio < _MOVED:
            return False
        self._planned = self.share
        return True

    def _count(self, lost: float) -> None:
        fade = 1.0 - 1.0 / _MEMORY
        self._lost = self._lost * fade + lost
        self._seen = self._seen * fade + 1.0
        self._refresh()

    def _refresh(self) -> None:
        prior = _PRIOR_SHARE * _PRIOR_WEIGHT
        self.share = (self._lost + prior) / (self._seen + _PRIOR_WEIGHT)
