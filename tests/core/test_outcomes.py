"""Outcomes: what an intent's state means to the user of a batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest
import request_strategies as our
from hypothesis import given

from hoox_async import (
    BatchItem,
    Evidence,
    Look,
    LookEdit,
    LookRef,
    LookStatus,
    Outcome,
    OutcomeState,
    PromptAvatar,
)
from hoox_async._api.models import HasRef, LookFailure
from hoox_async._api.requests import FREE
from hoox_async._core.intents.intent import Attempt, Intent, IntentState, Reason
from hoox_async._core.intents.outcomes import error_of, outcome_of
from hoox_async.errors import (
    BadRequest,
    Conflict,
    GenerationFailed,
    HooxError,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
)

AT = datetime(2025, 7, 1, 12, 0, tzinfo=UTC)
REF = LookRef("avtr_abc", "look_new")
READY = Look(REF, LookStatus.READY, "https://x.example/t.jpg")
FAILED = Look(REF, LookStatus.FAILED, error=LookFailure("X", "Edit failed"))
INTENT = Intent("alex", True, PromptAvatar("a", metadata={"scene": "1"}), "d1", AT)


def intent(state: IntentState, **fields: Any) -> Intent:
    return attrs.evolve(INTENT, state=state, **fields)


CASES = [
    (intent(IntentState.PLANNED), OutcomeState.UNSENT, None, "0", "0"),
    (intent(IntentState.SENDING), OutcomeState.UNKNOWN, OutcomeUnknown, "0", "2"),
    (intent(IntentState.UNKNOWN), OutcomeState.UNKNOWN, OutcomeUnknown, "0", "2"),
    (intent(IntentState.ACCEPTED, ref=REF), OutcomeState.PENDING, None, "2", "0"),
    (intent(IntentState.READY, ref=REF, look=READY), OutcomeState.READY, None, "2", "0"),
    (intent(IntentState.FAILED, ref=REF, look=FAILED), OutcomeState.FAILED, GenerationFailed, "2", "0"),
    (intent(IntentState.REJECTED), OutcomeState.REJECTED, HooxError, "0", "0"),
    (intent(IntentState.DROPPED), OutcomeState.SKIPPED, OutcomeUnknown, "0", "2"),
]


@pytest.mark.parametrize(
    ("stored", "state", "error", "credits", "at_risk"),
    CASES,
    ids=lambda value: str(getattr(value, "state", "")),
)
def test_what_a_state_means(
    stored: Intent, state: OutcomeState, error: type[HooxError] | None, credits: str, at_risk: str
) -> None:
    """Each state of an intent has its outcome state, its error, and its credits."""
    outcome = outcome_of(stored)
    assert (outcome.key, outcome.request, outcome.state) == ("alex", INTENT.request, state)
    assert (outcome.credits, outcome.at_risk) == (Decimal(credits), Decimal(at_risk))
    assert type(outcome.error) is (error or type(None))


def test_every_state_of_an_intent_has_an_outcome() -> None:
    """The cases above cover all states."""
    assert {stored.state for stored, *_ in CASES} == set(IntentState)


def test_an_outcome_says_until_when_an_answer_may_come() -> None:
    """Only while the request is being sent: what is unknown, or accepted, is not waited for any more."""
    later = AT + timedelta(minutes=3)
    for state in (IntentState.SENDING, IntentState.UNKNOWN, IntentState.ACCEPTED):
        stored = intent(state, attempts=(Attempt("a1", AT, Decimal(2), later),))
        assert outcome_of(stored).answer_by == (later if state is IntentState.SENDING else None)


def test_times_evidence_and_candidates_go_along() -> None:
    """An outcome has the times, the evidence, the candidates and the credits of its intent."""
    stored = intent(
        IntentState.READY,
        ref=REF,
        look=READY,
        attempts=(Attempt("a1", AT, Decimal(2)),),
        evidence=Evidence.WEBHOOK,
        settled_at=AT,
        candidates=(REF,),
        past_spent=Decimal(4),
        past_at_risk=Decimal("1.5"),
    )
    outcome = outcome_of(stored)
    assert (outcome.submitted_at, outcome.settled_at, outcome.evidence) == (AT, AT, Evidence.WEBHOOK)
    assert outcome.candidates == (REF,)
    assert (outcome.credits, outcome.at_risk) == (Decimal(6), Decimal("1.5"))
    assert outcome.metadata == {"scene": "1"}


def test_the_error_of_a_dropped_unknown_says_what_it_may_have_cost() -> None:
    """A dropped unknown is SKIPPED; its error says who dropped it and that it may have been charged."""
    lost = Reason(None, None, "cut off")
    outcome = outcome_of(intent(IntentState.DROPPED, reason=lost))
    assert str(outcome.error) == "alex: cut off; you dropped it, it may have been charged"
    assert outcome.error is not None
    assert outcome.error.charged == "maybe"
    assert outcome.at_risk == 2
    with pytest.raises(OutcomeUnknown) as caught:
        outcome.unwrap()
    assert caught.value.key == "alex"


def test_an_accepted_look_is_pending_with_its_ref() -> None:
    """A PENDING outcome has a look with the ref, so that it can be waited for."""
    outcome = outcome_of(intent(IntentState.ACCEPTED, ref=REF))
    assert outcome.ref == REF
    assert outcome.look == Look(REF, LookStatus.PENDING)
    assert outcome_of(INTENT).ref is None


def test_an_outcome_can_be_a_source() -> None:
    """An outcome that has a look can be the source of an edit."""
    outcome = outcome_of(intent(IntentState.READY, ref=REF, look=READY))
    assert isinstance(outcome, HasRef)
    assert LookEdit(outcome, "a").source == REF
    with pytest.raises(InvalidRequest):
        LookEdit(outcome_of(INTENT), "a")


def test_changes_replace_fields() -> None:
    """A batch can replace fields of an outcome, such as the reason why an item was not sent."""
    error = NotSent("stopped")
    outcome = outcome_of(INTENT, error=error, state=OutcomeState.UNSENT)
    assert outcome.error is error


def test_the_error_of_a_refusal_is_the_apis_own() -> None:
    """A stored reason gives an error of the same class as the API's refusal did."""
    refusal = Reason(400, "INVALID_VALUE", "No")
    error = error_of(intent(IntentState.REJECTED, reason=refusal))
    assert isinstance(error, BadRequest)
    assert (error.status, error.code, error.message) == (400, "INVALID_VALUE", "No")
    assert isinstance(error_of(intent(IntentState.REJECTED, reason=Reason(409, None, "x"))), Conflict)


def test_a_refusal_that_came_before_the_api() -> None:
    """The reason of an item that is no valid request has no HTTP status and gives a plain HooxError."""
    error = error_of(intent(IntentState.REJECTED, reason=Reason(None, None, "prompt: empty")))
    assert type(error) is HooxError
    assert str(error) == "prompt: empty"
    assert error.charged == "no"


def test_the_error_of_a_loss_says_why_and_for_which_key() -> None:
    """The error of an unknown has the key, which `session.resolve` needs."""
    error = error_of(intent(IntentState.UNKNOWN, reason=Reason(None, None, "timed out")))
    assert isinstance(error, OutcomeUnknown)
    assert error.key == "alex"
    assert "timed out" in str(error)


def test_each_call_makes_an_error_of_its_own() -> None:
    """Each call makes a new exception: two tasks that raise the same object would mix up their tracebacks."""
    stored = intent(IntentState.FAILED, ref=REF, look=FAILED)
    assert error_of(stored) is not error_of(stored)


def test_unwrap_returns_the_look_or_raises_the_error() -> None:
    """`unwrap` returns the look of a READY outcome and raises the error of any other."""
    assert outcome_of(intent(IntentState.READY, ref=REF, look=READY)).unwrap() is READY
    with pytest.raises(GenerationFailed):
        outcome_of(intent(IntentState.FAILED, ref=REF, look=FAILED)).unwrap()
    with pytest.raises(HooxError, match="alex: pending"):
        outcome_of(intent(IntentState.ACCEPTED, ref=REF)).unwrap()
    with pytest.raises(HooxError, match="alex: unsent"):
        outcome_of(INTENT).unwrap()


def test_an_outcome_of_what_was_no_request() -> None:
    """The metadata of an item that held no request is empty, and asking for it raises nothing."""
    request: Any = "not a request"
    outcome = Outcome("k", request, OutcomeState.REJECTED)
    assert outcome.metadata == {}
    assert outcome.ref is None
    assert (outcome.credits, outcome.at_risk) == (FREE, FREE)


def test_a_batch_item_has_its_key_and_request() -> None:
    """A batch item has the key and the request that it was made from."""
    item = BatchItem("alex/podcast-2", INTENT.content)
    assert (item.key, item.request) == ("alex/podcast-2", INTENT.request)


@given(our.intents)
def test_any_intent_has_an_outcome(stored: Intent) -> None:
    """Any stored intent has an outcome with the same credits."""
    outcome = outcome_of(stored)
    assert (outcome.credits, outcome.at_risk) == (stored.spent, stored.at_risk)
    assert outcome.key == stored.key


def test_the_repr_of_an_outcome_is_short() -> None:
    """It has the key, the state, the look and the credits; the request and the answers are left out."""
    ready = outcome_of(intent(IntentState.READY, ref=REF, look=READY))
    assert repr(ready) == "<Outcome alex: ready, avtr_abc:look_new, 2 credits>"
    assert repr(outcome_of(intent(IntentState.UNKNOWN))) == "<Outcome alex: unknown, 0 credits, 2 at risk>"
