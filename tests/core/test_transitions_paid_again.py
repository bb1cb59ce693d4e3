"""Paying anew: until the new sending has cost something, what stood before it stands."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intents_kit import AT, OTHER, PLANNED, REF, SOURCE, S, after

from hoox_async._api.models import Look, LookRef, LookStatus
from hoox_async._api.requests import FREE
from hoox_async._core.intents.intent import Evidence, Intent, Reason
from hoox_async._core.intents.records import dump_intent, load_intent
from hoox_async._core.intents.transitions import (
    Accept,
    AddCandidates,
    Drop,
    EndSearch,
    IfUnchanged,
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

LATER = AT + timedelta(hours=1)
NO = Reject(Reason(400, "INVALID_VALUE", "No"), LATER)
AGAIN = Send("a2", LATER, SOURCE)


SENT = Send("a1", AT, SOURCE, True)
ACCEPTED = after(SENT, Accept(REF, AT, Evidence.ANSWER))
UNKNOWN = after(SENT, MarkUnknown("dropped", AT), AddCandidates((REF,)))
STANDING: dict[str, tuple[Intent, Transition]] = {
    "unknown": (UNKNOWN, Resend()),
    "retired": (advance(UNKNOWN, EndSearch()), Resend()),
    "dropped": (advance(UNKNOWN, Drop()), Resend()),
    "accepted": (ACCEPTED, Replace(OTHER, "d2")),
    "ready": (after(Settle(Look(REF, LookStatus.READY), AT), start=ACCEPTED), Replace(OTHER, "d2")),
    "failed": (after(Settle(Look(REF, LookStatus.FAILED), AT), start=ACCEPTED), Replace(OTHER, "d2")),
    "rejected": (after(SENT, Reject(Reason(400, "X", "bad"), AT)), Replace(OTHER, "d2")),
}
PAID_BEFORE = [name for name in STANDING if name != "rejected"]


@pytest.mark.parametrize("name", STANDING)
def test_what_surely_cost_nothing_leaves_what_stood(name: str) -> None:
    """To the last field: its look, its doubt and its attempts, of which the last is the one that counts."""
    stands, word = STANDING[name]
    assert after(word, AGAIN, Revert(), start=stands) == stands
    twice = after(word, AGAIN, Revert(), word, Send("a3", LATER), Revert(), start=stands)
    assert twice == stands


@pytest.mark.parametrize("name", PAID_BEFORE)
def test_a_refusal_takes_nothing_away_that_may_have_been_paid(name: str) -> None:
    """The API said no to the new sending: the old look, or the old doubt, is none of its business."""
    stands, word = STANDING[name]
    assert after(word, AGAIN, NO, start=stands) == stands


def test_a_refusal_of_what_was_refused_before_is_the_new_one() -> None:
    """Nothing was there to be kept."""
    stands, word = STANDING["rejected"]
    refused = after(word, AGAIN, NO, start=stands)
    assert (refused.state, refused.reason, refused.digest) == (S.REJECTED, NO.reason, "d2")
    assert refused.previous is None


@pytest.mark.parametrize("name", STANDING)
@pytest.mark.parametrize(
    "end", [Accept(LookRef("avtr_abc", "x"), LATER, Evidence.ANSWER), MarkUnknown("cut", LATER)]
)
def test_what_has_cost_something_forgets_what_stood(name: str, end: Transition) -> None:
    """But its money: that was paid, or may have been, all the same."""
    stands, word = STANDING[name]
    done = after(word, AGAIN, end, start=stands)
    assert done.previous is None
    assert done.spent + done.at_risk == stands.spent + stands.at_risk + done.credits
    assert done.spent >= stands.spent


@pytest.mark.parametrize("name", STANDING)
def test_while_it_is_in_the_air_both_are_on_the_books(name: str) -> None:
    """Also when the process ends there."""
    stands, word = STANDING[name]
    sending = after(word, AGAIN, start=stands)
    assert sending.previous == stands
    assert (sending.spent, sending.at_risk) == (stands.spent, stands.at_risk + sending.credits)
    recovered = after(*recovery_transitions(sending, LATER), start=sending)
    assert recovered.state is S.UNKNOWN
    assert recovered.at_risk == sending.at_risk


def test_proof_that_came_first_makes_a_resend_illegal() -> None:
    """The steps of one transaction: none of them is taken."""
    proved = advance(UNKNOWN, Accept(REF, LATER, Evidence.WEBHOOK))
    with pytest.raises(IllegalTransition):
        after(Resend(), AGAIN, start=proved)


def test_what_never_cost_anything_is_replaced_for_good() -> None:
    """A corrected prompt that is refused for want of credits is still the one that is wanted."""
    tried = after(SENT, Revert())
    assert tried.never_charged
    back = after(Replace(OTHER, "d2"), AGAIN, Revert(), start=tried)
    assert (back.state, back.request, back.previous) == (S.PLANNED, OTHER, None)


@pytest.mark.parametrize("name", STANDING)
def test_only_what_never_cost_anything_is_replaceable(name: str) -> None:
    """A refusal cost nothing; what was paid or may have been is not, also once it is planned anew."""
    stands, word = STANDING[name]
    assert stands.never_charged is (name == "rejected")
    assert advance(stands, word).never_charged is (name == "rejected")


def test_the_attempts_of_earlier_rounds_are_told_apart() -> None:
    """A round begins with `Replace`; what is sent again by `Resend` is another attempt of the same round."""
    failed = STANDING["failed"][0]
    assert failed.past_attempts == ()
    renewed = after(Replace(OTHER, "d2"), AGAIN, MarkUnknown("x", LATER), start=failed)
    resent = after(Resend(), Send("a3", LATER), start=renewed)
    lost, found = (
        advance(resent, MarkUnknown("x", LATER)),
        advance(resent, Accept(REF, LATER, Evidence.WEBHOOK)),
    )
    assert {intent.past_attempts for intent in (renewed, resent, lost, found)} == {("a1",)}
    assert advance(found, Replace(OTHER, "d3")).past_attempts == ("a1", "a2", "a3")


def test_unmoved_means_neither_sent_nor_settled_nor_changed() -> None:
    """What is only known better, such as looks that may be its own, moves nothing."""
    assert UNKNOWN.unchanged_since(after(SENT, MarkUnknown("dropped", AT)))
    assert not after(Resend(), AGAIN, MarkUnknown("x", LATER), start=UNKNOWN).unchanged_since(UNKNOWN)
    assert not STANDING["ready"][0].unchanged_since(ACCEPTED)
    assert not advance(PLANNED, Replace(OTHER, "d2")).unchanged_since(PLANNED)


@pytest.mark.parametrize("name", STANDING)
def test_a_sending_can_depend_on_what_stood_when_it_was_decided(name: str) -> None:
    """The condition changes nothing where it holds; where it does not, it is an illegal step."""
    stands, word = STANDING[name]
    assert advance(stands, IfUnchanged(stands)) is stands
    again = after(IfUnchanged(stands), word, AGAIN, start=stands)
    assert again == after(word, AGAIN, start=stands)
    with pytest.raises(IllegalTransition, match="'alex' was changed meanwhile: it is sending"):
        advance(again, IfUnchanged(stands))


def test_the_condition_does_not_hold_for_what_was_settled_meanwhile() -> None:
    """Though the word that follows it would be legal from there: it was given for what stood."""
    ready = advance(ACCEPTED, Settle(Look(REF, LookStatus.READY), LATER))
    with pytest.raises(IllegalTransition):
        after(IfUnchanged(ACCEPTED), Replace(OTHER, "d2"), AGAIN, start=ready)


@pytest.mark.parametrize("name", STANDING)
def test_it_survives_a_store(name: str) -> None:
    """What stood before is written down with what is outstanding."""
    stands, word = STANDING[name]
    sending = after(word, AGAIN, start=stands)
    assert advance(load_intent(dump_intent(sending)), Revert()) == stands


def test_a_record_of_an_earlier_version_can_be_read() -> None:
    """It has no such fields."""
    record = dump_intent(UNKNOWN)
    assert not {"before", "past_attempts"} & set(json.loads(record))
    assert (load_intent(record).previous, load_intent(record).past_attempts) == (None, ())


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["take back", "refuse"]), max_size=5), st.sampled_from(PAID_BEFORE))
def test_however_often_it_costs_nothing_what_stood_stands(ends: list[str], name: str) -> None:
    """A storm of 429s and refusals changes nothing."""
    stands, word = STANDING[name]
    intent = stands
    for n, end in enumerate(ends):
        intent = after(word, Send(f"b{n}", LATER), Revert() if end == "take back" else NO, start=intent)
    assert intent == stands
    assert (intent.spent, intent.at_risk) != (FREE, FREE)
