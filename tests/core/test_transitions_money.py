"""The ledger: what an intent has cost, whatever happened to it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import request_strategies as our
from hypothesis import given, settings
from hypothesis import strategies as st
from intents_kit import (
    AT,
    OTHER,
    PLANNED,
    PRICE,
    REQUEST,
    STEPS,
    S,
    after,
    in_state,
)

from hoox_async._api.models import LookRef
from hoox_async._api.requests import FREE
from hoox_async._core.intents.intent import Evidence, Intent, IntentState
from hoox_async._core.intents.transitions import (
    Accept,
    IllegalTransition,
    MarkUnknown,
    Reject,
    Replace,
    Resend,
    Revert,
    Send,
    Settle,
    Transition,
    advance,
    recovery_transitions,
)

# --- money


@pytest.mark.parametrize(
    ("state", "spent", "at_risk"),
    [
        (S.PLANNED, 0, 0),
        (S.SENDING, 0, PRICE),
        (S.UNKNOWN, 0, PRICE),
        (S.ACCEPTED, PRICE, 0),
        (S.READY, PRICE, 0),
        (S.FAILED, PRICE, 0),
        (S.REJECTED, 0, 0),
        (S.DROPPED, 0, PRICE),
    ],
)
def test_money_of_a_state(state: IntentState, spent: Decimal, at_risk: Decimal) -> None:
    """Paid, perhaps paid, or not: once, by the state."""
    intent = in_state(state)
    assert (intent.credits, intent.spent, intent.at_risk) == (PRICE, spent, at_risk)


def test_a_resent_unknown_stays_at_risk() -> None:
    """Sent again by the user's word, the first sending may still have been paid."""
    resent = after(STEPS[Send], STEPS[MarkUnknown], Resend())
    assert (resent.spent, resent.at_risk) == (FREE, PRICE)
    ready = after(STEPS[Send], STEPS[Accept], STEPS[Settle], start=resent)
    assert (ready.spent, ready.at_risk) == (PRICE, PRICE)
    lost_again = after(STEPS[Send], STEPS[MarkUnknown], start=resent)
    assert (lost_again.spent, lost_again.at_risk) == (FREE, 2 * PRICE)


def test_what_was_paid_stays_paid_when_paid_anew() -> None:
    """A failed look that is tried again with another request: both prices are on the books."""
    renewed = after(Replace(OTHER, "d2"), start=in_state(S.FAILED))
    assert (renewed.spent, renewed.at_risk, renewed.credits) == (PRICE, FREE, Decimal(4))
    second = Accept(LookRef("avtr_2", "look_2"), AT, Evidence.ANSWER)
    accepted = after(STEPS[Send], second, start=renewed)
    assert (accepted.spent, accepted.at_risk) == (PRICE + 4, FREE)


@pytest.mark.parametrize("state", [S.PLANNED, S.REJECTED])
def test_what_cost_nothing_is_renewed_for_nothing(state: IntentState) -> None:
    """A changed request that was never taken brings no debt along."""
    renewed = advance(in_state(state), Replace(OTHER, "d2"))
    assert (renewed.spent, renewed.at_risk) == (FREE, FREE)


def test_a_found_look_was_paid_and_is_no_risk_any_more() -> None:
    """Proof turns the risk into a payment."""
    for state in (S.UNKNOWN, S.DROPPED):
        found = advance(in_state(state), STEPS[Accept])
        assert (found.spent, found.at_risk) == (PRICE, FREE)


def test_taken_back_costs_nothing() -> None:
    """What never left, or was refused without a charge, is as if it had not been tried."""
    back = after(STEPS[Send], Revert())
    assert (back.spent, back.at_risk) == (FREE, FREE)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(list(STEPS)), max_size=25))
def test_the_books_are_those_of_an_accountant(kinds: list[type[Transition]]) -> None:
    """Over any life: at most one payment a sending, and nothing paid or at risk is ever forgotten."""
    intent, sent, owed, counted = PLANNED, 0, Decimal(0), 0
    for kind in kinds:
        try:
            following = advance(intent, Replace(REQUEST, "d1") if kind is Replace else STEPS[kind])
        except IllegalTransition:
            continue
        sent += kind is Send
        # of one that is paid anew and costs nothing, what stood before has its own attempts
        undone = kind in (Revert, Reject) and intent.previous is not None and following == intent.previous
        counted = len(following.attempts) if undone else counted + (kind is Send)
        before, now = intent.spent + intent.at_risk, following.spent + following.at_risk
        assert following.spent >= intent.spent
        if kind is Send:
            owed += PRICE
        elif kind in (Revert, Reject):
            owed -= before - now
            assert before - now == (PRICE if intent.state is S.SENDING else 0)
        else:
            assert now == before
        assert now == owed <= sent * PRICE
        intent = following
    assert len(intent.attempts) == counted <= sent


# --- after a crash


@pytest.mark.parametrize("state", IntentState)
def test_recovery(state: IntentState) -> None:
    """Only what was being sent changes: it may have been paid, so it is unknown."""
    later = AT + timedelta(hours=1)
    intent = in_state(state)
    recovered = after(*recovery_transitions(intent, later), start=intent)
    if state is S.SENDING:
        assert (recovered.state, recovered.lost_at, recovered.at_risk) == (S.UNKNOWN, later, PRICE)
        assert recovered.reason is not None
        assert "ended" in recovered.reason.message
        assert recovery_transitions(recovered, later) == ()
    else:
        assert recovered == intent


@settings(deadline=None, max_examples=100)
@given(our.intents)
def test_recovery_is_legal_for_whatever_was_stored(intent: Intent) -> None:
    """No stored intent keeps a session from opening."""
    assert after(*recovery_transitions(intent, AT), start=intent).state is not S.SENDING


def test_no_other_object_is_a_step() -> None:
    """A mistake of the library is an IllegalTransition, too."""
    step: Any = "send"
    with pytest.raises(IllegalTransition):
        advance(PLANNED, step)
