"""The life of an intent: every step from every state, and the money along the way."""

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
    READY,
    REF,
    SOURCE,
    STEPS,
    S,
    after,
    in_state,
)

from hoox_async._api.models import Look, LookRef, LookStatus
from hoox_async._core.intents.intent import Attempt, Evidence, IntentState, Reason
from hoox_async._core.intents.transitions import (
    TRANSITIONS,
    Accept,
    AddCandidates,
    Correct,
    EndSearch,
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


def test_the_table_knows_all_states_and_steps() -> None:
    """Every state has a row, and the checks below know every step but the condition, which leads nowhere."""
    assert set(TRANSITIONS) == set(IntentState) == set(PATHS)
    assert set(get_args(Transition)) == {*STEPS, IfUnchanged, Correct}
    assert {kind for row in TRANSITIONS.values() for kind in row} == {*STEPS, Correct}


@pytest.mark.parametrize("kind", STEPS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("state", IntentState)
def test_every_step_from_every_state(state: IntentState, kind: type[Transition]) -> None:
    """Each pair leads where the law says, or raises IllegalTransition and changes nothing."""
    intent = in_state(state)
    assert intent.state is state
    before = attrs.evolve(intent)
    step = Settle(FAILED, AT) if (state, kind) == (S.FAILED, Settle) else STEPS[kind]
    if (state, kind) in LEGAL:
        assert advance(intent, step).state is LEGAL[state, kind]
    else:
        with pytest.raises(IllegalTransition, match=f"'alex' is {state}: no {kind.__name__}"):
            advance(intent, step)
    assert intent == before


def test_only_planned_is_sent() -> None:
    """The one rule that keeps money: nothing is sent from anywhere else."""
    assert {state for state in IntentState if Send in TRANSITIONS[state]} == {S.PLANNED}


def test_what_was_accepted_can_not_be_lost_or_taken_back() -> None:
    """From ACCEPTED on only the look's own state matters, or paying anew."""
    for state in (S.ACCEPTED, S.READY, S.FAILED):
        assert set(TRANSITIONS[state]) == {Settle, Correct, Replace}


# --- one look, one intent


@pytest.mark.parametrize("state", [S.ACCEPTED, S.READY, S.FAILED])
def test_the_users_word_can_be_said_again(state: IntentState) -> None:
    """Where the user named the look, the user may name another; it is accepted anew and costs no more."""
    other = LookRef("avtr_abc", "look_right")
    intent = after(STEPS[Send], STEPS[MarkUnknown], Accept(REF, AT, Evidence.USER))
    if state is not S.ACCEPTED:
        intent = advance(intent, Settle(READY if state is S.READY else FAILED, AT))
    assert intent.state is state
    corrected = advance(intent, Correct(other, AT + timedelta(seconds=9)))
    assert (corrected.state, corrected.ref, corrected.evidence) == (S.ACCEPTED, other, Evidence.USER)
    assert (corrected.look, corrected.settled_at) == (None, None)
    assert (corrected.spent, corrected.at_risk) == (intent.spent, intent.at_risk)


@pytest.mark.parametrize("evidence", [Evidence.ANSWER, Evidence.WEBHOOK, Evidence.INFERRED])
def test_a_proof_is_not_corrected_by_the_users_word(evidence: Evidence) -> None:
    """What the answer, a delivery or elimination named stands."""
    intent = after(STEPS[Send], STEPS[MarkUnknown], Accept(REF, AT, evidence))
    with pytest.raises(IllegalTransition, match=evidence.value):
        advance(intent, Correct(LookRef("avtr_abc", "look_other"), AT))


def test_a_look_of_an_earlier_round_is_not_the_next_rounds_too() -> None:
    """Each round is paid for by itself: an answer that names the earlier look again contradicts itself."""
    renewed = after(Replace(OTHER, "d2"), STEPS[Send], start=in_state(S.FAILED))
    assert claimed_look(renewed) == REF
    with pytest.raises(LookTaken, match="look_new belongs to 'alex' already"):
        advance(renewed, STEPS[Accept])
    assert claimed_look(advance(renewed, Revert())) == REF
    assert claimed_look(advance(renewed, STEPS[MarkUnknown])) is None


# --- what the steps write


def test_a_plain_life() -> None:
    """Planned, sent, accepted, ready: each step writes what it knows."""
    later = AT + timedelta(seconds=40)
    sent = after(STEPS[Send])
    assert (sent.attempts, sent.source, sent.sent_at) == ((Attempt("a1", AT, True),), SOURCE, AT)
    accepted = advance(sent, STEPS[Accept])
    assert (accepted.ref, accepted.evidence, accepted.accepted_at) == (REF, Evidence.ANSWER, AT)
    ready = advance(accepted, Settle(READY, later))
    assert (ready.look, ready.settled_at, ready.state) == (READY, later, S.READY)
    assert (PLANNED.sent_at, PLANNED.avatar_id) == (None, None)
    assert sent.avatar_id == "avtr_abc"
    assert accepted.avatar_id == "avtr_abc"


def test_the_avatar_of_an_answer_wins() -> None:
    """Once the look is known, its own avatar counts, not the source's."""
    accepted = after(STEPS[Send], Accept(LookRef("avtr_x", "l"), AT, Evidence.WEBHOOK))
    assert (accepted.source, accepted.avatar_id) == (SOURCE, "avtr_x")


def test_a_second_attempt_keeps_the_first() -> None:
    """A delivery on an old attempt's token must still find its intent."""
    again = after(STEPS[Send], Revert(), Send("a2", AT + timedelta(seconds=60), SOURCE))
    assert [attempt.id for attempt in again.attempts] == ["a1", "a2"]
    assert again.sent_at == AT + timedelta(seconds=60)


def test_a_refusal_is_kept() -> None:
    """Who asks later gets the same error."""
    for rejected in (after(STEPS[Reject]), after(STEPS[Send], STEPS[Reject])):
        assert (rejected.reason, rejected.settled_at) == (NO, AT)


def test_a_loss_says_why_and_its_end_clears_it() -> None:
    """What is known of a loss stands until the look is found; sent anew, its candidates are kept."""
    lost = after(STEPS[Send], MarkUnknown("timed out", AT), AddCandidates((REF, SOURCE)), EndSearch())
    assert (lost.reason, lost.lost_at) == (Reason(None, None, "timed out"), AT)
    assert (lost.candidates, lost.search_ended) == ((REF, SOURCE), True)
    found = advance(lost, Accept(REF, AT, Evidence.USER))
    assert (found.reason, found.candidates, found.evidence) == (None, (), Evidence.USER)
    resent = after(Resend(), start=lost)
    assert (resent.reason, resent.lost_at, resent.search_ended) == (None, None, False)
    assert resent.candidates == (REF, SOURCE), "the first attempt's look may still be among them"


def test_suspects_are_added_and_taken_out() -> None:
    """Each who looks says what is to be added and what is another's: nobody writes over another's find."""
    third = LookRef("avtr_abc", "look_3")
    lost = after(STEPS[Send], STEPS[MarkUnknown], AddCandidates((REF, SOURCE)), AddCandidates((third, REF)))
    assert lost.candidates == (REF, SOURCE, third)
    assert advance(lost, AddCandidates((third,), (REF, SOURCE))).candidates == (third,)
    assert advance(lost, AddCandidates()).candidates == (REF, SOURCE, third)


def test_paying_anew_starts_clean_with_the_new_content() -> None:
    """What the earlier round told is gone; its attempts and its money are not."""
    renewed = after(STEPS[Send], STEPS[Accept], STEPS[Settle], Replace(OTHER, "d2"))
    assert (renewed.request, renewed.digest, renewed.state) == (OTHER, "d2", S.PLANNED)
    empty = (renewed.ref, renewed.evidence, renewed.accepted_at, renewed.settled_at, renewed.look)
    assert empty == (None, None, None, None, None)
    assert [attempt.id for attempt in renewed.attempts] == ["a1"]
    assert (renewed.key, renewed.own_key, renewed.planned_at) == ("alex", True, AT)


# --- settling


def test_the_looks_status_names_the_state() -> None:
    """READY or FAILED, as the look is."""
    accepted = in_state(S.ACCEPTED)
    assert advance(accepted, Settle(READY, AT)).state is S.READY
    assert advance(accepted, Settle(FAILED, AT)).state is S.FAILED


@pytest.mark.parametrize("status", [status for status in LookStatus if not status.settled])
def test_a_look_that_is_not_done_settles_nothing(status: LookStatus) -> None:
    """Pending, processing and unknown words are no end."""
    with pytest.raises(IllegalTransition, match="is not done"):
        advance(in_state(S.ACCEPTED), Settle(Look(REF, status), AT))


@pytest.mark.parametrize("state", [S.ACCEPTED, S.READY, S.FAILED])
def test_another_look_settles_nothing(state: IntentState) -> None:
    """A look that is not the intent's own is refused."""
    with pytest.raises(IllegalTransition, match="not avtr_abc:look_x"):
        advance(in_state(state), Settle(Look(LookRef("avtr_abc", "look_x"), LookStatus.READY), AT))


def test_a_contradiction_changes_nothing() -> None:
    """A look that was ready does not become failed, nor the other way round."""
    with pytest.raises(IllegalTransition, match="ready already"):
        advance(in_state(S.READY), Settle(FAILED, AT))
    with pytest.raises(IllegalTransition, match="failed already"):
        advance(in_state(S.FAILED), Settle(READY, AT))


def test_said_again_it_fills_in_what_was_missing() -> None:
    """A missing picture or reason comes later; what is there, and when it settled, stands."""
    later = AT + timedelta(seconds=5)
    bare = after(STEPS[Send], STEPS[Accept], Settle(Look(REF, LookStatus.READY), AT))
    filled = advance(bare, Settle(READY, later))
    assert filled.look is not None
    assert (filled.look.thumbnail_url, filled.settled_at) == (READY.thumbnail_url, AT)
    again = advance(filled, Settle(attrs.evolve(READY, thumbnail_url="https://x.example/other.jpg"), later))
    assert again == filled
    silent = after(STEPS[Send], STEPS[Accept], Settle(Look(REF, LookStatus.FAILED), AT))
    told = advance(silent, Settle(FAILED, later))
    assert told.look is not None
    assert told.look.error == FAILED.error
