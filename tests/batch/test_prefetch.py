"""The prefetch window (how many items a run may read and start) and the result queue."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hoox_async import ImageAvatar
from hoox_async._batch.prefetch import (
    ENOUGH_UNSENT,
    MAX_UNDELIVERED,
    MAX_UNSENT,
    PrefetchWindow,
    ResultQueue,
)
from hoox_async._core.intents.outcomes import Outcome, OutcomeState

OUTCOME = Outcome("a", ImageAvatar(["https://example.com/a.jpg"]), OutcomeState.UNSENT)


async def waiting(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    assert not task.done()
    return task


def test_20_000_unsent_items_are_read_ahead_and_1_000_where_more_would_not_help() -> None:
    """20,000 unsent items are read ahead, fewer with ``enough``, and a start makes room for one more."""
    window = PrefetchWindow(400)
    assert (window.room(enough=True), window.room(enough=False)) == (1_000, 1_000)
    window.read(ENOUGH_UNSENT)
    assert window.room(enough=True) == 0
    assert window.room(enough=False) > 0
    window.read(MAX_UNSENT - ENOUGH_UNSENT)
    assert window.room(enough=False) == 0
    window.start()
    assert window.room(enough=False) == 1


def test_1_000_items_in_flight_or_with_an_undelivered_outcome_hold_reading_and_starting_back() -> None:
    """With 1,000 items in flight or undelivered none is read or started until an outcome is taken."""
    window = PrefetchWindow(400)
    window.read(MAX_UNDELIVERED)
    for _ in range(MAX_UNDELIVERED):
        assert window.may_start()
        window.start()
    assert not window.may_start()
    window.finish()
    window.settle()
    assert not window.may_start()
    assert window.room(enough=False) == 0
    window.deliver()
    assert window.may_start()
    assert window.room(enough=False) == 1


def test_outcomes_of_items_that_never_started_hold_the_reading_back_too() -> None:
    """Undelivered outcomes of items that never started leave no room for reading either."""
    window = PrefetchWindow(400)
    window.read(MAX_UNDELIVERED)
    for _ in range(MAX_UNDELIVERED):
        window.settle()
    assert window.room(enough=False) == 0


def test_with_many_in_flight_as_many_outcomes_may_be_undelivered_as_well() -> None:
    """With ``max_in_flight=3000`` items can still be read and started beside 3,000 in flight."""
    window = PrefetchWindow(3_000)
    window.read(3_000)
    for _ in range(3_000):
        window.start()
    assert window.may_start()
    assert window.room(enough=True) == ENOUGH_UNSENT


async def test_who_waits_for_room_is_woken_by_a_start_an_outcome_a_delivery_and_by_wake() -> None:
    """A task that waits for room is woken by each of `start`, `settle`, `deliver` and `wake`."""
    window = PrefetchWindow(400)
    for change in (window.start, window.settle, window.deliver, window.wake):
        task = await waiting(window.changed())
        change()
        await asyncio.wait_for(task, 5)


async def test_outcomes_are_taken_in_the_order_in_which_they_came() -> None:
    """`get` gives outcomes in the order of `put`, with their indexes, and None once the queue is closed."""
    results = ResultQueue()
    results.put(7, OUTCOME)
    results.put(2, OUTCOME)
    results.close()
    assert [await results.get() for _ in range(3)] == [(7, OUTCOME), (2, OUTCOME), None]


async def test_a_waiting_reader_is_woken_by_an_outcome_and_by_the_end() -> None:
    """A reader that waits at an empty queue is woken by an outcome and by the closing."""
    results = ResultQueue()
    task = await waiting(results.get())
    results.put(0, OUTCOME)
    assert await asyncio.wait_for(task, 5) == (0, OUTCOME)
    task = await waiting(results.get())
    results.close()
    assert await asyncio.wait_for(task, 5) is None
