"""Which attempts may have made a look that nobody searches for, and how long it may take to appear."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest

from hoox_async._api.models import LookRef
from hoox_async._api.requests import LookEdit
from hoox_async._core.intents.intent import Attempt, Intent, IntentState
from hoox_async._core.reconciliation.elimination import (
    attempts_in_doubt,
    may_still_appear,
    prevents_inference,
)

SENT = datetime(2026, 5, 1, tzinfo=UTC)
FIRST, SECOND = Attempt("a1", SENT), Attempt("a2", SENT + timedelta(seconds=60))
SOURCE = LookRef("avtr_1", "look_1")


def intent(state: IntentState, past_at_risk: int = 0) -> Intent:
    return Intent(
        "k", True, LookEdit(SOURCE, "x"), "d", SENT, state=state, source=SOURCE, attempts=(FIRST, SECOND),
        past_at_risk=Decimal(past_at_risk),
    )  # fmt: skip


@pytest.mark.parametrize("state", IntentState)
def test_only_the_last_attempt_of_an_intent_in_doubt_may_have_made_a_look(state: IntentState) -> None:
    """Of an intent in doubt only the last attempt is in doubt, and of any other intent none is."""
    in_doubt = state in (IntentState.SENDING, IntentState.UNKNOWN, IntentState.DROPPED)
    assert attempts_in_doubt(intent(state)) == ((SECOND,) if in_doubt else ())


@pytest.mark.parametrize("state", IntentState)
def test_any_attempt_of_an_intent_that_was_lost_and_sent_again_may_have_made_a_look(
    state: IntentState,
) -> None:
    """In every later state all attempts are in doubt, since no record says which of them was lost."""
    assert attempts_in_doubt(intent(state, past_at_risk=2)) == (FIRST, SECOND)


@pytest.mark.parametrize("state", IntentState)
@pytest.mark.parametrize("search_ended", [False, True])
@pytest.mark.parametrize("searched", [False, True])
def test_an_unknown_edit_that_nobody_searches_for_prevents_inference(
    state: IntentState, search_ended: bool, searched: bool
) -> None:
    """An unknown edit that nobody searches for prevents inference; other states and creates do not."""
    unknown = attrs.evolve(intent(state), search_ended=search_ended)
    prevents = state is IntentState.UNKNOWN and not searched
    assert prevents_inference(unknown, searched=searched) is prevents
    assert not prevents_inference(attrs.evolve(unknown, source=None), searched=searched)


@pytest.mark.parametrize(
    ("hours", "may_appear"), [(-1, True), (0, True), (0.05, True), (23.9, True), (24, False), (900, False)]
)
def test_a_look_that_nobody_searches_for_may_appear_for_a_day(hours: float, may_appear: bool) -> None:
    """After 24 hours it is not expected any more; a POST in the future, after a clock change, counts."""
    assert may_still_appear((FIRST,), SENT + timedelta(hours=hours)) is may_appear


def test_one_recent_attempt_is_enough() -> None:
    """The look of the latest of several attempts may still appear; where there is no attempt, none may."""
    at = SENT + timedelta(days=1, seconds=30)
    assert may_still_appear((FIRST, SECOND), at)
    assert not may_still_appear((FIRST,), at)
    assert not may_still_appear((), at)
