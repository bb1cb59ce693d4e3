"""Budgets and planned intents of one workspace that several processes use, really and in memory."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial

import pytest
from internals_kit import (
    Intent,
    IntentState,
    RecentWrite,
    Replace,
    Revert,
    Send,
    StoredBudget,
    advance,
    charges,
    dump_intent,
    restore,
)
from shared_store_kit import LEASE, Process, World
from store_kit import EDIT, NOW, SOURCE, after, planned

from hoox_async._io.ledger.intent_rows import Written
from hoox_async.errors import BudgetExceeded, KeyConflict

PRICE = EDIT.credits


def send(attempt_id: str, budget: str | None = None) -> Send:
    return Send(attempt_id, NOW, SOURCE, budget=budget, answer_by=after(100))


async def restored(process: Process, intent: Intent) -> Written | None:
    """Write an intent that had version 7 before a failover has lost it."""
    lost = RecentWrite(0.0, 7, dump_intent(intent))
    return await process.member.engine.run(partial(restore, process.store._place, intent.key, lost))


async def test_processes_that_send_at_the_same_time_stay_within_the_cap(world: World) -> None:
    """Of 40 sendings by two processes at once, as many are written as fit, and the sum is exact."""
    first, second = await world.process(), await world.process()
    budgets = [await each.store.open_budget("spring", 15 * PRICE, Decimal(0)) for each in (first, second)]
    assert budgets[0] == budgets[1]

    async def one(number: int) -> bool:
        store = (first, second)[number % 2].store
        try:
            await store.plan(advance(planned(f"k{number}"), send(f"att {number}", "spring")))
        except BudgetExceeded:
            return False
        if number % 3 == 0:
            await store.advance(f"k{number}", Revert(f"att {number}"))
        return True

    written = await asyncio.gather(*(one(number) for number in range(40)))
    intents = [intent async for intent in first.store.stream()]
    assert len(intents) == sum(written)
    stored = await second.store.budget("spring")
    assert stored is not None
    assert stored.charged == sum(charges(intent).get("spring", 0) for intent in intents) <= 15 * PRICE
    sending = sum(intent.state is IntentState.SENDING for intent in intents)
    assert stored.charged == sending * PRICE


async def test_what_a_failover_has_lost_is_charged_whatever_the_cap_is(world: World) -> None:
    """It was paid: it is written again with its version, and its budget is charged beyond the cap."""
    process = await world.process()
    await process.store.open_budget("spring", PRICE, Decimal(0))
    paid = advance(planned("paid"), send("att paid", "spring"))
    other = advance(planned("other"), send("att other", "spring"))
    await process.store.plan(other)
    with pytest.raises(BudgetExceeded):
        await process.store.plan(paid)
    assert await restored(process, paid) is not None
    assert await restored(process, paid) is None
    row = await process.row("paid")
    assert (row.version, row.read(newer=True)) == (7, paid)
    stored = await process.store.budget("spring")
    assert stored is not None
    assert stored.charged == 2 * PRICE


async def test_a_restored_charge_opens_no_budget_that_is_lost_too(world: World) -> None:
    """Nothing fits into it and it is not there, until it is opened: then it has its cap and all charges."""
    process = await world.process()
    assert await restored(process, advance(planned("paid"), send("att paid", "spring"))) is not None
    assert await process.store.budget("spring") is None
    with pytest.raises(BudgetExceeded):
        await process.store.plan(advance(planned("other"), send("att other", "spring")))
    opened = await process.store.open_budget("spring", 3 * PRICE, PRICE)
    assert opened == StoredBudget("spring", 3 * PRICE, 2 * PRICE)
    assert await process.store.open_budget("spring", 3 * PRICE, PRICE) == opened
    assert await process.store.budget("spring") == opened


@pytest.mark.parametrize("end", ["released", "closed", "lease"])
async def test_what_a_living_process_is_to_send_again_gets_no_other_content(world: World, end: str) -> None:
    """A `Replace` by another process is `KeyConflict` until the sender releases it, leaves, or is dead.

    The same content can be sent by anybody, and the sender itself can replace it.
    """
    first, second = await world.process(), await world.process()
    for key in ("k", "same", "own"):
        await first.store.plan(advance(planned(key), send(f"att {key}")))
        await first.store.advance(key, Revert(f"att {key}"))
    other = Replace(EDIT, "other content")
    with pytest.raises(KeyConflict) as conflict:
        await second.store.advance("k", other, send("att 2"))
    assert conflict.value.charged == "no"
    assert (await second.store.get(["k"]))["k"].state is IntentState.PLANNED
    assert (await second.store.advance("same", send("att same 2"))).state is IntentState.SENDING
    assert (await first.store.advance("own", other, send("att own 2"))).state is IntentState.SENDING
    if end == "released":
        await first.store.release("k")
    elif end == "closed":
        await first.store.aclose()
    else:
        await world.pass_time(LEASE + 1)
        await second.renew()
    sent = await second.store.advance("k", other, send("att 3"))
    assert (sent.state, sent.digest) == (IntentState.SENDING, "other content")
