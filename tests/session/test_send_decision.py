"""What is sent for a key, decided from what the store knows of it in that very moment."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import attrs
import pytest
from internals_kit import (
    Accept,
    Drop,
    Intent,
    IntentState,
    MarkUnknown,
    NoteDelivered,
    Outstanding,
    Reason,
    Reject,
    Replace,
    Resend,
    Revert,
    Send,
    SendDecision,
    advance,
    digest,
)

from hoox_async import Evidence, LookEdit, LookRef, PromptAvatar, PrunedRequest
from hoox_async._core.intents.send_decision import decide_resend, decide_single, key_conflict, send_stored
from hoox_async.errors import BadRequest, HooxError, InvalidRequest, KeyConflict, OutcomeUnknown

AT = datetime(2030, 1, 1, tzinfo=UTC)
SOURCE, OTHER = LookRef("avtr_1", "look_1"), LookRef("avtr_2", "look_2")
MADE = LookRef("avtr_1", "look_9")


def intent(prompt: str = "a beach", source: LookRef = SOURCE) -> Intent:
    request = LookEdit(source, prompt)
    return Intent("k", True, request, digest(request), AT, source=source)


SENT = advance(intent(), Send("a1", AT, SOURCE))
UNKNOWN = advance(SENT, MarkUnknown("dropped"))
REFUSED = advance(SENT, Reject(Reason(400, "X", "no"), AT))
ACCEPTED = advance(SENT, Accept(MADE, AT, Evidence.ANSWER))


def test_the_intent_of_an_unused_key_is_sent_unchanged() -> None:
    """Where the store has nothing under the key, the wanted intent is sent unchanged."""
    assert decide_single(intent(), None, None) == SendDecision(intent())


def test_a_planned_intent_is_sent_as_it_is_stored() -> None:
    """A planned intent is sent as it is stored, with its attempts, whose tokens stay valid."""
    tried = advance(SENT, Revert("a1"))
    assert decide_single(intent(), tried, tried) == SendDecision(tried, tried)


def test_other_content_replaces_an_intent_that_never_cost_anything() -> None:
    """Other content under the key of a planned intent replaces its request and its source."""
    tried = advance(SENT, Revert("a1"))
    wanted = intent("a desk", OTHER)
    decided = decide_single(wanted, tried, tried)
    assert isinstance(decided, SendDecision)
    assert decided.instruction == Replace(wanted.content, wanted.digest)
    assert (decided.intent.request, decided.intent.source) == (wanted.request, OTHER)
    assert decided.intent.state is IntentState.PLANNED


@pytest.mark.parametrize(
    "stored",
    [
        SENT,
        UNKNOWN,
        ACCEPTED,
        attrs.evolve(intent(), past_at_risk=Decimal(2)),
        attrs.evolve(REFUSED, past_spent=Decimal(2)),
    ],
    ids=["sending", "unknown", "accepted", "owing", "refused and paid before"],
)
def test_other_content_under_a_key_that_may_have_been_paid_is_a_conflict(stored: Intent) -> None:
    """Other content under a key that was paid, or may have been, raises KeyConflict."""
    with pytest.raises(KeyConflict):
        decide_single(intent("a desk"), stored, stored)


def test_a_conflict_says_what_differs() -> None:
    """A KeyConflict shows both values of what differs, of long texts the place; of URLs only the name."""
    prefix = "Spring campaign, natural light, muted colours, an unhurried mood. "
    stored = LookEdit("alex", prefix + "On a stage", style="podcast", images=["https://me.test/secret"])
    wanted = LookEdit("alex", prefix + "In a car", images=["https://me.test/other"], extra={"tags2": ["x"]})
    assert str(key_conflict("alex/car", stored, wanted)) == (
        "key 'alex/car': it belongs to a request with other content: "
        "the prompt is '… an unhurried mood. On a stage', now '… an unhurried mood. In a car'; "
        "the style is 'podcast', now None; another images; another extra"
    )
    assert "another kind (prompt, now edit)" in str(key_conflict("alex", PromptAvatar("a"), wanted))
    assert "other content" in str(key_conflict("alex", PrunedRequest("edit", Decimal(2)), wanted))


def test_an_accepted_intent_is_the_result() -> None:
    """An accepted intent is the result of a submission of its key, and of a resend."""
    assert decide_single(intent(), None, ACCEPTED) is ACCEPTED
    assert decide_resend(UNKNOWN, None, ACCEPTED) is ACCEPTED


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        (UNKNOWN, OutcomeUnknown),
        (advance(UNKNOWN, Drop()), OutcomeUnknown),
    ],
)
def test_a_lost_intent_raises_outcome_unknown(stored: Intent, error: type[HooxError]) -> None:
    """A submission of a key whose POST was lost, or was cut off, raises OutcomeUnknown."""
    with pytest.raises(error):
        decide_single(intent(), stored, stored)


def test_an_intent_that_is_being_sent_is_outstanding() -> None:
    """A submission, and a resend, of what another process is sending wait for the end of that."""
    assert decide_single(intent(), SENT, SENT) == Outstanding(SENT)
    assert decide_single(intent(), None, SENT) == Outstanding(SENT)
    again = advance(advance(UNKNOWN, Resend()), Send("a2", AT, SOURCE))
    assert decide_resend(UNKNOWN, None, again) == Outstanding(again)
    with pytest.raises(KeyConflict):
        decide_single(intent("a desk", OTHER), SENT, SENT)


def test_what_was_refused_before_a_submission_began_is_sent_again() -> None:
    """The same content under a key that was refused before replaces the intent and costs nothing yet."""
    decided = decide_single(intent(), REFUSED, REFUSED)
    assert isinstance(decided, SendDecision)
    assert decided.instruction == Replace(intent().content, intent().digest)
    assert (decided.stored, decided.intent.state) == (REFUSED, IntentState.PLANNED)
    assert decided.intent.spent == decided.intent.at_risk == 0


@pytest.mark.parametrize("at_begin", [None, SENT, REFUSED])
def test_a_refusal_while_a_submission_waits_is_raised_by_it_too(at_begin: Intent | None) -> None:
    """A submission that waits while the same content is refused under its key raises that refusal."""
    stored = REFUSED
    if at_begin is REFUSED:
        again = advance(advance(REFUSED, Replace(intent().content, intent().digest)), Send("a2", AT, SOURCE))
        stored = advance(again, Reject(Reason(400, "X", "no"), AT))
    with pytest.raises(BadRequest):
        decide_single(intent(), at_begin, stored)


def test_other_content_replaces_a_refused_request() -> None:
    """Other content is sent under a refused key, even if it was refused while the submission waited."""
    for at_begin in (REFUSED, None):
        decided = decide_single(intent("a desk"), at_begin, REFUSED)
        assert isinstance(decided, SendDecision)
        assert decided.intent.request == intent("a desk").request


@pytest.mark.parametrize("stored", [UNKNOWN, advance(UNKNOWN, Drop())])
def test_an_unchanged_unknown_is_resent(stored: Intent) -> None:
    """An unknown that has not changed is resent, and its first price stays at risk."""
    decided = decide_resend(stored, None, stored)
    assert isinstance(decided, SendDecision)
    assert (decided.stored, decided.instruction) == (stored, Resend())
    assert decided.intent.at_risk == 2
    assert decided.intent.source == SOURCE


def test_what_was_surely_paid_is_resent_only_by_naming_its_attempt() -> None:
    """A delivery has shown that an unknown was paid: sending it again must name the attempt."""
    paid = advance(UNKNOWN, NoteDelivered("look_9", "a1"))
    with pytest.raises(InvalidRequest, match=r"attempt: None.*paid \(it made look_9\)"):
        decide_resend(UNKNOWN, None, paid)
    assert isinstance(decide_resend(UNKNOWN, UNKNOWN.last_attempt, paid), SendDecision)


def test_an_unknown_that_was_resent_or_dropped_meanwhile_is_not_resent() -> None:
    """A resend raises OutcomeUnknown if the unknown was resent or dropped by somebody else meanwhile."""
    again = advance(advance(UNKNOWN, Resend()), Send("a2", AT, SOURCE))
    for stored in (advance(UNKNOWN, Drop()), advance(again, MarkUnknown("dropped"))):
        with pytest.raises(OutcomeUnknown):
            decide_resend(UNKNOWN, None, stored)


def test_a_stored_intent_is_sent_with_the_newer_source() -> None:
    """A stored intent is sent with the source that is given, else with its own."""
    assert send_stored(intent(), source=OTHER).intent.source == OTHER
    assert send_stored(intent()).intent.source == SOURCE
