"""All cards and each customer's budget. It handles events, publishes changes, and does no I/O."""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import Any, NamedTuple

from hoox_async import (
    Budget,
    BudgetExceeded,
    Event,
    Look,
    LookAccepted,
    LookRef,
    LookSettled,
    LookStatus,
    Outcome,
    OutcomeLost,
    OutcomeState,
    Paused,
)

from .cards import Card, CardState, cards_of
from .feed import Feed
from .wishes import Order

_STATES = {
    OutcomeState.READY: CardState.READY,
    OutcomeState.FAILED: CardState.FAILED,
    OutcomeState.REJECTED: CardState.REFUSED,
    OutcomeState.UNKNOWN: CardState.UNKNOWN,
    OutcomeState.SKIPPED: CardState.LEFT,  # an unknown that was dropped
    OutcomeState.PENDING: CardState.MAKING,
}
_IN_DOUBT = (CardState.UNKNOWN, CardState.LEFT)


class Doubt(NamedTuple):
    """An UNKNOWN or LEFT card before a decision about it is carried out."""

    state: CardState
    doubt: str | None
    reason: str | None


class Board:
    """The cards on the pages. ``cap`` is the number of credits that each customer may spend."""

    def __init__(self, cap: Decimal, feed: Feed) -> None:
        self._cap = cap
        self._feed = feed
        self._orders: dict[tuple[str, str], list[Card]] = {}
        self._by_key: dict[str, Card] = {}
        self._by_id: dict[str, Card] = {}
        self._budgets: dict[str, Budget] = {}

    def budget(self, customer: str) -> Budget:
        """The customer's budget."""
        if customer not in self._budgets:
            self._budgets[customer] = Budget(self._cap)
        return self._budgets[customer]

    def order(self, customer: str, token: str) -> list[Card] | None:
        """The cards of an order, if it is known."""
        return self._orders.get((customer, token))

    def card(self, customer: str, card_id: str) -> Card | None:
        """One card of this customer's."""
        card = self._by_id.get(card_id)
        return card if card is not None and card.order.customer == customer else None

    def sources(self, customer: str) -> dict[str, str]:
        """The customer's looks that are ready, avatars and edits: the avatar's name by ref."""
        cards = (card for card in self._by_key.values() if card.order.customer == customer)
        return {str(card.ref): card.wish.name for card in cards if card.state is CardState.READY}

    def avatar_ids(self) -> set[str]:
        """The avatars of all customers' looks."""
        return {card.ref.avatar_id for card in self._by_key.values() if card.ref is not None}

    def state(self, customer: str) -> dict[str, Any]:
        """Everything that a page of this customer shows."""
        cards = [card.shown() for card in self._by_key.values() if card.order.customer == customer]
        return {"customer": customer, "cards": cards, "credits": self._credits(customer)}

    def _credits(self, customer: str) -> dict[str, str]:
        budget = self.budget(customer)
        return {"left": str(budget.left), "cap": str(budget.max_credits)}

    # --- orders

    def place(self, order: Order) -> list[Card]:
        """Add an order and reserve its credits: all of it or nothing. Raises `BudgetExceeded`.

        ``session.submit(…, budget=…)`` reserves the credits of one look at a time, so that half of an order
        could be made. A free look always fits.
        """
        cards = cards_of(order)
        budget, cost = self.budget(order.customer), sum((card.credits for card in cards), Decimal(0))
        if not budget.allows(cost):
            raise BudgetExceeded(
                f"This costs {cost} credits and {budget.left} of {budget.max_credits} are left. "
                "Nothing was started."
            )
        for card in cards:
            self.reserve(card)
        self.add(order, cards)
        for card in cards:
            self._publish(card)
        return cards

    def add(self, order: Order, cards: list[Card]) -> None:
        """Add the cards of an order."""
        self._orders[order.customer, order.token] = cards
        for card in cards:
            self._by_key[card.key] = self._by_id[card.id] = card

    def remove(self, order: Order) -> None:
        """Remove an order that could not be written to the journal."""
        for card in self._orders.pop((order.customer, order.token)):
            self._release(card, spent=False)
            del self._by_key[card.key], self._by_id[card.id]
        self._feed.publish(order.customer, "state", self.state(order.customer))

    def reserve(self, card: Card) -> None:
        """Reserve the card's credits. Raises `BudgetExceeded`."""
        self.budget(card.order.customer).reserve(card.credits)
        card.reserved = True

    def _release(self, card: Card, *, spent: bool) -> None:
        if card.reserved:
            card.reserved = False
            self.budget(card.order.customer).release(card.credits, spent=spent)

    # --- what happens to a card

    def restore(self, card: Card, outcome: Outcome) -> None:
        """Set a card to the outcome that the session's store has of it from an earlier run."""
        self.budget(card.order.customer).count(outcome.credits + outcome.at_risk)
        card.state = _STATES.get(outcome.state, CardState.WAITING)
        card.ref, card.look = outcome.ref, outcome.look
        if card.state in _IN_DOUBT:
            card.doubt = _new_doubt()
        if outcome.state is OutcomeState.FAILED and outcome.look is not None:
            card.reason = reason_of(outcome.look)
        elif outcome.error is not None:
            card.reason = str(outcome.error).removeprefix(f"{card.key}: ")
        if outcome.submitted_at and outcome.settled_at:
            card.seconds = (outcome.settled_at - outcome.submitted_at).total_seconds()

    def on_event(self, event: Event) -> None:
        """Handle an event of the session (this is its hook): update the card, and publish that."""
        match event:
            case LookAccepted(key=key, ref=ref) if key in self._by_key:
                self.accepted(self._by_key[key], ref)
            case LookSettled(look=look, key=str(key), seconds=seconds) if key in self._by_key:
                self.settled(self._by_key[key], look, seconds)
            case OutcomeLost(key=key, reason=reason) if key in self._by_key:
                self.not_accepted(self._by_key[key], CardState.UNKNOWN, reason, spent=True)
            case Paused(seconds=seconds):
                self._feed.publish_all("paused", {"seconds": round(seconds)})

    def accepted(self, card: Card, ref: LookRef) -> None:
        """The look was accepted and paid."""
        self._release(card, spent=True)
        if card.ref != ref:
            card.ref, card.state, card.reason, card.doubt = ref, CardState.MAKING, None, None
            self._publish(card)

    def settled(self, card: Card, look: Look, seconds: float | None = None) -> None:
        """The look is ready or failed. A second call adds what the first one lacked."""
        if card.look == look:
            return
        card.look, card.seconds = look, seconds or card.seconds
        if look.status is LookStatus.READY:
            card.state = CardState.READY
        elif look.status is LookStatus.FAILED:
            card.state, card.reason = CardState.FAILED, reason_of(look)
        self._publish(card)

    def not_accepted(self, card: Card, state: CardState, reason: str, *, spent: bool) -> None:
        """The look was not accepted, or that is unknown. For one loss this may be called twice."""
        self._release(card, spent=spent)
        if state in _IN_DOUBT:
            if card.state is state:
                return
            card.doubt = _new_doubt()
        card.state, card.reason = state, reason
        self._publish(card)

    def interrupted(self, card: Card, reason: str) -> None:
        """An error of this app: what it cost is known only after a restart, so nothing can be decided now."""
        self._release(card, spent=True)
        card.state, card.reason, card.doubt = CardState.UNKNOWN, reason, None
        self._publish(card)

    def retry(self, card: Card) -> Doubt:
        """The look is to be submitted again, or an unknown sent again. Raises `BudgetExceeded`."""
        self.reserve(card)
        before = Doubt(card.state, card.doubt, card.reason)
        card.state, card.reason, card.doubt = CardState.WAITING, None, None
        card.decisions += 1
        self._publish(card)
        return before

    def deciding(self, card: Card) -> Doubt:
        """A decision about an unknown is carried out: no other can begin. Gives what it was before."""
        before = Doubt(card.state, card.doubt, card.reason)
        card.doubt = None
        card.decisions += 1
        self._publish(card)
        return before

    def undecided(self, card: Card, before: Doubt, reason: str | None) -> None:
        """A decision was not carried out and cost nothing: in doubt as before, unless its look was found."""
        self._release(card, spent=False)
        if card.ref is None:
            card.state, card.reason, card.doubt = before.state, reason, before.doubt
            self._publish(card)

    def left(self, card: Card) -> None:
        """The customer gave an unknown up. What it may have cost stays counted. It can be made again."""
        if card.ref is None:  # else a delivery told its look meanwhile
            card.state, card.reason, card.doubt = CardState.LEFT, None, _new_doubt()
            self._publish(card)

    def _publish(self, card: Card) -> None:
        customer = card.order.customer
        self._feed.publish(customer, "card", card.shown())
        self._feed.publish(customer, "credits", self._credits(customer))


def _new_doubt() -> str:
    return secrets.token_hex(8)


def reason_of(look: Look) -> str:
    """Why a look failed, for people."""
    return look.error.message if look.error else "The API gave no reason."
