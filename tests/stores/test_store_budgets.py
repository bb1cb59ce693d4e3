"""Named budgets in every kind of store: charged by the write that sends, and never over their caps."""

from __future__ import annotations

from decimal import Decimal

import pytest
from internals_kit import (
    Drop,
    IllegalTransition,
    IntentState,
    Ledger,
    MarkUnknown,
    Reason,
    Reject,
    Replace,
    Resend,
    Revert,
    Send,
    StoredBudget,
    advance,
)
from store_kit import CREATE, EDIT, NOW, SOURCE, WORKSPACE, accept, planned

from hoox_async.errors import BudgetExceeded, StoreError

PRICE = EDIT.credits
NO = Reason(400, "INVALID_VALUE", "no")


def send(attempt_id: str, budget: str | None = "spring") -> Send:
    return Send(attempt_id, NOW, SOURCE, budget=budget)


async def charged(store: Ledger, name: str = "spring") -> Decimal:
    budget = await store.budget(name)
    assert budget is not None
    return budget.charged


async def test_a_budget_is_created_once(store: Ledger) -> None:
    """The first call creates it; later ones change nothing and return what is stored."""
    assert await store.budget("spring") is None
    first = await store.open_budget("spring", Decimal("10.50"), Decimal(2))
    assert first == StoredBudget("spring", Decimal("10.5"), Decimal(2))
    assert await store.open_budget("spring", Decimal(99), Decimal(50)) == first
    assert await store.budget("spring") == first
    assert await store.budget("summer") is None


@pytest.mark.parametrize("cap", [Decimal(10**13), Decimal("1e-7")])
async def test_a_cap_that_cannot_be_counted_is_named(store: Ledger, cap: Decimal) -> None:
    """A cap beyond what a store can count raises a `StoreError` that says so, and makes no budget."""
    with pytest.raises(StoreError, match="a budget counts"):
        await store.open_budget("spring", cap, Decimal(0))
    assert await store.budget("spring") is None


async def test_sending_charges_and_a_certain_end_without_costs_gives_back(store: Ledger) -> None:
    """SENDING, UNKNOWN, ACCEPTED and DROPPED are charged; a revert and a rejection give back."""
    await store.open_budget("spring", 10 * PRICE, Decimal(0))
    for key in "abcd":
        await store.plan(planned(key))
        await store.advance(key, send(f"att {key}"))
    assert await charged(store) == 4 * PRICE
    await store.advance("a", Revert("att a"))
    await store.advance("b", Reject(NO, NOW, "att b"))
    await store.advance("c", MarkUnknown("lost", "att c"))
    await store.advance("c", Drop())
    await store.advance("d", accept("look_1"))
    assert await charged(store) == 2 * PRICE
    await store.advance("c", Resend(), send("att c2"))
    assert await charged(store) == 3 * PRICE


async def test_what_would_exceed_the_cap_changes_nothing(store: Ledger) -> None:
    """Neither a known nor a new intent is sent, no other budget is charged, and the rest stays free."""
    await store.open_budget("spring", 2 * PRICE - 1, Decimal(0))
    await store.open_budget("summer", 5 * PRICE, Decimal(0))
    await store.plan(planned("a"))
    await store.advance("a", send("att a"))
    await store.plan(planned("b"))
    with pytest.raises(BudgetExceeded, match="'spring'"):
        await store.advance("b", send("att b"))
    with pytest.raises(BudgetExceeded):
        await store.plan(advance(planned("c"), send("att c")))
    found = await store.get(["b", "c"])
    assert [intent.state for intent in found.values()] == [IntentState.PLANNED]
    assert await charged(store) == PRICE
    assert await charged(store, "summer") == 0
    assert (await store.advance("b", send("att b", "summer"))).state is IntentState.SENDING
    await store.advance("a", Revert("att a"))
    await store.advance("a", send("att a2"))


async def test_an_end_is_written_whatever_the_cap(store: Ledger) -> None:
    """Where more is charged than the cap, which was lowered or was counted from `spent`, ends are written."""
    await store.open_budget("spring", PRICE, Decimal(0))
    await store.plan(advance(planned("a"), send("att a")))
    with pytest.raises(BudgetExceeded):
        await store.plan(advance(planned("b"), send("att b")))
    await store.advance("a", MarkUnknown("lost", "att a"))
    assert (await store.advance("a", accept("look_1"))).ref is not None
    assert await charged(store) == PRICE


async def test_a_budget_that_was_never_created_lets_nothing_through(store: Ledger) -> None:
    """Without a cap nothing is sent."""
    with pytest.raises(BudgetExceeded):
        await store.plan(advance(planned("a"), send("att a", "nobody's")))
    assert await store.get(["a"]) == {}


async def test_an_outdated_decision_is_not_told_as_exceeded(store: Ledger) -> None:
    """Of two decisions to send one key, the second is outdated, though the cap has no room for it either."""
    await store.open_budget("spring", PRICE, Decimal(0))
    await store.plan(planned("a"))
    await store.advance("a", send("att a"))
    with pytest.raises(IllegalTransition):
        await store.advance("a", send("att a2"))


@pytest.mark.kinds("sqlite")
async def test_a_file_keeps_its_budgets(store: Ledger, closed: Ledger) -> None:
    """What was charged is there after the file was opened again."""
    await store.open_budget("spring", 3 * PRICE, Decimal(1))
    await store.plan(advance(planned("a", CREATE), Send("att a", NOW, budget="spring")))
    await store.aclose()
    await closed.open(WORKSPACE)
    assert await closed.budget("spring") == StoredBudget("spring", 3 * PRICE, 1 + CREATE.credits)


async def test_other_content_at_another_price(store: Ledger) -> None:
    """A round with other content is charged to its own budget, at its own price."""
    await store.open_budget("spring", 10 * PRICE, Decimal(0))
    await store.open_budget("summer", 10 * PRICE, Decimal(0))
    await store.plan(advance(planned("a"), send("att a")))
    await store.advance("a", accept("look_1"))
    await store.advance("a", Replace(CREATE, "other"), Send("att 2", NOW, budget="summer"))
    assert (await charged(store), await charged(store, "summer")) == (PRICE, CREATE.credits)
