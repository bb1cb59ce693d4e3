"""Where credits are reserved: a cap of a batch, and a budget that it has in common with others."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import cast

import pytest
from batch_kit import avatar, edits, opened, space_of, states
from internals_kit import StoredBudget

from hoox_async import BatchRunner, Budget, LookEdit
from hoox_async._session.submit import AttemptBudget, SessionBudgets
from hoox_async.errors import BudgetExceeded

TWO = Decimal(2)


class StoreOfBudget:
    """Stands for the session's budgets: what its store has of the budget now."""

    def __init__(self, charged: int = 0, undecided: int = 0) -> None:
        self.stored = StoredBudget("spring", Decimal(4), Decimal(charged))
        self.undecided = Decimal(undecided)
        self.readings = 0

    async def refresh(self, budget: Budget | None) -> None:
        self.readings += 1
        if budget is not None and budget.name is not None:
            budget.update(self.stored, self.undecided)


def reserving(
    budget: Budget | None, max_credits: int | None = None, stored: StoreOfBudget | None = None
) -> AttemptBudget:
    """As a batch reserves: it waits for what may still fit."""
    return AttemptBudget(cast(SessionBudgets, stored or StoreOfBudget()), budget, max_credits, waits=True)


async def begin(budget: AttemptBudget, credits: Decimal = TWO) -> asyncio.Task[None]:
    """A reservation in a task of its own, which has had time to be decided."""
    task = asyncio.ensure_future(budget.reserve(credits))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_without_a_cap_everything_may_be_reserved() -> None:
    """Without a cap any credits can be reserved, whatever was spent before."""
    budget = reserving(None)
    assert not budget.counts_earlier_runs
    await budget.reserve(Decimal(10**9))
    budget.release(Decimal(10**9), spent=True)
    budget.count(Decimal(10**9))
    await budget.reserve(TWO)


async def test_what_can_never_fit_raises_at_once() -> None:
    """Credits that exceed the cap, or what earlier runs have left of it, raise at once."""
    budget = reserving(None, 5)
    with pytest.raises(BudgetExceeded):
        await budget.reserve(Decimal(6))
    budget.count(Decimal(4))
    with pytest.raises(BudgetExceeded):
        await budget.reserve(TWO)


async def test_who_has_waited_is_not_held_back_by_what_was_read_before() -> None:
    """When the reservation before it is spent, a named budget is read again: others may have given back."""
    shared, store = Budget(4, name="spring"), StoreOfBudget(2)
    budget = reserving(shared, stored=store)
    await budget.refresh()
    await budget.reserve(TWO)
    budget.charge(TWO)
    task = await begin(budget)
    assert not task.done()  # others' 2 and our 2: it waits for ours
    store.stored = store.stored._replace(charged=TWO)  # the others' POST was refused, ours is paid
    budget.release(TWO, spent=True, charged=True)
    await task
    assert (shared.spent, shared.reserved) == (TWO, TWO)


@pytest.mark.virtual_time
async def test_own_reservations_that_end_do_not_put_off_the_next_reading() -> None:
    """While others may give back credits, the store is read once a second, however many reservations end."""
    shared, store = Budget(4, name="spring"), StoreOfBudget(4, undecided=2)
    budget = reserving(shared, stored=store)
    await budget.refresh()
    tasks = [await begin(budget) for _ in range(3)]
    for _ in range(20):
        await asyncio.sleep(0.5)
        await budget.reserve(Decimal(0))
        budget.release(Decimal(0), spent=False)
    assert 8 <= store.readings <= 3 * 10
    assert not any(task.done() for task in tasks)
    store.stored = store.stored._replace(charged=TWO)
    store.undecided = Decimal(0)
    await asyncio.sleep(1.1)
    assert [task.done() for task in tasks].count(True) == 1
    for task in tasks:
        task.cancel()


@pytest.mark.parametrize("spent", [True, False])
async def test_what_may_still_fit_waits_for_the_reservations_before_it(spent: bool) -> None:
    """A reservation that may still fit waits for those before it, and raises if they are spent."""
    budget = reserving(None, 3)
    await budget.reserve(TWO)
    task = await begin(budget)
    assert not task.done()
    budget.release(TWO, spent=spent)
    if spent:
        with pytest.raises(BudgetExceeded):
            await task
    else:
        await task


async def test_a_release_lets_only_as_many_go_as_fit() -> None:
    """After a release the first of three waiting reservations is made, and the others go on waiting."""
    budget = reserving(None, 2)
    await budget.reserve(TWO)
    tasks = [await begin(budget) for _ in range(3)]
    budget.release(TWO, spent=False)
    await begin(budget, Decimal(0))
    assert [task.done() for task in tasks] == [True, False, False]
    budget.release(TWO, spent=True)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in results] == [type(None), BudgetExceeded, BudgetExceeded]


async def test_a_wait_that_is_cancelled_reserves_nothing() -> None:
    """A wait that is cancelled reserves nothing, and the next reservation fits."""
    budget = reserving(None, 2)
    await budget.reserve(TWO)
    task = await begin(budget)
    task.cancel()
    budget.release(TWO, spent=False)
    await budget.reserve(TWO)
    with pytest.raises(asyncio.CancelledError):
        await task


# --- a shared budget


async def test_a_shared_budget_is_reserved_and_released_too() -> None:
    """What a batch reserves and spends is reserved and spent in its shared budget too."""
    shared = Budget(10, spent=1)
    budget = reserving(shared)
    await budget.reserve(TWO)
    assert (shared.reserved, shared.left) == (TWO, Decimal(7))
    budget.release(TWO, spent=True)
    assert (shared.reserved, shared.spent) == (Decimal(0), Decimal(3))


@pytest.mark.parametrize("spent", [True, False])
async def test_an_item_waits_for_a_reservation_that_somebody_else_made(spent: bool) -> None:
    """An item waits for somebody else's reservation in the shared budget, and its release wakes the item."""
    shared = Budget(3)
    shared.reserve(TWO)
    task = await begin(reserving(shared))
    assert not task.done()
    shared.release(TWO, spent=spent)
    if spent:
        with pytest.raises(BudgetExceeded):
            await task
        assert shared.reserved == 0
    else:
        await task
        assert shared.reserved == 2


@pytest.mark.parametrize(("own", "shared"), [(2, 9), (9, 2)])
async def test_with_two_caps_an_item_has_to_fit_under_both(own: int, shared: int) -> None:
    """Credits that do not fit under one of two caps are reserved in neither."""
    common = Budget(shared)
    budget = reserving(common, own)
    assert budget.exceeded_by(TWO) is None
    assert isinstance(budget.exceeded_by(Decimal(3)), BudgetExceeded)
    with pytest.raises(BudgetExceeded):
        await budget.reserve(Decimal(3))
    assert common.reserved == 0
    await budget.reserve(TWO)
    assert common.reserved == 2


async def test_earlier_runs_count_against_the_batchs_own_cap_alone() -> None:
    """What earlier runs spent counts against the batch's own cap, and not in the shared budget."""
    shared = Budget(10)
    assert not reserving(shared).counts_earlier_runs
    budget = reserving(shared, 10)
    assert budget.counts_earlier_runs
    budget.count(Decimal(8))
    assert shared.spent == 0
    with pytest.raises(BudgetExceeded):
        await budget.reserve(Decimal(3))


@pytest.mark.virtual_time
async def test_batches_and_single_submissions_never_pass_the_budget_that_they_share() -> None:
    """Two batches and a submission that share a budget spend all of it and no more."""
    space, budget = space_of(), Budget(10)
    async with opened(space) as session:
        source = await avatar(session)
        await session.submit(LookEdit(source, "single"), budget=budget)
        reports = await asyncio.gather(
            *(BatchRunner(session, budget=budget).run(edits(source, 4, prefix)) for prefix in "ab")
        )
        with pytest.raises(BudgetExceeded):
            await session.submit(LookEdit(source, "one more"), budget=budget)
    got = [state for report in reports for state in states(report).values()]
    assert sorted(got) == ["ready"] * 4 + ["unsent"] * 4
    assert space.credits_spent == budget.spent == 10
    assert budget.reserved == 0


@pytest.mark.virtual_time
async def test_a_batch_keeps_to_its_own_cap_and_to_the_shared_budget() -> None:
    """A batch spends no more than the smaller of its cap and its shared budget."""
    for max_credits, shared in [(4, 6), (6, 4)]:
        space, budget = space_of(), Budget(shared)
        async with opened(space) as session:
            source = await avatar(session)
            runner = BatchRunner(session, max_credits=max_credits, budget=budget)
            report = await runner.run(edits(source, 5))
        assert space.credits_spent == budget.spent == 4
        assert sorted(states(report).values()) == ["ready"] * 2 + ["unsent"] * 3


@pytest.mark.virtual_time
async def test_a_resumed_batch_is_not_charged_to_its_budget_a_second_time() -> None:
    """Looks of the first run cost nothing in the second, and the budget has counted them already."""
    space, budget = space_of(), Budget(8)
    async with opened(space) as session:
        source = await avatar(session)
        runner = BatchRunner(session, budget=budget)
        await runner.run(edits(source, 3))
        report = await runner.run(edits(source, 5))
    assert sorted(states(report).values()) == ["ready"] * 4 + ["unsent"]
    assert space.credits_spent == budget.spent == 8
