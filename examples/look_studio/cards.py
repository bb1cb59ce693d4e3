"""One look on the page."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from enum import StrEnum
from typing import Any

import attrs

from hoox_async import Look, LookRef, Request

from .wishes import Order, Wish


class CardState(StrEnum):
    """The state of a card.

    FAILED was paid. UNKNOWN may have been, and so may LEFT, which is an unknown that the customer gave up.
    REFUSED and UNSENT cost nothing.
    """

    WAITING = "waiting"
    MAKING = "making"
    READY = "ready"
    FAILED = "failed"
    REFUSED = "refused"
    UNSENT = "unsent"
    UNKNOWN = "unknown"
    LEFT = "left"


@attrs.define(eq=False)
class Card:
    """A wish of an order and its state.

    ``reserved``: its credits are reserved in the budget. ``doubt`` names one loss of an UNKNOWN or LEFT card.
    A page sends it back with its decision, so that nothing is decided about a later loss, or twice. It is
    None while a decision is carried out. ``decisions`` counts those that were begun.
    """

    order: Order
    key: str
    wish: Wish
    request: Request
    state: CardState = CardState.WAITING
    reason: str | None = None
    ref: LookRef | None = None
    look: Look | None = None
    seconds: float | None = None
    reserved: bool = False
    doubt: str | None = None
    decisions: int = 0

    @property
    def id(self) -> str:
        """The card's id in URLs. It is made from its key, so it is the same after a restart."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:20]

    @property
    def credits(self) -> Decimal:
        """The price of the look, in credits."""
        return self.request.credits

    def shown(self) -> dict[str, Any]:
        """The card as JSON for the page."""
        wish = self.wish
        return {
            "id": self.id,
            "order": self.order.token,
            "again": self.order.again or None,
            "at": self.order.at.isoformat(),
            "kind": wish.kind,
            "name": wish.name,
            "source": wish.source or None,
            "prompt": wish.prompt,
            "style": wish.style,
            "format": wish.format,
            "resolution": wish.resolution,
            "credits": str(self.credits),
            "state": self.state.value,
            "reason": self.reason,
            "doubt": self.doubt,
            "ref": str(self.ref) if self.ref else None,
            "seconds": self.seconds,
        }


def cards_of(order: Order) -> list[Card]:
    """The cards of an order. Raises `InvalidRequest` for an invalid wish."""
    return [
        Card(order, order.key(index), wish, wish.request(order.customer))
        for index, wish in enumerate(order.wishes)
    ]
