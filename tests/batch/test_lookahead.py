"""What a run has in hand: how many items may still be pulled, and which outcomes wait for a reader."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hoox_async import ImageAvatar
from hoox_async._batch.lookahead import Lookahead, Outbox
from hoox_async._core.outcomes import Outcome, OutcomeState

OUTCOME = Outcome("a", ImageAvatar(["https://example.com/a.jpg"]), OutcomeState.UNSENT)


async def waiting(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_room_is_what_is_not_in_hand() -> None:
    """It may be overdrawn by those that land while outcomes wait."""
    ahead = Lookahead(3)
    ahead.hold(2)
    ahead.hold()
    assert ahead.room == 0
    ahead.hold()
    assert ahead.room == -1
    ahead.let_go()
    assert ahead.room == 0


async def test_who_waits_for_room_looks_again_when_one_is_let_go() -> None:
    """Or when it is told to."""
    ahead = Lookahead(1)
    ahead.hold()
    for change in (ahead.let_go, ahead.wake):
        task = await waiting(ahead.changed())
        change()
        await asyncio.wait_for(task, 5)


async def test_outcomes_are_taken_in_the_order_in_which_they_came() -> None:
    """With their places in the input; None when there is none."""
    outbox = Outbox()
    outbox.put(7, OUTCOME)
    outbox.put(2, OUTCOME)
    assert outbox.take() == (7, OUTCOME)
    assert outbox.take() == (2, OUTCOME)
    assert outbox.take() is None


async def test_a_reader_is_woken_by_an_outcome_and_by_the_end() -> None:
    """At the end there is nothing to take."""
    outbox = Outbox()
    task = await waiting(outbox.changed())
    outbox.put(0, OUTCOME)
    await asyncio.wait_for(task, 5)
    task = await waiting(outbox.changed())
    outbox.wake()
    await asyncio.wait_for(task, 5)
