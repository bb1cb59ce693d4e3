"""What is sent for an item is decided by what the store knows when it is sent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from batch_kit import avatar, edits, opened, space_of
from internals_kit import (
    Accept,
    BatchOptions,
    Intent,
    IntentState,
    Item,
    MarkUnknown,
    Outstanding,
    Replace,
    Resend,
    Revert,
    Send,
    SendDecision,
    Settle,
    Transition,
    advance,
    decide_sending,
    digest,
    retry_states,
    runtime_of,
)
from session_kit import paid_prompts, store_of

from hoox_async import BatchRunner, Evidence, Look, LookEdit, LookRef, LookStatus
from hoox_async._batch.item_outcomes import unrecorded
from hoox_async._core.intents.send_decision import Decision
from hoox_async.errors import KeyConflict, StoreError

AT = datetime(2030, 1, 1, tzinfo=UTC)
SOURCE, MADE = LookRef("avtr_1", "look_1"), LookRef("avtr_1", "look_2")
EDIT, OTHER = LookEdit(SOURCE, "a beach"), LookEdit(SOURCE, "a desk")


def options(**changes: Any) -> BatchOptions:
    return BatchOptions(**{
        "max_in_flight": 4, "max_credits": None, "budget": None, "max_failures": None, "look_timeout": 9.0,
        "on_unknown": "hold", "retry": frozenset(), "changed": "error", **changes,
    })  # fmt: skip


def intent(*steps: Transition, request: LookEdit = EDIT) -> Intent:
    found = Intent("a", True, request, digest(request), AT, source=SOURCE)
    for step in steps:
        found = advance(found, step)
    return found


def item(known: Intent | None = None, **noted: Any) -> Item:
    found = Item(0, "a", EDIT, digest(EDIT))
    for name, value in {"stored": known, **noted}.items():
        setattr(found, name, value)
    return found


SENT = Send("a1", AT, SOURCE)
DONE = (Accept(MADE, AT, Evidence.ANSWER), Settle(Look(MADE, LookStatus.FAILED), AT))
FAILED = intent(SENT, *DONE)
UNKNOWN = intent(SENT, MarkUnknown("dropped"))
RENEW = Replace(EDIT, digest(EDIT))


def turn(given: Item, stored: Intent | None, **changes: Any) -> Decision:
    return decide_sending(given, intent(), stored, options(**changes))


def test_a_new_or_planned_intent_is_sent() -> None:
    """An item is sent where the store has nothing, or an intent that was planned since its admission."""
    assert turn(item(), None) == SendDecision(intent())
    tried = intent(SENT, Revert("a1"))
    assert turn(item(), tried) == SendDecision(tried, tried)


@pytest.mark.parametrize("stored", [FAILED, UNKNOWN], ids=["failed", "unknown"])
def test_an_intent_that_was_sent_since_the_admission_is_the_result(stored: Intent) -> None:
    """What was sent since the admission is the result, whatever ``retry`` and ``on_unknown`` say."""
    given = {"retry": retry_states(["failed"]), "on_unknown": "resend"}
    assert turn(item(), stored, **given) is stored
    assert turn(item(intent()), stored, **given) is stored


def test_an_item_that_another_process_is_sending_is_outstanding() -> None:
    """The end of that is waited for, whatever the item was at its admission; other content is a conflict."""
    sending = intent(SENT)
    for known in (item(), item(intent()), item(FAILED, pay_again=True)):
        assert turn(known, sending) == Outstanding(sending)


def test_an_item_is_paid_again_unless_its_intent_has_changed() -> None:
    """An item is paid again unless somebody else has paid again since the admission."""
    decided = turn(item(FAILED, pay_again=True), FAILED)
    assert isinstance(decided, SendDecision)
    assert (decided.instruction, decided.stored) == (RENEW, FAILED)
    assert decided.intent.spent == 2
    moved, again = FAILED, LookRef("avtr_1", "look_3")
    done = (Accept(again, AT, Evidence.ANSWER), Settle(Look(again, LookStatus.FAILED), AT))
    for step in (RENEW, Send("a2", AT, SOURCE), *done):
        moved = advance(moved, step)
    assert moved.state is FAILED.state
    assert turn(item(FAILED, pay_again=True), moved) is moved


def test_an_unknown_is_sent_again_unless_it_has_changed() -> None:
    """An unknown is resent unless somebody else has resent it since the admission, even if lost again."""
    decided = turn(item(UNKNOWN, resend=True), UNKNOWN)
    assert isinstance(decided, SendDecision)
    assert decided.instruction == Resend()
    assert decided.intent.at_risk == 2
    moved = UNKNOWN
    for step in (Resend(), Send("a2", AT, SOURCE), MarkUnknown("dropped")):
        moved = advance(moved, step)
    assert turn(item(UNKNOWN, resend=True), moved) is moved


def test_other_content_is_treated_by_the_options() -> None:
    """Other content is a conflict, kept or redone, as ``changed`` says; an unknown is never redone."""
    other = intent(SENT, Accept(MADE, AT, Evidence.ANSWER), request=OTHER)
    with pytest.raises(KeyConflict):
        turn(item(), other)
    assert turn(item(), other, changed="keep") is other
    redone = turn(item(), other, changed="redo")
    assert isinstance(redone, SendDecision)
    assert redone.intent.request == EDIT
    assert turn(item(repeated=True), other, changed="redo") is other
    lost = intent(SENT, MarkUnknown("dropped"), request=OTHER)
    assert turn(item(), lost, changed="redo") is lost


def test_the_outcome_of_an_unrecorded_payment_includes_what_was_paid_before() -> None:
    """The outcome of an unrecorded payment has the credits of all rounds, spent and at risk."""
    error = StoreError("the disk is full")
    for known, paid, at_risk in [(None, 2, 0), (FAILED, 4, 0), (UNKNOWN, 2, 2), (intent(SENT), 2, 0)]:
        outcome = unrecorded(item(known), MADE, error)
        assert outcome.credits == paid
        assert outcome.at_risk == at_risk
        assert (str(outcome.state), outcome.ref, outcome.error) == ("pending", MADE, error)


@pytest.mark.virtual_time
async def test_the_outcome_after_a_stop_in_the_moment_of_the_answer_is_the_new_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An item whose answer comes at the same time as a stop is READY with the new look, and not UNSENT."""
    space = space_of()
    async with opened(space, transport={"latency": 4.0}) as session:
        source = await avatar(session)
        (first,) = (await BatchRunner(session).run(edits(source, 1))).outcomes
        submitter = runtime_of(session).submitter
        join = submitter.join

        async def too_late(key: str) -> None:
            await join(key)

        monkeypatch.setattr(submitter, "join", too_late)
        runner = BatchRunner(session, retry=["ready"])
        asyncio.get_running_loop().call_later(2.0, runner.stop)
        (second,) = (await runner.run(edits(source, 1))).outcomes
        intents = [i async for i in store_of(session).stream()]
    assert {i.state for i in intents} == {IntentState.READY}
    assert str(second.state) == "ready"
    assert second.ref not in (None, first.ref)
    assert second.credits == 4
    assert paid_prompts(space)["e0"] == 2
