"""The transitions of an intent: each one from each state, and what it writes."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

import attrs
import pytest
from intents_kit import (
    AT,
    FAILED,
    LEGAL,
    NO,
    OTHER,
    PATHS,
    PLANNED,
    PRICE,
    READY,
    REF,
    SOURCE,
    STEPS,
    S,
    after,
    in_state,
)

from hoox_async import Evidence, Look, LookRef, LookStatus
from hoox_async._core.intents.intent import Attempt, IntentState, Reason
from hoox_async._core.intents.transitions import (
    TRANSITIONS,
    Accept,
    AddCandidates,
    Correct,
    IfUnchanged,
    IllegalTransition,
    LookTaken,
    MarkUnknown,
    Reject,
    Replace,
    Resend,
    Revert,
    Send,
    Settle,
    Transition,
    advance,
    claimed_look,
)

# --- the table


def test_the_table_has_all_states_and_transitions() -> None:
    """Every state has a row, and the tests cover every transition but `IfUnchanged`, which changes none."""
    assert set(TRANSITIONS) == set(IntentState) == set(PATHS)
    assert set(get_args(Transition)) == {*STEPS, IfUnchanged, Correct}
    assert {kind for row in TRANSITIONS.values() for kind in row} == {*STEPS, Correct}


@pytest.mark.parametrize("kind", STEPS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("state", IntentState)
def test_each_transition_from_each_state(state: IntentState, kind: type[Transition]) -> None:
    """A legal pair leads to the state in `LEGAL`; any other raises IllegalTransition and changes nothing.

    A `Revert` of a sending that is over changes nothing and is no error.
    """
    intent = in_state(state)
    assert intent.state is state
    before = attrs.evolve(intent)
    step = Settle(FAILED, AT) if (state, kind) == (S.FAILED, Settle) else STEPS[kind]
    if (state, kind) in LEGAL:
        assert advance(intent, step).state is LEGAL[state, kind]
    elif kind is Revert:
        assert advance(intent, step) is intent
    else:
        with pytest.raises(IllegalTransition, match=f"'alex' is {state}: no {kind.__name__}"):
            advance(intent, step)
    assert intent == before


def test_an_intent_is_sent_only_from_planned() -> None:
    """`Send` is legal from PLANNED and from no other state, so nothing is sent twice by mistake."""
    assert {state for state in IntentState if Send in TRANSITIONS[state]} == {S.PLANNED}


def test_an_accepted_intent_cannot_be_lost_or_reverted() -> None:
    """From ACCEPTED on an intent can only be settled, corrected by the user, or paid again; an answer that
    comes late can be recorded beside its look.
    """
    for state in (S.ACCEPTED, S.READY, S.FAILED):
        assert set(TRANSITIONS[state]) == {Settle, Correct, Replace, Accept}


# --- one look, one intent


@pytest.mark.parametrize("state", [S.ACCEPTED, S.READY, S.FAILED])
def test_the_user_can_name_another_look(state: IntentState) -> None:
    """A look that the user named can be replaced by another one, which is accepted and costs no more."""
    other = LookRef("avtr_abc", "look_right")
    intent = after(STEPS[Send], STEPS[MarkUnknown], Accept(REF, AT, Evidence.USER))
    if state is not S.ACCEPTED:
        intent = advance(intent, Settle(READY if state is S.READY else FAILED, AT))
    assert intent.state is state
    corrected = advance(intent, Correct(other, AT + timedelta(seconds=9)))
    assert (corrected.state, corrected.ref, corrected.evidence) == (S.ACCEPTED, other, Evidence.USER)
    assert (corrected.look, corrected.settled_at) == (None, None)
    assert (corrected.spent, corrected.at_risk) == (intent.spent, intent.at_risk)


@pytest.mark.parametrize("evidence", [Evidence.ANSWER, Evidence.WEBHOOK])
def test_the_user_cannot_correct_a_proof(evidence: Evidence) -> None:
    """A look that is known from the answer or a delivery cannot be replaced by the user."""
    intent = after(STEPS[Send], STEPS[MarkUnknown], Accept(REF, AT, evidence))
    with pytest.raises(IllegalTransition, match=evidence.value):
        advance(intent, Correct(LookRef("avtr_abc", "look_other"), AT))


def test_the_look_of_an_earlier_round_cannot_be_the_next_rounds_too() -> None:
    """Each round pays for a look of its own, so an answer that names the earlier look proves nothing."""
    replaced = after(Replace(OTHER, "d2"), Send("a2", AT), start=in_state(S.FAILED))
    assert claimed_look(replaced) == REF
    with pytest.raises(LookTaken, match="look_new belongs to 'alex' already"):
        advance(replaced, STEPS[Accept])
    for end in (Revert("a2"), STEPS[MarkUnknown]):
        assert claimed_look(advance(replaced, end)) == REF


# --- what the steps write


def test_each_transition_of_a_plain_life_writes_what_it_knows() -> None:
    """Sending writes the attempt, accepting the look and its evidence, settling the result and its time."""
    later = AT + timedelta(seconds=40)
    sent = after(STEPS[Send])
    assert (sent.attempts, sent.source, sent.sent_at) == (
        (Attempt("a1", AT, PRICE),),
        SOURCE,
        AT,
    )
    accepted = advance(sent, STEPS[Accept])
    assert (accepted.ref, accepted.evidence, accepted.accepted_at) == (REF, Evidence.ANSWER, AT)
    ready = advance(accepted, Settle(READY, later))
    assert (ready.look, ready.settled_at, ready.state) == (READY, later, S.READY)
    assert (PLANNED.sent_at, PLANNED.avatar_id) == (None, None)
    assert sent.avatar_id == "avtr_abc"
    assert accepted.avatar_id == "avtr_abc"


def test_an_edit_belongs_to_the_avatar_that_was_edited() -> None:
    """`avatar_id` is the source's avatar, also where the look is in a copy of it; else that of the look."""
    edited = after(STEPS[Send], Accept(LookRef("avtr_x", "l"), AT, Evidence.WEBHOOK))
    assert (edited.ref, edited.avatar_id) == (LookRef("avtr_x", "l"), SOURCE.avatar_id)
    assert attrs.evolve(edited, source=None).avatar_id == "avtr_x"


def test_a_second_attempt_does_not_replace_the_first() -> None:
    """All attempts are kept: a delivery on an old attempt's token must still find its intent."""
    again = after(STEPS[Send], Revert("a1"), Send("a2", AT + timedelta(seconds=60), SOURCE))
    assert [attempt.id for attempt in again.attempts] == ["a1", "a2"]
    assert again.sent_at == AT + timedelta(seconds=60)


def test_a_rejection_keeps_its_reason() -> None:
    """The reason is stored, so that the same error can be raised later."""
    for rejected in (after(STEPS[Reject]), after(STEPS[Send], STEPS[Reject])):
        assert (rejected.reason, rejected.settled_at) == (NO, AT)


def test_the_reason_of_a_loss_is_kept_until_the_look_is_found() -> None:
    """Finding the look clears reason and candidates; a resend clears the reason and keeps the candidates."""
    lost = after(STEPS[Send], MarkUnknown("timed out"), AddCandidates((REF, SOURCE)))
    assert lost.reason == Reason(None, None, "timed out")
    assert lost.candidates == (REF, SOURCE)
    found = advance(lost, Accept(REF, AT, Evidence.USER))
    assert (found.reason, found.candidates, found.evidence) == (None, (), Evidence.USER)
    resent = after(Resend(), start=lost)
    assert resent.reason is None
    assert resent.candidates == (REF, SOURCE), "the first attempt's look may still be among them"


def test_candidates_are_added_and_removed() -> None:
    """Candidates join those that are known, and looks that other intents have taken are removed."""
    third = LookRef("avtr_abc", "look_3")
    lost = after(STEPS[Send], STEPS[MarkUnknown], AddCandidates((REF, SOURCE)), AddCandidates((third, REF)))
    assert lost.candidates == (REF, SOURCE, third)
    assert advance(lost, AddCandidates((third,), (REF, SOURCE))).candidates == (third,)
    assert advance(lost, AddCandidates()).candidates == (REF, SOURCE, third)


def test_a_replacement_begins_a_round_with_the_new_content() -> None:
    """The look of the earlier round is cleared; its attempts are kept, and so is what was planned."""
    replaced = after(STEPS[Send], STEPS[Accept], STEPS[Settle], Replace(OTHER, "d2"))
    assert (replaced.request, replaced.digest, replaced.state) == (OTHER, "d2", S.PLANNED)
    empty = (replaced.ref, replaced.evidence, replaced.accepted_at, replaced.settled_at, replaced.look)
    assert empty == (None, None, None, None, None)
    assert [attempt.id for attempt in replaced.attempts] == ["a1"]
    assert (replaced.key, replaced.own_key, replaced.planned_at) == ("alex", True, AT)


# --- settling


def test_the_status_of_the_look_decides_the_state() -> None:
    """A look that is ready makes the intent READY, and one that failed makes it FAILED."""
    accepted = in_state(S.ACCEPTED)
    assert advance(accepted, Settle(READY, AT)).state is S.READY
    assert advance(accepted, Settle(FAILED, AT)).state is S.FAILED


@pytest.mark.parametrize("status", [status for status in LookStatus if not status.settled])
def test_a_look_that_is_not_done_settles_nothing(status: LookStatus) -> None:
    """A look that is pending, processing or in an unrecognized state cannot settle an intent."""
    with pytest.raises(IllegalTransition, match="is not done"):
        advance(in_state(S.ACCEPTED), Settle(Look(REF, status), AT))


@pytest.mark.parametrize("state", [S.ACCEPTED, S.READY, S.FAILED])
def test_another_look_settles_nothing(state: IntentState) -> None:
    """A look with another ref than the intent's own cannot settle it."""
    with pytest.raises(IllegalTransition, match="not avtr_abc:look_x"):
        advance(in_state(state), Settle(Look(LookRef("avtr_abc", "look_x"), LookStatus.READY), AT))


def test_a_settled_intent_keeps_its_result() -> None:
    """An intent that is READY cannot become FAILED, nor the other way round."""
    with pytest.raises(IllegalTransition, match="ready already"):
        advance(in_state(S.READY), Settle(FAILED, AT))
    with pytest.raises(IllegalTransition, match="failed already"):
        advance(in_state(S.FAILED), Settle(READY, AT))


def test_settling_again_fills_in_what_was_missing() -> None:
    """A missing picture or error is added later; what is there already, and the time, do not change."""
    later = AT + timedelta(seconds=5)
    bare = after(STEPS[Send], STEPS[Accept], Settle(Look(REF, LookStatus.READY), AT))
    filled = advance(bare, Settle(READY, later))
    assert filled.look is not None
    assert (filled.look.thumbnail_url, filled.settled_at) == (READY.thumbnail_url, AT)
    again = advance(filled, Settle(attrs.evolve(READY, thumbnail_url="https://x.example/other.jpg"), later))
    assert again == filled
    silent = after(STEPS[Send], STEPS[Accept], Settle(Look(REF, LookStatus.FAILED), AT))
    filled_in = advance(silent, Settle(FAILED, later))
    assert filled_in.look is not None
    assert filled_in.look.error == FAILED.error


@pytest.mark.parametrize("opened", [-1, 0, 1])
def test_a_look_that_a_later_session_finds_settled_says_since_when_it_was_watched(opened: int) -> None:
    """That is when the session was opened, where the look was sent before. A new round forgets it."""
    since = AT + timedelta(seconds=opened)
    settled = after(STEPS[Send], STEPS[Accept], Settle(READY, AT + timedelta(minutes=5), since))
    assert settled.watched_since == (since if opened > 0 else None)
    assert advance(settled, Settle(READY, AT, AT + timedelta(days=1))).watched_since == settled.watched_since
    assert advance(settled, Replace(OTHER, "d2")).watched_since is None
