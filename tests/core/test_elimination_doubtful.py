"""Which attempts may have left a look that nobody searches for, and for how long it may show up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest

from hoox_async._api.models import LookRef
from hoox_async._api.requests import LookEdit
from hoox_async._core.intents.intent import Attempt, Intent, IntentState
from hoox_async._core.reconciliation.elimination import doubtful, ends_inference, may_still_show

SENT = datetime(2026, 5, 1, tzinfo=UTC)
FIRST, SECOND = Attempt("a1", SENT), Attempt("a2", SENT + timedelta(seconds=60))
SOURCE = LookRef("avtr_1", "look_1")


def intent(state: IntentState, past_at_risk: int = 0) -> Intent:
    return Intent(
        "k", True, LookEdit(SOURCE, "x"), "d", SENT, state=state, source=SOURCE, attempts=(FIRST, SECOND),
        past_at_risk=Decimal(past_at_risk),
    )  # fmt: skip


@pytest.mark.parametrize("state", IntentState)
def test_only_the_last_attempt_of_what_is_in_doubt_may_have_left_a_look(state: IntentState) -> None:
    """The earlier ones were taken back; of what was accepted, refused or not sent there is no doubt."""
    in_doubt = state in (IntentState.SENDING, IntentState.UNKNOWN, IntentState.DROPPED)
    assert doubtful(intent(state)) == ((SECOND,) if in_doubt else ())


@pytest.mark.parametrize("state", IntentState)
def test_any_attempt_of_what_was_lost_and_sent_again_may_have_left_a_look(state: IntentState) -> None:
    """Whatever became of it since: which of them was lost is not on record."""
    assert doubtful(intent(state, past_at_risk=2)) == (FIRST, SECOND)


@pytest.mark.parametrize("state", IntentState)
@pytest.mark.parametrize("retired", [False, True])
@pytest.mark.parametrize("searched", [False, True])
def test_an_unknown_that_nobody_searches_for_ends_the_inference(
    state: IntentState, retired: bool, searched: bool
) -> None:
    """Whether its search ended or it never had one. What is not unknown, or is no edit, ends nothing."""
    unknown = attrs.evolve(intent(state), retired=retired)
    ends = state is IntentState.UNKNOWN and not searched
    assert ends_inference(unknown, searched=searched) is ends
    assert not ends_inference(attrs.evolve(unknown, source=None), searched=searched)


@pytest.mark.parametrize(
    ("hours", "shows"), [(-1, True), (0, True), (0.05, True), (23.9, True), (24, False), (900, False)]
)
def test_a_look_that_nobody_searches_for_may_show_for_a_day(hours: float, shows: bool) -> None:
    """And where the clock was set back it counts as not over."""
    assert may_still_show((FIRST,), SENT + timedelta(hours=hours)) is shows


def test_the_latest_attempt_decides() -> None:
    """One of several is enough, and none is not."""
    at = SENT + timedelta(days=1, seconds=30)
    assert may_still_show((FIRST, SECOND), at)
    assert not may_still_show((FIRST,), at)
    assert not may_still_show((), at)
