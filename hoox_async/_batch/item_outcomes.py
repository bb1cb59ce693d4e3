"""Outcomes of items for which nothing was sent, or whose result the store cannot give."""

from __future__ import annotations

from decimal import Decimal

import attrs

from .._api.models import Look, LookRef, LookStatus
from .._api.requests import FREE
from .._core.intents.intent import Intent, IntentState
from .._core.intents.outcomes import Outcome, OutcomeState, outcome_of
from ..errors import HooxError, KeyConflict, OutcomeUnknown, StoreError
from .items import Item


def unsent(item: Item, error: HooxError, state: OutcomeState = OutcomeState.UNSENT) -> Outcome:
    """The outcome of an item for which this run sent nothing; it includes what earlier runs paid."""
    return unsent_beside(item, item.stored, error, state)


def unsent_beside(item: Item, stored: Intent | None, error: HooxError, state: OutcomeState) -> Outcome:
    """The outcome of an item for which nothing was sent, given the intent under its key.

    What may have been paid is never reported as unsent.
    """
    if stored is None:
        return Outcome(item.key, item.request, state, error=error)
    unpaid = stored.state in (IntentState.PLANNED, IntentState.REJECTED)
    if unpaid or (item.pay_again and item.is_unchanged(stored)):
        return outcome_of(stored, state=state, error=error, request=item.request, look=None)
    outcome = outcome_of(stored)
    return attrs.evolve(outcome, error=error) if outcome.state is OutcomeState.PENDING else outcome


def unreadable(item: Item, error: HooxError) -> Outcome:
    """The outcome of an item whose task was cancelled, where the store cannot be read.

    If it was to be sent, it may have been sent.
    """
    stored = item.stored
    if stored is not None and not item.needs_sending:
        return unsent_beside(item, stored, error, OutcomeState.UNSENT)
    at_risk = item.request.credits + (stored.at_risk if stored else FREE)
    unknown = OutcomeUnknown(f"{item.key}: {error}; it may have been charged", key=item.key)
    credits = stored.spent if stored else FREE
    attempt = stored.last_attempt if stored else None
    return Outcome(
        item.key, item.request, OutcomeState.UNKNOWN, None, unknown, credits, at_risk,
        attempt=attempt, credits_failed=_failed(stored),
    )  # fmt: skip


def unrecorded(item: Item, ref: LookRef, error: StoreError) -> Outcome:
    """The outcome of a paid item that the store could not record, including what was paid before."""
    credits, at_risk, stored = item.request.credits, FREE, item.stored
    if stored is not None:
        credits += stored.spent
        at_risk = stored.past_at_risk if stored.state is IntentState.SENDING else stored.at_risk
    look = Look(ref, LookStatus.PENDING)
    return Outcome(
        item.key, item.request, OutcomeState.PENDING, look, error, credits, at_risk,
        credits_failed=_failed(stored),
    )  # fmt: skip


def _failed(stored: Intent | None) -> Decimal:
    return stored.failed if stored else FREE


def conflicting(item: Item, error: KeyConflict, stored: Intent | None = None) -> Outcome:
    """The outcome of an item whose key belongs to other content, with what was paid for that.

    Of a repeated key the credits are in another item's outcome.
    """
    if stored is None or item.repeated:
        return Outcome(item.key, item.request, OutcomeState.REJECTED, error=error)
    return Outcome(
        item.key, item.request, OutcomeState.REJECTED, None, error, stored.spent, stored.at_risk,
        credits_failed=stored.failed,
    )  # fmt: skip


def settled_before(item: Item, stored: Intent) -> Outcome:
    """The outcome of an item that an earlier run or an earlier item has settled."""
    same = stored.digest == item.digest
    outcome = outcome_of(stored, request=item.request if same else stored.request)
    return without_credits(outcome) if item.repeated else outcome


def without_credits(outcome: Outcome) -> Outcome:
    """The outcome of a look whose credits are in the outcome of another item of the same input."""
    return attrs.evolve(outcome, credits=FREE, at_risk=FREE, credits_failed=FREE)
