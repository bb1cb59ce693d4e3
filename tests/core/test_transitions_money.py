"""What an intent has cost, surely or perhaps, after any sequence of transitions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import request_strategies as our
from hypothesis import given
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

from hoox_async import Evidence, LookRef
from hoox_async._api.requests import FREE
from hoox_async._core.intents.intent import Intent, IntentState
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
    """The state says whether the price counts as spent, as at risk, or not at all."""
    intent = in_state(state)
    assert (intent.credits, intent.spent, intent.at_risk) == (PRICE, spent, at_risk)


def test_a_resent_unknown_stays_at_risk() -> None:
    """After the user had it sent again, the price of the first POST still counts as at risk."""
    resent = after(STEPS[Send], STEPS[MarkUnknown], Resend())
    assert (resent.spent, resent.at_risk) == (FREE, PRICE)
    ready = after(STEPS[Send], STEPS[Accept], STEPS[Settle], start=resent)
    assert (ready.spent, ready.at_risk) == (PRICE, PRICE)
    lost_again = after(STEPS[Send], STEPS[MarkUnknown], start=resent)
    assert (lost_again.spent, lost_again.at_risk) == (FREE, 2 * PRICE)


def test_an_earlier_round_stays_counted_when_the_intent_is_paid_again() -> None:
    """Where a failed look is replaced by another request, both prices count."""
    replaced = after(Replace(OTHER, "d2"), start=in_state(S.FAILED))
    assert (replaced.spent, replaced.at_risk, replaced.credits) == (PRICE, FREE, Decimal(4))
    second = Accept(LookRef("avtr_2", "look_2"), AT, Evidence.ANSWER)
    accepted = after(STEPS[Send], second, start=replaced)
    assert (accepted.spent, accepted.at_risk) == (PRICE + 4, FREE)
    assert (in_state(S.FAILED).failed, accepted.failed, in_state(S.READY).failed) == (PRICE, PRICE, FREE)


@pytest.mark.parametrize("state", [S.PLANNED, S.REJECTED])
def test_replacing_what_cost_nothing_adds_no_cost(state: IntentState) -> None:
    """A replacement of an intent that never cost anything begins with nothing spent and nothing at risk."""
    replaced = advance(in_state(state), Replace(OTHER, "d2"))
    assert (replaced.spent, replaced.at_risk) == (FREE, FREE)


def test_a_found_look_is_paid_and_no_longer_at_risk() -> None:
    """Once its look is proved, the price of an unknown counts as spent instead of at risk."""
    for state in (S.UNKNOWN, S.DROPPED):
        found = advance(in_state(state), STEPS[Accept])
        assert (found.spent, found.at_risk) == (PRICE, FREE)


def test_a_reverted_or_rejected_post_costs_nothing() -> None:
    """A POST that never left, or was refused without a charge, leaves nothing spent and nothing at risk."""
    back = after(STEPS[Send], Revert("a1"))
    assert (back.spent, back.at_risk) == (FREE, FREE)


@given(st.lists(st.sampled_from(list(STEPS)), max_size=25))
def test_over_any_life_each_post_is_counted_at_most_once_and_none_is_forgotten(
    kinds: list[type[Transition]],
) -> None:
    """Each `Send` adds its price at most once, and what is spent or at risk never becomes less by itself."""
    intent, sent, owed, counted = PLANNED, 0, Decimal(0), 0
    for kind in kinds:
        try:
            following = advance(intent, Replace(REQUEST, "d1") if kind is Replace else STEPS[kind])
        except IllegalTransition:
            continue
        sent += kind is Send
        # `previous`, which comes back where the new POST cost nothing, has its own attempts
        undone = kind in (Revert, Reject) and intent.previous is not None and following == intent.previous
        counted = len(following.attempts) if undone else counted + (kind is Send)
        before, now = intent.spent + intent.at_risk, following.spent + following.at_risk
        assert following.spent >= intent.spent
        assert intent.failed <= following.failed <= following.spent
        if kind is Send:
            owed += PRICE
        elif kind in (Revert, Reject):
            owed -= before - now
            allowed: dict[IntentState, set[Decimal | int]] = {
                S.SENDING: {PRICE},
                S.UNKNOWN: {PRICE, 0},
            }  # 0: what stood before is lost
            assert before - now in allowed.get(intent.state, {0})
        else:
            assert now == before
        assert now == owed <= sent * PRICE
        intent = following
    assert len(intent.attempts) == counted <= sent


# --- after a crash


@pytest.mark.parametrize("state", IntentState)
def test_recovery_marks_only_outstanding_posts_unknown(state: IntentState) -> None:
    """After a crash a SENDING intent becomes UNKNOWN, and no other state changes."""
    intent = in_state(state)
    recovered = after(*recovery_transitions(intent), start=intent)
    if state is S.SENDING:
        assert (recovered.state, recovered.at_risk) == (S.UNKNOWN, PRICE)
        assert recovered.reason is not None
        assert "ended" in recovered.reason.message
        assert recovery_transitions(recovered) == ()
    else:
        assert recovered == intent


@given(our.intents)
def test_recovery_is_legal_for_whatever_was_stored(intent: Intent) -> None:
    """The transitions that a crash makes necessary are legal for any stored intent."""
    assert after(*recovery_transitions(intent), start=intent).state is not S.SENDING


def test_no_other_object_is_a_transition() -> None:
    """`advance` raises IllegalTransition for an object that is no transition."""
    step: Any = "send"
    with pytest.raises(IllegalTransition):
        advance(PLANNED, step)
