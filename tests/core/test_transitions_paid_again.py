"""Paying anew: until the new POST has cost something, the intent can become again what it was before."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intents_kit import AT, OTHER, PLANNED, REF, SOURCE, S, after

from hoox_async import Evidence, Look, LookRef, LookStatus
from hoox_async._api.requests import FREE
from hoox_async._core.intents.intent import Intent, Reason
from hoox_async._core.intents.records import dump_intent, load_intent
from hoox_async._core.intents.transitions import (
    Accept,
    AddCandidates,
    Drop,
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


SENT = Send("a1", AT, SOURCE)
ACCEPTED = after(SENT, Accept(REF, AT, Evidence.ANSWER))
UNKNOWN = after(SENT, MarkUnknown("dropped"), AddCandidates((REF,)))
PREVIOUS: dict[str, tuple[Intent, Transition]] = {
    "unknown": (UNKNOWN, Resend()),
    "dropped": (advance(UNKNOWN, Drop()), Resend()),
    "accepted": (ACCEPTED, Replace(OTHER, "d2")),
    "ready": (after(Settle(Look(REF, LookStatus.READY), AT), start=ACCEPTED), Replace(OTHER, "d2")),
    "failed": (after(Settle(Look(REF, LookStatus.FAILED), AT), start=ACCEPTED), Replace(OTHER, "d2")),
    "rejected": (after(SENT, Reject(Reason(400, "X", "bad"), AT)), Replace(OTHER, "d2")),
}
CHARGED = [name for name in PREVIOUS if name != "rejected"]


@pytest.mark.parametrize("name", PREVIOUS)
def test_a_new_post_that_surely_cost_nothing_restores_the_previous_intent(name: str) -> None:
    """The previous intent comes back unchanged in all fields: look, credits at risk, and attempts."""
    previous, instruction = PREVIOUS[name]
    assert after(instruction, AGAIN, Revert("a2"), start=previous) == previous
    twice = after(
        instruction, AGAIN, Revert("a2"), instruction, Send("a3", LATER), Revert("a3"), start=previous
    )
    assert twice == previous


@pytest.mark.parametrize("name", CHARGED)
def test_a_refused_new_post_restores_what_may_have_been_paid(name: str) -> None:
    """A refusal of the new POST says nothing of the earlier one, so the previous intent comes back."""
    previous, instruction = PREVIOUS[name]
    assert after(instruction, AGAIN, NO, start=previous) == previous


def test_a_second_refusal_replaces_the_first() -> None:
    """Where the earlier round was rejected too, the new reason and the new content are kept."""
    previous, instruction = PREVIOUS["rejected"]
    refused = after(instruction, AGAIN, NO, start=previous)
    assert (refused.state, refused.reason, refused.digest) == (S.REJECTED, NO.reason, "d2")
    assert refused.previous is None


@pytest.mark.parametrize("name", PREVIOUS)
@pytest.mark.parametrize(
    "ends",
    [
        (Accept(LookRef("avtr_abc", "x"), LATER, Evidence.ANSWER),),
        (MarkUnknown("cut"),),
        (MarkUnknown("cut"), Drop()),
    ],
)
def test_the_previous_intent_is_kept_until_the_outcome_of_the_new_post_is_known(
    name: str, ends: tuple[Transition, ...]
) -> None:
    """The credits of the earlier rounds stay counted in any case: they were paid, or may have been."""
    previous, instruction = PREVIOUS[name]
    done = after(instruction, AGAIN, *ends, start=previous)
    assert done.previous == (previous if done.state is S.UNKNOWN else None)
    assert done.spent + done.at_risk == previous.spent + previous.at_risk + done.credits
    assert done.spent >= previous.spent


@pytest.mark.parametrize("name", PREVIOUS)
def test_while_the_new_post_is_outstanding_both_rounds_are_counted(name: str) -> None:
    """What the earlier round cost and the price of the new POST both count, also after a crash."""
    previous, instruction = PREVIOUS[name]
    sending = after(instruction, AGAIN, start=previous)
    assert sending.previous == previous
    assert (sending.spent, sending.at_risk) == (previous.spent, previous.at_risk + sending.credits)
    recovered = after(*recovery_transitions(sending), start=sending)
    assert recovered.state is S.UNKNOWN
    assert recovered.at_risk == sending.at_risk


def test_proof_that_came_first_makes_a_resend_illegal() -> None:
    """Where a delivery proved the look first, the transaction of `Resend` and `Send` is refused."""
    proved = advance(UNKNOWN, Accept(REF, LATER, Evidence.WEBHOOK))
    with pytest.raises(IllegalTransition):
        after(Resend(), AGAIN, start=proved)


def test_what_never_cost_anything_is_replaced_for_good() -> None:
    """The new content stays, also when its POST is reverted, for example because credits are missing."""
    tried = after(SENT, Revert("a1"))
    assert tried.never_charged
    back = after(Replace(OTHER, "d2"), AGAIN, Revert("a2"), start=tried)
    assert (back.state, back.request, back.previous) == (S.PLANNED, OTHER, None)


@pytest.mark.parametrize("name", PREVIOUS)
def test_only_a_rejected_intent_was_never_charged(name: str) -> None:
    """An intent that was paid, or may have been, counts as charged, also once it is planned again."""
    previous, instruction = PREVIOUS[name]
    assert previous.never_charged is (name == "rejected")
    assert advance(previous, instruction).never_charged is (name == "rejected")


def test_the_attempts_of_earlier_content_are_kept_apart() -> None:
    """`Replace` moves all attempts to `past_attempts`; `Resend` does not, since the content is the same."""
    failed = PREVIOUS["failed"][0]
    assert failed.past_attempts == ()
    replaced = after(Replace(OTHER, "d2"), AGAIN, MarkUnknown("x"), start=failed)
    resent = after(Resend(), Send("a3", LATER), start=replaced)
    lost, found = (
        advance(resent, MarkUnknown("x")),
        advance(resent, Accept(LookRef("avtr_abc", "x"), LATER, Evidence.WEBHOOK)),
    )
    assert {intent.past_attempts for intent in (replaced, resent, lost, found)} == {("a1",)}
    assert advance(found, Replace(OTHER, "d3")).past_attempts == ("a1", "a2", "a3")


def test_unchanged_means_neither_sent_nor_settled_nor_replaced() -> None:
    """New candidates do not count as a change; a new attempt, a new state and new content do."""
    assert UNKNOWN.unchanged_since(after(SENT, MarkUnknown("dropped")))
    assert not after(Resend(), AGAIN, MarkUnknown("x"), start=UNKNOWN).unchanged_since(UNKNOWN)
    assert not PREVIOUS["ready"][0].unchanged_since(ACCEPTED)
    assert not advance(PLANNED, Replace(OTHER, "d2")).unchanged_since(PLANNED)


@pytest.mark.parametrize("name", PREVIOUS)
def test_a_send_can_require_that_the_intent_is_unchanged(name: str) -> None:
    """`IfUnchanged` changes nothing where it holds, and raises IllegalTransition where it does not."""
    previous, instruction = PREVIOUS[name]
    assert advance(previous, IfUnchanged(previous)) is previous
    again = after(IfUnchanged(previous), instruction, AGAIN, start=previous)
    assert again == after(instruction, AGAIN, start=previous)
    with pytest.raises(IllegalTransition, match="'alex' was changed meanwhile: it is sending"):
        advance(again, IfUnchanged(previous))


def test_an_intent_that_was_settled_meanwhile_is_not_unchanged() -> None:
    """The condition fails although `Replace` would be legal: it was meant for the earlier state."""
    ready = advance(ACCEPTED, Settle(Look(REF, LookStatus.READY), LATER))
    with pytest.raises(IllegalTransition):
        after(IfUnchanged(ACCEPTED), Replace(OTHER, "d2"), AGAIN, start=ready)


@pytest.mark.parametrize("name", PREVIOUS)
def test_the_previous_intent_is_stored(name: str) -> None:
    """A record of an intent whose new POST is outstanding holds the previous intent too."""
    previous, instruction = PREVIOUS[name]
    sending = after(instruction, AGAIN, start=previous)
    record = dump_intent(sending)
    assert json.loads(record)["previous"]["state"] == previous.state
    assert advance(load_intent(record), Revert("a2")) == previous


def test_a_record_of_an_earlier_version_can_be_read() -> None:
    """A record without the fields ``before`` and ``past_attempts`` is read as having none."""
    record = dump_intent(UNKNOWN)
    assert not {"previous", "past_attempts"} & set(json.loads(record))
    assert (load_intent(record).previous, load_intent(record).past_attempts) == (None, ())


@given(st.lists(st.sampled_from(["revert", "reject"]), max_size=5), st.sampled_from(CHARGED))
def test_any_number_of_posts_that_cost_nothing_restores_the_previous_intent(
    ends: list[str], name: str
) -> None:
    """After any sequence of reverted and refused POSTs the intent is what it was before them."""
    previous, instruction = PREVIOUS[name]
    intent = previous
    for n, end in enumerate(ends):
        intent = after(
            instruction, Send(f"b{n}", LATER), Revert(f"b{n}") if end == "revert" else NO, start=intent
        )
    assert intent == previous
    assert (intent.spent, intent.at_risk) != (FREE, FREE)
