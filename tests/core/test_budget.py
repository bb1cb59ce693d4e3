"""The cap of credits that submissions share."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_async._core.intents.budget import Budget, StoredBudget
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
    budget.release(Decimal(2), spent=True, charged=True)
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
