"""How many items a run may read and send ahead, and which outcomes wait for a reader."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hoox_async import ImageAvatar
from hoox_async._batch.prefetch import ALWAYS_UNSENT, UNDELIVERED, UNSENT, PrefetchWindow, ResultQueue
from hoox_async._core.intents.outcomes import Outcome, OutcomeState

OUTCOME = Outcome("a", ImageAvatar(["https://example.com/a.jpg"]), OutcomeState.UNSENT)


async def waiting(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    assert not task.done()
    return task


def test_unsent_items_are_read_ahead_as_far_as_it_helps() -> None:
    """20,000 at most; 1,000 where more would not help to choose."""
    ahead = PrefetchWindow(400)
    assert (ahead.room(enough=True), ahead.room(enough=False)) == (1_000, 1_000)
    ahead.read(ALWAYS_UNSENT)
    assert ahead.room(enough=True) == 0
    assert ahead.room(enough=False) > 0
    ahead.read(UNSENT - ALWAYS_UNSENT)
    assert ahead.room(enough=False) == 0
    ahead.take_off()
    assert ahead.room(enough=False) == 1


def test_what_is_in_flight_or_not_delivered_bounds_the_reading_and_the_sending() -> None:
    """An outcome makes room when its reader has taken it, and not before."""
    ahead = PrefetchWindow(400)
    ahead.read(UNDELIVERED)
    for _ in range(UNDELIVERED):
        assert ahead.may_send()
        ahead.take_off()
    assert not ahead.may_send()
    ahead.land()
    ahead.tell()
    assert not ahead.may_send()
    assert ahead.room(enough=False) == 0
    ahead.deliver()
    assert ahead.may_send()
    assert ahead.room(enough=False) == 1


def test_items_that_end_at_once_are_undelivered_too() -> None:
    """They were never in flight, and the reader has to take their outcomes."""
    ahead = PrefetchWindow(400)
    ahead.read(UNDELIVERED)
    for _ in range(UNDELIVERED):
        ahead.tell()
    assert ahead.room(enough=False) == 0


def test_many_in_flight_leave_room_for_as_many_undelivered_outcomes() -> None:
    """Otherwise they alone would stop the reading."""
    ahead = PrefetchWindow(3_000)
    ahead.read(3_000)
    for _ in range(3_000):
        ahead.take_off()
    assert ahead.may_send()
    assert ahead.room(enough=True) == ALWAYS_UNSENT


async def test_who_waits_for_room_looks_again_when_there_may_be_some() -> None:
    """Something took off, was told or was taken; or the run says so."""
    ahead = PrefetchWindow(400)
    for change in (ahead.take_off, ahead.tell, ahead.deliver, ahead.wake):
        task = await waiting(ahead.changed())
        change()
        await asyncio.wait_for(task, 5)


async def test_outcomes_are_taken_in_the_order_in_which_they_came() -> None:
    """With their places in the input; None when there is none."""
    outbox = ResultQueue()
    outbox.put(7, OUTCOME)
    outbox.put(2, OUTCOME)
    assert outbox.take() == (7, OUTCOME)
    assert outbox.take() == (2, OUTCOME)
    assert outbox.take() is None


async def test_a_reader_is_woken_by_an_outcome_and_by_the_end() -> None:
    """At the end there is nothing to take."""
    outbox = ResultQueue()
    task = await waiting(outbox.changed())
    outbox.put(0, OUTCOME)
    await asyncio.wait_for(task, 5)
    task = await waiting(outbox.changed())
    outbox.wake()
    await asyncio.wait_for(task, 5)
