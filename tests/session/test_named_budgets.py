"""Budgets with a name in the stores of one process: they survive it, and bound every submission."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from hoox_async import BatchItem, BatchRunner, Budget, HooxSession, PromptAvatar, store_budget
from hoox_async.errors import BudgetExceeded, ConfigurationError, OutcomeUnknown, StoreError, StoreLocked
from hoox_async.sandbox import Fault, InProcessTransport, Space

pytestmark = pytest.mark.virtual_time

PRICE = PromptAvatar("a").credits


def space_of() -> Space:
    return Space(rng=Random(1), requests_per_minute=None)


def session_of(space: Space, store: Path | None = None) -> HooxSession:
    return HooxSession(space.api_key, transport=InProcessTransport(space), store=store)


async def test_a_budget_survives_the_process(tmp_path: Path) -> None:
    """In a file the sum goes on where the last process stopped, what may have been paid included."""
    space, path = space_of(), tmp_path / "campaign.db"
    space.faults.fail_next("create", Fault.DROP_AFTER)
    async with session_of(space, path) as session:
        budget = Budget(3 * PRICE, name="ada")
        with pytest.raises(OutcomeUnknown):
            await session.submit(PromptAvatar("a"), key="a", budget=budget)
        assert (await store_budget(path, "ada")).charged == PRICE
        with pytest.raises(StoreLocked):
            await store_budget(path, "ada", cap=100)
    async with session_of(space, path) as session:
        budget = Budget(3 * PRICE, name="ada")
        items = [BatchItem(f"k{n}", PromptAvatar(f"k{n}")) for n in range(5)]
        report = await BatchRunner(session, budget=budget).run(items)
        assert len(report.ready) == 2
        assert budget.left == 0
    assert (await store_budget(path, "ada", cap=4 * PRICE)).max_credits == 4 * PRICE
    async with session_of(space, path) as session:
        with pytest.raises(ConfigurationError, match="--cap"):
            await session.submit(PromptAvatar("b"), budget=Budget(3 * PRICE, name="ada"))
        await session.submit(PromptAvatar("b"), budget=Budget(4 * PRICE, name="ada"))
    assert (await store_budget(path, "ada")).charged == 4 * PRICE


async def test_two_objects_of_one_name_are_one_budget() -> None:
    """Submissions at the same time with an object each do not exceed the cap that they share."""
    space = space_of()
    async with session_of(space) as session:
        results = await asyncio.gather(
            *(session.submit(PromptAvatar(f"a{n}"), budget=Budget(2 * PRICE, name="ada")) for n in range(5)),
            return_exceptions=True,
        )
    assert sum(isinstance(result, BudgetExceeded) for result in results) == 3
    assert len(space.ledger) == 2


async def test_a_resend_without_a_budget_is_charged_to_the_first_ones() -> None:
    """Where that has no room, the resend is `BudgetExceeded`, and the unknown stays as it was."""
    space = space_of()
    space.faults.fail_next("create", Fault.DROP_AFTER, times=1)
    async with session_of(space) as session:
        budget = Budget(PRICE, name="ada")
        with pytest.raises(OutcomeUnknown):
            await session.submit(PromptAvatar("a"), key="a", budget=budget)
        with pytest.raises(BudgetExceeded, match="'ada'") as refused:
            await session.resend("a")
        assert refused.value.charged == "no"
        assert [unknown.key for unknown in await session.unknowns()] == ["a"]
        await session.resend("a", budget=Budget(PRICE, name="house"))
    assert len(space.ledger) == 2


async def test_a_resend_with_a_nameless_budget_is_charged_to_that_one_only() -> None:
    """The stored budget of the unknown, which has no room, is neither asked nor charged again."""
    space = space_of()
    space.faults.fail_next("create", Fault.DROP_AFTER, times=1)
    async with session_of(space) as session:
        ada, own = Budget(PRICE, name="ada"), Budget(PRICE)
        with pytest.raises(OutcomeUnknown):
            await session.submit(PromptAvatar("a"), key="a", budget=ada)
        await session.resend("a", budget=own)
        assert (own.spent, ada.spent) == (PRICE, PRICE)
    assert len(space.ledger) == 2


async def test_a_budget_that_a_store_does_not_have_is_an_error(tmp_path: Path) -> None:
    """A budget of an unknown name, a file that is not there and a cap below 0 are refused by name."""
    path = tmp_path / "campaign.db"
    async with session_of(space_of(), path):
        pass
    with pytest.raises(ConfigurationError, match="no budget 'ada'"):
        await store_budget(path, "ada")
    with pytest.raises(ConfigurationError, match="no budget 'ada'"):
        await store_budget(path, "ada", cap=3)
    with pytest.raises(StoreError, match="no such file"):
        await store_budget(tmp_path / "none.db", "ada", cap=3)
    with pytest.raises(ConfigurationError, match="cap"):
        await store_budget(path, "ada", cap=-3)


async def test_spent_counts_when_the_budget_is_created() -> None:
    """Later objects of the same name go by what is stored, whatever their ``spent``."""
    space = space_of()
    async with session_of(space) as session:
        first = Budget(3 * PRICE, name="ada", spent=PRICE)
        await session.submit(PromptAvatar("a"), budget=first)
        second = Budget(3 * PRICE, name="ada", spent=99)
        await session.submit(PromptAvatar("b"), budget=second)
        assert second.spent == 3 * PRICE
        with pytest.raises(BudgetExceeded):
            await session.submit(PromptAvatar("c"), budget=first)
        assert (first.spent, first.reserved) == (3 * PRICE, Decimal(0))
