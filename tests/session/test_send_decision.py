"""What is sent for a key, decided from what the store knows of it in that very moment."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import attrs
import pytest

from hoox_async import LookEdit, LookRef
from hoox_async._core.intents.intent import Evidence, Intent, IntentState, Reason
from hoox_async._core.intents.keys import digest
from hoox_async._core.intents.send_decision import SendDecision, decide_resend, decide_single, send_stored
from hoox_async._core.intents.transitions import (
    Accept,
    Drop,
    EndSearch,
    MarkUnknown,
    Reject,
    Replace,
    Resend,
    Revert,
    Send,
    advance,
)
from hoox_async.errors import BadRequest, HooxError, KeyConflict, OutcomeUnknown

AT = datetime(2030, 1, 1, tzinfo=UTC)
SOURCE, OTHER = LookRef("avtr_1", "look_1"), LookRef("avtr_2", "look_2")
MADE = LookRef("avtr_1", "look_9")


def intent(prompt: str = "a beach", source: LookRef = SOURCE) -> Intent:
    request = LookEdit(source, prompt)
    return Intent("k", True, request, digest(request), AT, source=source)


SENT = advance(intent(), Send("a1", AT, SOURCE))
UNKNOWN = advance(SENT, MarkUnknown("dropped", AT))
REFUSED = advance(SENT, Reject(Reason(400, "X", "no"), AT))
ACCEPTED = advance(SENT, Accept(MADE, AT, Evidence.ANSWER))


def test_what_is_new_is_sent() -> None:
    """As it is wanted."""
    assert decide_single(intent(), None, None) == SendDecision(intent())


def test_what_was_planned_is_sent_as_it_was_planned() -> None:
    """With its attempts, whose tokens stay its own."""
    tried = advance(SENT, Revert())
    assert decide_single(intent(), tried, tried) == SendDecision(tried, tried)


def test_other_content_takes_the_place_of_what_never_cost_anything() -> None:
    """Together with its own source."""
    tried = advance(SENT, Revert())
    wanted = intent("a desk", OTHER)
    decided = decide_single(wanted, tried, tried)
    assert isinstance(decided, SendDecision)
    assert decided.instruction == Replace(wanted.request, wanted.digest)
    assert (decided.intent.request, decided.intent.source) == (wanted.request, OTHER)
    assert decided.intent.state is IntentState.PLANNED


@pytest.mark.parametrize(
    "stands",
    [
        SENT,
        UNKNOWN,
        ACCEPTED,
        attrs.evolve(intent(), past_at_risk=Decimal(2)),
        attrs.evolve(REFUSED, past_spent=Decimal(2)),
    ],
    ids=["sending", "unknown", "accepted", "owing", "refused and paid before"],
)
def test_other_content_is_a_conflict_with_all_else(stands: Intent) -> None:
    """Nothing is sent."""
    with pytest.raises(KeyConflict):
        decide_single(intent("a desk"), stands, stands)


def test_what_was_paid_is_the_result() -> None:
    """For whoever asks."""
    assert decide_single(intent(), None, ACCEPTED) is ACCEPTED
    assert decide_resend(UNKNOWN, ACCEPTED) is ACCEPTED


@pytest.mark.parametrize(
    ("stands", "error"),
    [
        (SENT, OutcomeUnknown),
        (UNKNOWN, OutcomeUnknown),
        (advance(UNKNOWN, Drop()), OutcomeUnknown),
    ],
)
def test_what_was_lost_is_told_again(stands: Intent, error: type[HooxError]) -> None:
    """And not sent."""
    with pytest.raises(error):
        decide_single(intent(), stands, stands)


def test_what_was_refused_before_a_submission_began_is_sent_again() -> None:
    """With the same content, and with the notes of the new submission."""
    decided = decide_single(intent(), REFUSED, REFUSED)
    assert isinstance(decided, SendDecision)
    assert decided.instruction == Replace(intent().request, intent().digest)
    assert (decided.stored, decided.intent.state) == (REFUSED, IntentState.PLANNED)
    assert decided.intent.spent == decided.intent.at_risk == 0


@pytest.mark.parametrize("at_begin", [None, SENT, REFUSED])
def test_what_is_refused_while_a_submission_waits_is_its_refusal_too(at_begin: Intent | None) -> None:
    """Nothing was known of the key when it began, or it was being sent, or it had been refused before."""
    stands = REFUSED
    if at_begin is REFUSED:
        again = advance(advance(REFUSED, Replace(intent().request, intent().digest)), Send("a2", AT, SOURCE))
        stands = advance(again, Reject(Reason(400, "X", "no"), AT))
    with pytest.raises(BadRequest):
        decide_single(intent(), at_begin, stands)


def test_other_content_takes_the_place_of_what_was_refused() -> None:
    """Also where it was refused only while the other waited."""
    for at_begin in (REFUSED, None):
        decided = decide_single(intent("a desk"), at_begin, REFUSED)
        assert isinstance(decided, SendDecision)
        assert decided.intent.request == intent("a desk").request


@pytest.mark.parametrize("stands", [UNKNOWN, advance(UNKNOWN, Drop()), advance(UNKNOWN, EndSearch())])
def test_a_resend_is_one_as_long_as_nothing_moved(stands: Intent) -> None:
    """What it may have cost is on the books of what is sent."""
    decided = decide_resend(stands, stands)
    assert isinstance(decided, SendDecision)
    assert (decided.stored, decided.instruction) == (stands, Resend())
    assert decided.intent.at_risk == 2
    assert decided.intent.source == SOURCE


def test_a_resend_of_what_was_sent_or_dropped_meanwhile_is_none() -> None:
    """By somebody else's word."""
    again = advance(advance(UNKNOWN, Resend()), Send("a2", AT, SOURCE))
    for stands in (advance(UNKNOWN, Drop()), advance(again, MarkUnknown("dropped", AT)), again):
        with pytest.raises(OutcomeUnknown):
            decide_resend(UNKNOWN, stands)


def test_a_source_that_is_known_by_now_goes_along() -> None:
    """Of an item whose source was made anew."""
    assert send_stored(intent(), source=OTHER).intent.source == OTHER
    assert send_stored(intent()).intent.source == SOURCE
