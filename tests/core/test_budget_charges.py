"""What an intent charges to named budgets, after any sequence of transitions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intents_kit import AT, NO, OTHER, PLANNED, PRICE, REF, REQUEST, SOURCE, STEPS, S, after

from hoox_async._api.models import LookRef
from hoox_async._api.requests import FREE
from hoox_async._core.intents.budget import charge_changes, charges
from hoox_async._core.intents.intent import Evidence, Intent
from hoox_async._core.intents.records import dump_intent, load_intent
from hoox_async._core.intents.transitions import (
    Accept,
    Drop,
    IllegalTransition,
    MarkUnknown,
    Reject,
    Replace,
    Resend,
    Revert,
    Send,
    Transition,
    advance,
)


def send(attempt_id: str, budget: str | None) -> Send:
    return Send(attempt_id, AT, SOURCE, budget=budget)


FIRST = send("a1", "spring")
LOST = MarkUnknown("dropped")


@pytest.mark.parametrize(
    ("steps", "charged"),
    [
        ([], 0),
        ([FIRST], 1),
        ([FIRST, Revert("a1")], 0),
        ([FIRST, Reject(NO, AT, "a1")], 0),
        ([FIRST, LOST], 1),
        ([FIRST, LOST, Revert("a1")], 0),
        ([FIRST, LOST, Drop()], 1),
        ([FIRST, Accept(REF, AT, Evidence.ANSWER)], 1),
    ],
)
def test_what_is_charged_and_what_is_given_back(steps: list[Transition], charged: int) -> None:
    """A sending charges, a revert or rejection gives back, and what may have been paid stays charged."""
    expected = {"spring": PRICE} if charged else {}
    assert charges(after(*steps)) == expected


def test_a_resend_charges_the_budget_it_is_given_besides_the_first() -> None:
    """Each round is charged to its own budget, and a revert gives back only its own round."""
    lost = after(FIRST, LOST)
    again = after(Resend(), send("a2", "summer"), start=lost)
    assert charges(again) == {"spring": PRICE, "summer": PRICE}
    assert charge_changes(lost, again) == {"summer": PRICE}
    assert charges(after(Revert("a2"), start=again)) == {"spring": PRICE}
    same = after(Resend(), send("a2", "spring"), start=lost)
    assert charges(same) == {"spring": 2 * PRICE}
    unnamed = after(Resend(), send("a2", None), start=lost)
    assert charges(unnamed) == {"spring": PRICE}


def test_other_content_is_charged_at_its_own_price() -> None:
    """Where an intent is paid again with other content, each round counts at the price it was sent at."""
    paid = after(FIRST, Accept(REF, AT, Evidence.ANSWER))
    replaced = after(Replace(OTHER, "d2"), send("a2", "summer"), start=paid)
    assert charges(replaced) == {"spring": PRICE, "summer": Decimal(4)}


def test_a_resent_post_that_was_answered_late_charges_both() -> None:
    """Where the first POST was answered while the second was outstanding, and that is lost, both count."""
    again = after(FIRST, LOST, Resend(), send("a2", "summer"))
    answered = after(Accept(REF, AT, Evidence.ANSWER, "a1"), start=again)
    lost = after(MarkUnknown("dropped", "a2"), start=answered)
    assert lost.state is S.ACCEPTED
    assert charges(answered) == charges(lost) == {"spring": PRICE, "summer": PRICE}


def test_a_record_keeps_the_budgets() -> None:
    """An intent's budgets are read back as they were written; a record without budgets does not name any."""
    intent = after(FIRST, LOST, Resend(), send("a2", "summer"))
    assert load_intent(dump_intent(intent)) == intent
    assert "budget" not in dump_intent(PLANNED)
    assert "past_charges" not in dump_intent(PLANNED)


BUDGETS = st.sampled_from([None, "spring", "summer", "autumn"])
STEP = st.one_of(
    st.sampled_from([step for kind, step in STEPS.items() if kind not in (Send, Replace)]),
    st.builds(lambda n: Revert(f"a{n}"), st.integers(0, 20)),
    st.builds(lambda n: Reject(NO, AT, f"a{n}"), st.integers(0, 20)),
    st.builds(lambda n, presumed: MarkUnknown("x", f"a{n}", presumed), st.integers(0, 20), st.booleans()),
    st.builds(
        lambda n, look: Accept(LookRef("avtr_abc", f"look_{look}"), AT, Evidence.ANSWER, f"a{n}"),
        st.integers(0, 20),
        st.integers(0, 3),
    ),
    st.just(Replace(REQUEST, "d1")),
    st.builds(lambda budget: (Send, budget), BUDGETS),
)


@given(st.lists(STEP, max_size=30), st.booleans())
def test_over_any_life_the_budgets_have_what_was_or_may_have_been_paid(
    steps: list[Any], all_named: bool
) -> None:
    """Only a `Send` charges more, and where each has a budget these have all that is spent or at risk."""
    intent: Intent = PLANNED
    total: dict[str, Decimal] = {}
    for number, step in enumerate(steps):
        if type(step) is tuple:
            step = send(f"a{number}", step[1] or ("spring" if all_named else None))
        try:
            following = advance(intent, step)
        except IllegalTransition:
            continue
        changes = charge_changes(intent, following)
        assert isinstance(step, Send) or all(change < 0 for change in changes.values())
        for name, change in changes.items():
            total[name] = total.get(name, FREE) + change
        intent = following
        assert {name: credits for name, credits in total.items() if credits} == charges(intent)
        assert all(credits > 0 for credits in charges(intent).values())
        if all_named:
            assert sum(charges(intent).values(), FREE) == intent.spent + intent.at_risk
