"""Ends of a sending that come late: the attempt's id is the fencing token of what it may change."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from intents_kit import AT, NO, OTHER, PLANNED, PRICE, SOURCE, S, after, in_state

from hoox_async import Evidence, LookEdit, LookRef
from hoox_async._api.requests import FREE
from hoox_async._core.intents.intent import Intent, IntentState
from hoox_async._core.intents.transitions import (
    Accept,
    Drop,
    IllegalTransition,
    LookTaken,
    MarkUnknown,
    Reject,
    Replace,
    Resend,
    Revert,
    Send,
    Transition,
    advance,
    claimed_look,
    recovery_transitions,
)

LATER = AT + timedelta(hours=1)
DEADLINE = AT + timedelta(minutes=2)
FIRST = Send("a1", AT, SOURCE, answer_by=DEADLINE)
SECOND = Send("a2", LATER, SOURCE, answer_by=LATER + timedelta(minutes=2))
PRESUMED = MarkUnknown("its process is presumed dead", "a1", presumed=True)
LOOK_1, LOOK_2 = LookRef("avtr_abc", "made_1"), LookRef("avtr_abc", "made_2")


def accept(ref: LookRef, attempt_id: str) -> Accept:
    return Accept(ref, LATER, Evidence.ANSWER, attempt_id)


UNKNOWN = after(FIRST, PRESUMED)
SENT_AGAIN = after(Resend(), SECOND, start=UNKNOWN)
FREE_ENDS: list[Transition] = [Revert("a1"), Reject(NO, LATER, "a1")]
ENDS_OF_FIRST: list[Transition] = [*FREE_ENDS, MarkUnknown("cut", "a1"), PRESUMED]


@pytest.mark.parametrize("end", ENDS_OF_FIRST)
def test_an_end_of_an_older_attempt_never_touches_a_newer_one(end: Transition) -> None:
    """A late 429, refusal or loss of the first POST leaves the intent as the second POST has it."""
    assert advance(SENT_AGAIN, end) is SENT_AGAIN
    accepted = advance(SENT_AGAIN, accept(LOOK_2, "a2"))
    assert advance(accepted, end) is accepted
    lost = advance(SENT_AGAIN, MarkUnknown("cut", "a2"))
    assert advance(lost, end) is lost


@pytest.mark.parametrize("end", ENDS_OF_FIRST)
def test_an_end_of_an_attempt_that_was_never_written_changes_nothing(end: Transition) -> None:
    """So a write of SENDING whose answer was lost can be taken back without knowing whether it took place."""
    assert advance(PLANNED, end) is PLANNED
    other = after(SECOND)
    assert advance(other, end) is other


@pytest.mark.parametrize("state", [S.PLANNED, S.ACCEPTED, S.READY, S.FAILED, S.REJECTED, S.DROPPED])
@pytest.mark.parametrize("end", ENDS_OF_FIRST)
def test_an_end_of_what_is_settled_already_changes_nothing(state: IntentState, end: Transition) -> None:
    """An intent that was settled otherwise keeps its result, whatever its last attempt ends with."""
    intent = in_state(state)
    assert advance(intent, end) is intent


@pytest.mark.parametrize("end", [*ENDS_OF_FIRST, accept(LOOK_1, "a1")])
@pytest.mark.parametrize("start", [after(FIRST), UNKNOWN, SENT_AGAIN])
def test_each_end_can_be_written_twice(start: Intent, end: Transition) -> None:
    """The second writing of an end, after an answer of the store that was lost, changes nothing."""
    once = advance(start, end)
    assert advance(once, end) == once


# --- an attempt that was presumed lost, and is the last one


@pytest.mark.parametrize(("end", "state"), [(FREE_ENDS[0], S.PLANNED), (FREE_ENDS[1], S.REJECTED)])
def test_a_late_answer_that_it_cost_nothing_ends_the_doubt(end: Transition, state: IntentState) -> None:
    """Where its process was presumed dead and its refusal came, nothing is at risk any more."""
    ended = advance(UNKNOWN, end)
    assert (ended.state, ended.at_risk, ended.spent) == (state, FREE, FREE)
    assert ended.candidates == ()
    assert ended.never_charged


@pytest.mark.parametrize("end", [Revert("a2"), Reject(NO, LATER, "a2")])
def test_a_late_answer_that_it_cost_nothing_restores_what_stood_before(end: Transition) -> None:
    """A resend that was presumed lost gives way to the first unknown, and a new payment to the first look."""
    presumed = MarkUnknown("presumed dead", "a2", presumed=True)
    assert after(presumed, end, start=SENT_AGAIN) == UNKNOWN
    failed = in_state(S.FAILED)
    assert after(Replace(OTHER, "d2"), SECOND, presumed, end, start=failed) == failed


@pytest.mark.parametrize("end", [Revert("a1"), Reject(NO, LATER, "a1")])
def test_it_stays_unknown_where_nothing_stands_before_and_earlier_rounds_have_cost_something(
    end: Transition,
) -> None:
    """An unknown whose previous intent is not kept any more can't become an intent that cost nothing."""
    owed = attrs.evolve(UNKNOWN, past_at_risk=PRICE)
    assert advance(owed, end) is owed


def test_only_one_previous_intent_is_kept() -> None:
    """An intent that is sent again and again does not keep the intents of all its rounds."""
    lost = advance(SENT_AGAIN, MarkUnknown("cut", "a2"))
    assert lost.previous == UNKNOWN
    third = after(Resend(), Send("a3", LATER), start=lost)
    assert third.previous is not None
    assert (third.previous.state, third.previous.previous) == (S.UNKNOWN, None)
    assert advance(lost, Drop()).previous is None


@pytest.mark.parametrize("start", [after(FIRST), UNKNOWN, advance(UNKNOWN, Drop())])
def test_a_late_acceptance_of_the_last_attempt_is_the_intents_own(start: Intent) -> None:
    """A look whose answer comes after its process was presumed dead, or dropped by the user, is the key's."""
    accepted = advance(start, accept(LOOK_1, "a1"))
    assert (accepted.state, accepted.ref, accepted.evidence) == (S.ACCEPTED, LOOK_1, Evidence.ANSWER)
    assert (accepted.spent, accepted.at_risk) == (PRICE, FREE)


def test_an_unknown_needs_an_end_that_names_its_attempt() -> None:
    """An end that names no attempt is legal only while the POST is outstanding."""
    for end in (Reject(NO, LATER), MarkUnknown("cut")):
        with pytest.raises(IllegalTransition):
            advance(UNKNOWN, end)
    for state in (S.ACCEPTED, S.READY, S.FAILED):
        with pytest.raises(IllegalTransition):
            advance(in_state(state), Accept(LOOK_1, LATER, Evidence.ANSWER))


# --- doubles


def test_an_acceptance_of_an_older_attempt_is_a_double_in_the_books() -> None:
    """While the second POST is outstanding, the first one's look is spent, claimed, and not the key's."""
    doubled = advance(SENT_AGAIN, accept(LOOK_1, "a1"))
    assert (doubled.state, doubled.ref, doubled.attempts[-1]) == (S.SENDING, None, SENT_AGAIN.attempts[-1])
    assert (doubled.spent, doubled.at_risk) == (PRICE, PRICE)
    assert claimed_look(doubled) == LOOK_1
    accepted = advance(doubled, accept(LOOK_2, "a2"))
    assert (accepted.ref, accepted.spent, accepted.at_risk) == (LOOK_2, 2 * PRICE, FREE)
    assert accepted.past_looks == (LOOK_1,)
    assert advance(accepted, accept(LOOK_1, "a1")) is accepted


@pytest.mark.parametrize("end", [Revert("a2"), Reject(NO, LATER, "a2")])
def test_a_doubles_look_becomes_the_keys_where_the_second_post_cost_nothing(end: Transition) -> None:
    """The look that was paid for is not lost: the restored intent has it."""
    restored = after(accept(LOOK_1, "a1"), end, start=SENT_AGAIN)
    assert (restored.state, restored.ref, restored.spent, restored.at_risk) == (
        S.ACCEPTED, LOOK_1, PRICE, FREE
    )  # fmt: skip


@pytest.mark.parametrize("answer_first", [True, False])
def test_a_doubles_look_becomes_the_keys_where_the_second_post_is_lost(answer_first: bool) -> None:
    """In either order the key has the first POST's look, and the second POST's credits stay at risk."""
    ends: list[Transition] = [accept(LOOK_1, "a1"), MarkUnknown("cut", "a2")]
    settled = after(*(ends if answer_first else reversed(ends)), start=SENT_AGAIN)
    assert (settled.state, settled.ref) == (S.ACCEPTED, LOOK_1)
    assert (settled.spent, settled.at_risk) == (PRICE, PRICE)
    assert [attempt.id for attempt in settled.attempts] == ["a1", "a2"]
    late = advance(settled, accept(LOOK_2, "a2"))
    assert (late.ref, late.past_looks, late.spent, late.at_risk) == (
        LOOK_1, (LOOK_2,), 2 * PRICE, FREE
    )  # fmt: skip


def test_a_double_of_earlier_content_costs_what_that_content_cost() -> None:
    """After a resend and a replacement with a dearer request, the first POST's own price moves."""
    accepted = advance(SENT_AGAIN, accept(LOOK_2, "a2"))
    replaced = after(Replace(OTHER, "d2"), Send("a3", LATER), start=accepted)
    assert (replaced.spent, replaced.at_risk, replaced.credits) == (PRICE, PRICE + 4, Decimal(4))
    doubled = advance(replaced, accept(LOOK_1, "a1"))
    assert (doubled.spent, doubled.at_risk) == (2 * PRICE, Decimal(4))
    assert after(Revert("a3"), start=doubled).spent == 2 * PRICE


def test_the_look_of_content_that_was_replaced_is_never_the_new_contents() -> None:
    """Where the new POST is lost, the late look of the earlier content is a double, and the key unknown."""
    lost_twice = after(MarkUnknown("cut", "a2"), start=SENT_AGAIN)
    accepted = advance(lost_twice, accept(LOOK_2, "a2"))
    replaced = after(Replace(OTHER, "d2"), Send("a3", LATER), MarkUnknown("cut", "a3"), start=accepted)
    doubled = advance(replaced, accept(LOOK_1, "a1"))
    assert (doubled.state, doubled.ref, doubled.past_looks) == (S.UNKNOWN, None, (LOOK_2, LOOK_1))


def test_the_previous_rounds_look_cannot_be_an_unknowns() -> None:
    """A look that was paid for in the round before is not the one that the lost POST made."""
    lost = after(Replace(OTHER, "d2"), SECOND, MarkUnknown("cut", "a2"), start=in_state(S.READY))
    assert lost.previous is not None
    assert lost.previous.ref is not None
    with pytest.raises(LookTaken):
        advance(lost, Accept(lost.previous.ref, LATER, Evidence.USER))


def test_an_acceptance_without_its_attempt_is_refused() -> None:
    """An intent that never had the attempt cannot record its look."""
    with pytest.raises(IllegalTransition, match="no attempt 'other'"):
        advance(after(FIRST), accept(LOOK_1, "other"))


# --- until when an answer may come


def test_only_a_presumption_keeps_the_time_until_which_an_answer_may_come() -> None:
    """Its own process, or a recovery that knows it to be dead, says that nobody waits for it any more."""
    assert after(FIRST).answer_by == UNKNOWN.answer_by == DEADLINE
    assert after(FIRST, MarkUnknown("cut", "a1")).answer_by is None
    assert after(*recovery_transitions(after(FIRST)), start=after(FIRST)).answer_by is None
    confirmed = advance(UNKNOWN, MarkUnknown("the answer did not come", "a1"))
    assert (confirmed.answer_by, confirmed.state) == (None, S.UNKNOWN)
    assert confirmed.unchanged_since(UNKNOWN)
    assert advance(confirmed, PRESUMED) is confirmed


# --- any order


class _Post(NamedTuple):
    """A POST: what the API charged for it, and the end that its process tells, once or several times."""

    id: str
    charged: Decimal
    end: Transition


class Workspace:
    """One key, the POSTs that were sent for it, and what the API charged for them."""

    def __init__(self) -> None:
        self.intent = PLANNED
        self.posts: list[_Post] = []

    def send(self, instruction: Resend | Replace | None, charged: bool, is_answered: bool) -> None:
        """Send it, again if there is an instruction. It is charged or not, and answered or lost."""
        number = len(self.posts) + 1
        attempt_id = f"a{number}"
        send = Send(attempt_id, LATER, SOURCE, answer_by=LATER)
        steps = (send,) if instruction is None else (instruction, send)
        with suppress(IllegalTransition):
            self.intent = after(*steps, start=self.intent)
            end: Transition = MarkUnknown("cut", attempt_id)
            if is_answered and charged:
                end = accept(LookRef("avtr_abc", f"made_{number}"), attempt_id)
            elif is_answered:
                end = Revert(attempt_id) if number % 2 else Reject(NO, LATER, attempt_id)
            self.posts.append(_Post(attempt_id, self.intent.credits if charged else FREE, end))

    def end(self, post: _Post) -> None:
        """Its process records how the POST ended."""
        before = self.intent
        self.intent = advance(before, post.end)
        if before.state is S.SENDING and not before.was_last_sent_by(post.id):
            assert (self.intent.state, self.intent.attempts[-1]) == (S.SENDING, before.attempts[-1])
        if isinstance(post.end, Accept):
            assert post.end.ref in {self.intent.ref, *self.intent.past_looks}

    def presume_dead(self) -> None:
        """Another process takes the process that is sending for dead."""
        if self.intent.state is S.SENDING:
            presumed = MarkUnknown("presumed dead", self.intent.attempts[-1].id, presumed=True)
            self.intent = advance(self.intent, presumed)

    def drop(self) -> None:
        """The user gives the unknown up."""
        with suppress(IllegalTransition):
            self.intent = advance(self.intent, Drop())

    def check(self) -> None:
        """The books cover what was charged."""
        charged = sum((post.charged for post in self.posts), FREE)
        assert self.intent.spent <= charged <= self.intent.spent + self.intent.at_risk


_ACTIONS = st.sampled_from(["send", "presume", "end", "end", "end", "resend", "drop", "replace"])
_CHOICES = st.tuples(_ACTIONS, st.booleans(), st.booleans(), st.integers(0, 9))


@given(st.lists(_CHOICES, max_size=30))
def test_in_any_order_the_books_cover_what_the_api_charged(
    choices: list[tuple[str, bool, bool, int]],
) -> None:
    """Over processes that are presumed dead and go on: spent ≤ charged ≤ spent + at risk.

    An end touches no newer attempt, and a look that is told is the key's own or among its past looks.
    """
    workspace = Workspace()
    for action, charged, is_answered, which in choices:
        match action:
            case "send":
                workspace.send(None, charged, is_answered)
            case "resend":
                workspace.send(Resend(), charged, is_answered)
            case "replace":
                other = LookEdit(SOURCE, f"scene {which}", upscale=bool(which % 2))
                workspace.send(Replace(other, f"d{which}"), charged, is_answered)
            case "presume":
                workspace.presume_dead()
            case "drop":
                workspace.drop()
            case _ if workspace.posts:
                workspace.end(workspace.posts[which % len(workspace.posts)])
        workspace.check()
