"""The life of an intent: every step from every state, and the money along the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import attrs
import core_strategies as our
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoox_async._core.intents import Attempt, Evidence, Intent, IntentState, Refusal
from hoox_async._core.ledger import (
    TRANSITIONS,
    Accept,
    Drop,
    IllegalStep,
    Lose,
    Refuse,
    Renew,
    Resend,
    Retire,
    Send,
    Settle,
    Stands,
    Step,
    Suspect,
    TakeBack,
    advance,
    recover,
)
from hoox_async._core.models import Look, LookFailure, LookRef, LookStatus
from hoox_async._core.requests import FREE, LookEdit, PromptAvatar

S = IntentState
AT = datetime(2025, 7, 1, 12, 0, tzinfo=UTC)
SOURCE = LookRef("avtr_abc", "look_123")
REF = LookRef("avtr_abc", "look_new")
READY = Look(REF, LookStatus.READY, "https://x.example/t.jpg")
FAILED = Look(REF, LookStatus.FAILED, error=LookFailure("X", "Edit failed"))
NO = Refusal(400, "INVALID_VALUE", "No")
REQUEST = LookEdit(SOURCE, "podcast", upscale=True)
PRICE = Decimal("3.5")
OTHER = PromptAvatar("a", resolution="4K")
PLANNED = Intent("alex", True, REQUEST, "d1", AT)

STEPS: dict[type[Step], Step] = {
    Send: Send("a1", AT, SOURCE, True),
    TakeBack: TakeBack(),
    Accept: Accept(REF, AT, Evidence.ANSWER),
    Refuse: Refuse(NO, AT),
    Lose: Lose("dropped", AT),
    Retire: Retire(),
    Suspect: Suspect((REF,)),
    Settle: Settle(READY, AT),
    Resend: Resend(),
    Drop: Drop(),
    Renew: Renew(OTHER, "d2"),
}
PATHS: dict[IntentState, list[type[Step]]] = {
    S.PLANNED: [],
    S.SENDING: [Send],
    S.UNKNOWN: [Send, Lose],
    S.ACCEPTED: [Send, Accept],
    S.READY: [Send, Accept, Settle],
    S.FAILED: [Send, Accept],
    S.REJECTED: [Refuse],
    S.DROPPED: [Send, Lose, Drop],
}
LEGAL: dict[tuple[IntentState, type[Step]], IntentState] = {
    (S.PLANNED, Send): S.SENDING,
    (S.PLANNED, Refuse): S.REJECTED,
    (S.PLANNED, Renew): S.PLANNED,
    (S.SENDING, TakeBack): S.PLANNED,
    (S.SENDING, Accept): S.ACCEPTED,
    (S.SENDING, Refuse): S.REJECTED,
    (S.SENDING, Lose): S.UNKNOWN,
    (S.UNKNOWN, Accept): S.ACCEPTED,
    (S.UNKNOWN, Retire): S.UNKNOWN,
    (S.UNKNOWN, Suspect): S.UNKNOWN,
    (S.UNKNOWN, Resend): S.PLANNED,
    (S.UNKNOWN, Drop): S.DROPPED,
    (S.ACCEPTED, Settle): S.READY,
    (S.ACCEPTED, Renew): S.PLANNED,
    (S.READY, Settle): S.READY,
    (S.READY, Renew): S.PLANNED,
    (S.FAILED, Settle): S.FAILED,
    (S.FAILED, Renew): S.PLANNED,
    (S.REJECTED, Renew): S.PLANNED,
    (S.DROPPED, Accept): S.ACCEPTED,
    (S.DROPPED, Resend): S.PLANNED,
}


def after(*steps: Step, start: Intent = PLANNED) -> Intent:
    """The intent after all the steps."""
    for step in steps:
        start = advance(start, step)
    return start


def in_state(state: IntentState) -> Intent:
    """An intent in this state, come there by legal steps."""
    intent = after(*(STEPS[kind] for kind in PATHS[state]))
    return after(Settle(FAILED, AT), start=intent) if state is S.FAILED else intent


# --- the table --------------------------------------------------------------------------------


def test_the_table_knows_all_states_and_steps() -> None:
    """Every state has a row, and the checks below know every step but the condition, which leads nowhere."""
    assert set(TRANSITIONS) == set(IntentState) == set(PATHS)
    assert set(get_args(Step)) == {*STEPS, Stands}
    assert {kind for row in TRANSITIONS.values() for kind in row} == set(STEPS)


@pytest.mark.parametrize("kind", STEPS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("state", IntentState)
def test_every_step_from_every_state(state: IntentState, kind: type[Step]) -> None:
    """Each pair leads where the law says, or raises IllegalStep and changes nothing."""
    intent = in_state(state)
    assert intent.state is state
    before = attrs.evolve(intent)
    step = Settle(FAILED, AT) if (state, kind) == (S.FAILED, Settle) else STEPS[kind]
    if (state, kind) in LEGAL:
        assert advance(intent, step).state is LEGAL[state, kind]
    else:
        with pytest.raises(IllegalStep, match=f"'alex' is {state}: no {kind.__name__}"):
            advance(intent, step)
    assert intent == before


def test_only_planned_is_sent() -> None:
    """The one rule that keeps money: nothing is sent from anywhere else."""
    assert {state for state in IntentState if Send in TRANSITIONS[state]} == {S.PLANNED}


def test_what_was_accepted_can_not_be_lost_or_taken_back() -> None:
    """From ACCEPTED on only the look's own state matters, or paying anew."""
    for state in (S.ACCEPTED, S.READY, S.FAILED):
        assert set(TRANSITIONS[state]) == {Settle, Renew}


# --- what the steps write ---------------------------------------------------------------------


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
    again = after(STEPS[Send], TakeBack(), Send("a2", AT + timedelta(seconds=60), SOURCE))
    assert [attempt.id for attempt in again.attempts] == ["a1", "a2"]
    assert again.sent_at == AT + timedelta(seconds=60)


def test_a_refusal_is_kept() -> None:
    """Who asks later gets the same error."""
    for rejected in (after(STEPS[Refuse]), after(STEPS[Send], STEPS[Refuse])):
        assert (rejected.refusal, rejected.settled_at) == (NO, AT)


def test_a_loss_says_why_and_its_end_clears_it() -> None:
    """What is known of a loss stands until the look is found; sent anew, its candidates are kept."""
    lost = after(STEPS[Send], Lose("timed out", AT), Suspect((REF, SOURCE)), Retire())
    assert (lost.refusal, lost.lost_at) == (Refusal(None, None, "timed out"), AT)
    assert (lost.candidates, lost.retired) == ((REF, SOURCE), True)
    found = advance(lost, Accept(REF, AT, Evidence.USER))
    assert (found.refusal, found.candidates, found.evidence) == (None, (), Evidence.USER)
    resent = after(Resend(), start=lost)
    assert (resent.refusal, resent.lost_at, resent.retired) == (None, None, False)
    assert resent.candidates == (REF, SOURCE), "the first attempt's look may still be among them"


def test_suspects_are_added_and_taken_out() -> None:
    """Each who looks says what is to be added and what is another's: nobody writes over another's find."""
    third = LookRef("avtr_abc", "look_3")
    lost = after(STEPS[Send], STEPS[Lose], Suspect((REF, SOURCE)), Suspect((third, REF)))
    assert lost.candidates == (REF, SOURCE, third)
    assert advance(lost, Suspect((third,), (REF, SOURCE))).candidates == (third,)
    assert advance(lost, Suspect()).candidates == (REF, SOURCE, third)


def test_paying_anew_starts_clean_with_the_new_content() -> None:
    """What the earlier round told is gone; its attempts and its money are not."""
    renewed = after(STEPS[Send], STEPS[Accept], STEPS[Settle], Renew(OTHER, "d2"))
    assert (renewed.request, renewed.digest, renewed.state) == (OTHER, "d2", S.PLANNED)
    empty = (renewed.ref, renewed.evidence, renewed.accepted_at, renewed.settled_at, renewed.look)
    assert empty == (None, None, None, None, None)
    assert [attempt.id for attempt in renewed.attempts] == ["a1"]
    assert (renewed.key, renewed.own_key, renewed.planned_at) == ("alex", True, AT)


# --- settling ---------------------------------------------------------------------------------


def test_the_looks_status_names_the_state() -> None:
    """READY or FAILED, as the look is."""
    accepted = in_state(S.ACCEPTED)
    assert advance(accepted, Settle(READY, AT)).state is S.READY
    assert advance(accepted, Settle(FAILED, AT)).state is S.FAILED


@pytest.mark.parametrize("status", [status for status in LookStatus if not status.settled])
def test_a_look_that_is_not_done_settles_nothing(status: LookStatus) -> None:
    """Pending, processing and unknown words are no end."""
    with pytest.raises(IllegalStep, match="settles nothing"):
        advance(in_state(S.ACCEPTED), Settle(Look(REF, status), AT))


@pytest.mark.parametrize("state", [S.ACCEPTED, S.READY, S.FAILED])
def test_another_look_settles_nothing(state: IntentState) -> None:
    """A look that is not the intent's own is refused."""
    with pytest.raises(IllegalStep, match="not avtr_abc:look_x"):
        advance(in_state(state), Settle(Look(LookRef("avtr_abc", "look_x"), LookStatus.READY), AT))


def test_a_contradiction_changes_nothing() -> None:
    """A look that was ready does not become failed, nor the other way round."""
    with pytest.raises(IllegalStep, match="ready already"):
        advance(in_state(S.READY), Settle(FAILED, AT))
    with pytest.raises(IllegalStep, match="failed already"):
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


# --- money ------------------------------------------------------------------------------------


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
    resent = after(STEPS[Send], STEPS[Lose], Resend())
    assert (resent.spent, resent.at_risk) == (FREE, PRICE)
    ready = after(STEPS[Send], STEPS[Accept], STEPS[Settle], start=resent)
    assert (ready.spent, ready.at_risk) == (PRICE, PRICE)
    lost_again = after(STEPS[Send], STEPS[Lose], start=resent)
    assert (lost_again.spent, lost_again.at_risk) == (FREE, 2 * PRICE)


def test_what_was_paid_stays_paid_when_paid_anew() -> None:
    """A failed look that is tried again with another request: both prices are on the books."""
    renewed = after(Renew(OTHER, "d2"), start=in_state(S.FAILED))
    assert (renewed.spent, renewed.at_risk, renewed.credits) == (PRICE, FREE, Decimal(4))
    ready = after(STEPS[Send], STEPS[Accept], STEPS[Settle], start=renewed)
    assert (ready.spent, ready.at_risk) == (PRICE + 4, FREE)


@pytest.mark.parametrize("state", [S.PLANNED, S.REJECTED])
def test_what_cost_nothing_is_renewed_for_nothing(state: IntentState) -> None:
    """A changed request that was never taken brings no debt along."""
    renewed = advance(in_state(state), Renew(OTHER, "d2"))
    assert (renewed.spent, renewed.at_risk) == (FREE, FREE)


def test_a_found_look_was_paid_and_is_no_risk_any_more() -> None:
    """Proof turns the risk into a payment."""
    for state in (S.UNKNOWN, S.DROPPED):
        found = advance(in_state(state), STEPS[Accept])
        assert (found.spent, found.at_risk) == (PRICE, FREE)


def test_taken_back_costs_nothing() -> None:
    """What never left, or was refused without a charge, is as if it had not been tried."""
    back = after(STEPS[Send], TakeBack())
    assert (back.spent, back.at_risk) == (FREE, FREE)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(list(STEPS)), max_size=25))
def test_the_books_are_those_of_an_accountant(kinds: list[type[Step]]) -> None:
    """Over any life: at most one payment a sending, and nothing paid or at risk is ever forgotten."""
    intent, sent, owed, counted = PLANNED, 0, Decimal(0), 0
    for kind in kinds:
        try:
            following = advance(intent, Renew(REQUEST, "d1") if kind is Renew else STEPS[kind])
        except IllegalStep:
            continue
        sent += kind is Send
        # of one that is paid anew and costs nothing, what stood before has its own attempts
        undone = kind in (TakeBack, Refuse) and intent.before is not None and following == intent.before
        counted = len(following.attempts) if undone else counted + (kind is Send)
        before, now = intent.spent + intent.at_risk, following.spent + following.at_risk
        assert following.spent >= intent.spent
        if kind is Send:
            owed += PRICE
        elif kind in (TakeBack, Refuse):
            owed -= before - now
            assert before - now == (PRICE if intent.state is S.SENDING else 0)
        else:
            assert now == before
        assert now == owed <= sent * PRICE
        intent = following
    assert len(intent.attempts) == counted <= sent


# --- after a crash ----------------------------------------------------------------------------


@pytest.mark.parametrize("state", IntentState)
def test_recovery(state: IntentState) -> None:
    """Only what was being sent changes: it may have been paid, so it is unknown."""
    later = AT + timedelta(hours=1)
    intent = in_state(state)
    recovered = after(*recover(intent, later), start=intent)
    if state is S.SENDING:
        assert (recovered.state, recovered.lost_at, recovered.at_risk) == (S.UNKNOWN, later, PRICE)
        assert recovered.refusal is not None
        assert "ended" in recovered.refusal.message
        assert recover(recovered, later) == ()
    else:
        assert recovered == intent


@settings(deadline=None, max_examples=100)
@given(our.intents)
def test_recovery_is_legal_for_whatever_was_stored(intent: Intent) -> None:
    """No stored intent keeps a session from opening."""
    assert after(*recover(intent, AT), start=intent).state is not S.SENDING


def test_no_other_object_is_a_step() -> None:
    """A mistake of the library is an IllegalStep, too."""
    step: Any = "send"
    with pytest.raises(IllegalStep):
        advance(PLANNED, step)
