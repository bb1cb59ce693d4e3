"""The cap of credits that submissions share, and what intents charge to it."""

from __future__ import annotations

from decimal import Decimal
from numbers import Integral
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intents_kit import AT, NO, OTHER, PLANNED, PRICE, REF, REQUEST, SOURCE, STEPS, S, after

from hoox_async import Budget, Evidence, LookRef
from hoox_async._api.requests import FREE
from hoox_async._core.intents.budget import StoredBudget, charge_changes, charges
from hoox_async._core.intents.intent import Intent
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
from hoox_async.errors import BudgetExceeded, ConfigurationError

halves = st.integers(0, 20).map(lambda n: Decimal(n) / 2)


def test_a_reservation_counts_until_it_ends() -> None:
    """Ending a reservation as spent keeps its credits counted; ending it as unspent frees them."""
    budget = Budget(10, spent="2.5")
    budget.reserve(Decimal(4))
    assert (budget.left, budget.reserved) == (Decimal("3.5"), Decimal(4))
    budget.release(Decimal(4), spent=False)
    assert budget.left == Decimal("7.5")
    budget.reserve(Decimal(4))
    budget.release(Decimal(4), spent=True)
    assert (budget.spent, budget.left) == (Decimal("6.5"), Decimal("3.5"))


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    """The error names the cap, the credits spent and the credits reserved, and nothing is reserved."""
    budget = Budget(3)
    budget.reserve(Decimal(2))
    with pytest.raises(BudgetExceeded, match="cap of 3") as caught:
        budget.reserve(Decimal(2))
    assert caught.value.charged == "no"
    assert budget.reserved == 2


def test_a_listener_is_called_at_each_release_inside_its_block_and_not_after() -> None:
    """Spent or not, the end of a reservation is what it waits for; two blocks may have the same listener."""
    budget, calls = Budget(10), list[str]()

    def listener() -> None:
        calls.append("released")

    with budget.notifying(listener):
        with budget.notifying(listener):
            budget.reserve(Decimal(2))
            assert calls == []
            budget.release(Decimal(2), spent=True)
            assert len(calls) == 2
        budget.release(Decimal(0), spent=False)
        assert len(calls) == 3
    budget.release(Decimal(0), spent=False)
    assert len(calls) == 3


def test_what_costs_nothing_always_fits() -> None:
    """A request without a price fits even where more than the cap is spent."""
    budget = Budget(0, spent=5)
    budget.reserve(Decimal(0))
    assert budget.left == 0
    assert not budget.exhausted(Decimal(0))


def test_waiting_helps_only_while_something_is_reserved() -> None:
    """Waiting can help only where a reservation may end unspent; what is spent stays spent."""
    budget = Budget(4)
    budget.reserve(Decimal(4))
    assert budget.must_wait(Decimal(2))
    assert not budget.exhausted(Decimal(2))
    budget.release(Decimal(4), spent=True)
    assert budget.exhausted(Decimal(2))
    assert not budget.must_wait(Decimal(2))


@pytest.mark.parametrize("value", ["many", None, -1, float("nan"), float("inf"), [], Decimal("NaN")])
def test_a_strange_cap_is_refused(value: Any) -> None:
    """A cap or start that is no number from 0 on is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match="max_credits"):
        Budget(value)
    with pytest.raises(ConfigurationError, match="spent"):
        Budget(1, spent=value)


def test_a_float_is_read_as_it_is_written() -> None:
    """The float 0.1 counts as one tenth exactly."""
    assert Budget(0.1).max_credits == Decimal("0.1")
    assert repr(Budget(3, spent=1)) == "Budget(3, spent=1)"


@given(cap=halves, steps=st.lists(st.tuples(halves, st.booleans()), max_size=30))
def test_the_cap_is_never_passed(cap: Decimal, steps: list[tuple[Decimal, bool]]) -> None:
    """Whatever is reserved, and however the reservations end, their sum stays within the cap."""
    budget = Budget(cap)
    held: list[Decimal] = []
    for price, spent in steps:
        if price and budget.allows(price):
            budget.reserve(price)
            held.append(price)
        elif held:
            budget.release(held.pop(), spent=spent)
        assert 0 <= budget.spent + budget.reserved <= cap
        assert budget.reserved == sum(held)


# --- with a name


def test_what_the_store_counts_already_is_not_counted_twice() -> None:
    """What is outstanding here is in the stored sum as well as reserved; others' charges are spent."""
    budget = Budget(10, name="spring")
    session = object()
    budget.bind(session, StoredBudget("spring", Decimal(10), Decimal(1)))
    assert budget.is_used_by(session)
    budget.reserve(Decimal(2))
    budget.reserve(Decimal(3))
    budget.charge(Decimal(2))
    budget.update(StoredBudget("spring", Decimal(10), Decimal(7)))  # ours: 2, others: 5
    assert (budget.spent, budget.reserved, budget.left) == (Decimal(5), Decimal(5), Decimal(0))
    budget.charge(Decimal(-2))
    budget.release(Decimal(2), spent=True)
    budget.release(Decimal(3), spent=False)
    assert (budget.spent, budget.reserved, budget.left) == (Decimal(7), Decimal(0), Decimal(3))


def test_a_stored_cap_wins_and_wakes_those_that_wait() -> None:
    """A cap that was changed in the store holds at the next reading, which listeners hear of."""
    budget, heard = Budget(10, name="spring"), list[Decimal]()
    with budget.notifying(lambda: heard.append(budget.left)):
        budget.update(StoredBudget("spring", Decimal(4), Decimal(1)))
    assert heard == [3]


def test_what_others_may_give_back_is_spent_but_not_for_good() -> None:
    """What others' outstanding POSTs have charged is waited for; what our own have charged counts once."""
    budget = Budget(10, name="spring")
    budget.update(StoredBudget("spring", Decimal(10), Decimal(10)), undecided=Decimal(2))
    assert budget.waits_for_others
    assert budget.must_wait(Decimal(2))
    assert budget.exhausted(Decimal(3))
    budget.update(StoredBudget("spring", Decimal(10), Decimal(8)))
    budget.reserve(Decimal(2))
    budget.charge(Decimal(2))
    budget.update(StoredBudget("spring", Decimal(10), Decimal(10)), undecided=Decimal(2))  # our own
    assert not budget.waits_for_others


@pytest.mark.parametrize(
    ("charged", "words"),
    [(8, "(8 charged, what may have been paid included, 2 reserved)"), (10, "(10 charged, what may have")],
)
def test_a_refusal_by_a_named_budget_is_told_as_the_store_tells_it(charged: int, words: str) -> None:
    """It names the budget, and what is reserved only where that decides."""
    budget = Budget(10, name="spring")
    budget.bind(object(), StoredBudget("spring", Decimal(10), Decimal(8)))
    budget.reserve(Decimal(2))
    budget.update(StoredBudget("spring", Decimal(10), Decimal(charged)))
    with pytest.raises(BudgetExceeded, match=r"cap of 10 of the budget 'spring'") as refused:
        budget.reserve(Decimal(2))
    assert words in str(refused.value)
    assert ("reserved" in str(refused.value)) == (charged == 8)


def test_one_object_serves_one_session_at_a_time() -> None:
    """Another session may use it once the first has nothing reserved in it."""
    budget, stored = Budget(10, name="spring"), StoredBudget("spring", Decimal(10), Decimal(0))
    first, second = object(), object()
    assert not budget.is_used_by(first)
    budget.bind(first, stored)
    budget.reserve(Decimal(2))
    with pytest.raises(ConfigurationError, match="'spring' is in use in another session"):
        budget.bind(second, stored)
    budget.release(Decimal(2), spent=True)
    budget.bind(second, stored)
    assert budget.is_used_by(second)
    assert not budget.is_used_by(first)


@pytest.mark.parametrize("name", ["", " ", "a\0b", "x" * 201, 3, b"spring"])
def test_a_name_is_a_text(name: Any) -> None:
    """Anything else is a `ConfigurationError`."""
    with pytest.raises(ConfigurationError, match="name"):
        Budget(10, name=name)


def test_another_stored_cap_is_told_with_both_caps_and_the_command() -> None:
    """The command can be pasted into a shell, whatever the name."""
    stored = StoredBudget("o'hara & co", Decimal("400.00"), Decimal(0))
    stored.require_cap(Decimal(400))
    with pytest.raises(ConfigurationError, match=r"400 credits .* not 500") as caught:
        stored.require_cap(Decimal(500))
    assert """store budget 'o'"'"'hara & co' --cap 500 --store STORE`""" in str(caught.value)


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


class WholeNumber:
    """Registered as a whole number and no int, as numpy's are."""

    def __str__(self) -> str:
        return "5"


Integral.register(WholeNumber)


def test_a_cap_may_be_a_whole_number_that_is_no_int() -> None:
    """Its text says how much it is."""
    assert Budget(WholeNumber()).max_credits == Decimal(5)  # type: ignore[arg-type]
