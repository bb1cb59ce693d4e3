"""The credits of a batch: an item that may still fit waits until those before it are decided."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from hoox_async._batch.batch_budget import BatchBudget
from hoox_async.errors import BudgetExceeded

TWO = Decimal(2)


async def waits(purse: BatchBudget, credits: Decimal = TWO) -> asyncio.Task[None]:
    task = asyncio.ensure_future(purse.reserve(credits))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_without_a_cap_all_is_allowed() -> None:
    """And nothing is counted."""
    purse = BatchBudget(None)
    assert not purse.capped
    await purse.reserve(Decimal(10**9))
    purse.release(Decimal(10**9), spent=True)
    purse.count(Decimal(10**9))
    await purse.reserve(TWO)


async def test_what_will_not_fit_whatever_happens_is_refused_at_once() -> None:
    """Also where it is what earlier runs spent that fills the cap."""
    purse = BatchBudget(5)
    with pytest.raises(BudgetExceeded):
        await purse.reserve(Decimal(6))
    purse.count(Decimal(4))
    with pytest.raises(BudgetExceeded):
        await purse.reserve(TWO)


@pytest.mark.parametrize("spent", [True, False])
async def test_what_depends_on_a_reservation_waits_for_it(spent: bool) -> None:
    """It goes when that was given back, and is refused when that was spent."""
    purse = BatchBudget(3)
    await purse.reserve(TWO)
    task = await waits(purse)
    assert not task.done()
    purse.release(TWO, spent=spent)
    if spent:
        with pytest.raises(BudgetExceeded):
            await task
    else:
        await task


async def test_of_many_that_wait_only_as_many_go_as_fit() -> None:
    """One release lets one in; the others go on waiting."""
    purse = BatchBudget(2)
    await purse.reserve(TWO)
    tasks = [await waits(purse) for _ in range(3)]
    purse.release(TWO, spent=False)
    await waits(purse, Decimal(0))
    assert [task.done() for task in tasks] == [True, False, False]
    purse.release(TWO, spent=True)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in results] == [type(None), BudgetExceeded, BudgetExceeded]


async def test_who_is_cancelled_holds_nothing() -> None:
    """Its place is free for the next."""
    purse = BatchBudget(2)
    await purse.reserve(TWO)
    task = await waits(purse)
    task.cancel()
    purse.release(TWO, spent=False)
    await purse.reserve(TWO)
    with pytest.raises(asyncio.CancelledError):
        await task
