"""The window of a run: how many items may be read and started, and the outcomes that were not taken."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from internals_kit import ENOUGH_UNSENT, MAX_UNDELIVERED, MAX_UNSENT, Item, StopSignal

from hoox_async import ImageAvatar, Look, LookRef, LookStatus, Outcome, OutcomeState
from hoox_async._batch.window import BatchWindow

REQUEST = ImageAvatar(["https://example.com/a.jpg"])
OUTCOME = Outcome("a", REQUEST, OutcomeState.UNSENT)
FAILED = Look(LookRef("avtr_1", "look_1"), LookStatus.FAILED)


def window_of(max_in_flight: int, max_failures: int | None = None) -> tuple[BatchWindow, StopSignal]:
    changed = asyncio.Event()
    stop = StopSignal(changed)
    return BatchWindow(max_in_flight, max_failures, stop, changed), stop


def item() -> Item:
    return Item(0, "a", REQUEST, "digest")


async def waiting(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    assert not task.done()
    return task


def test_20_000_unsent_items_are_read_ahead_and_1_000_where_more_would_not_help() -> None:
    """20,000 unsent items are read ahead, fewer with ``enough``, and a start makes room for one more."""
    window, _ = window_of(400)
    assert (window.room(enough=True), window.room(enough=False)) == (1_000, 1_000)
    window.read(ENOUGH_UNSENT)
    assert window.room(enough=True) == 0
    assert window.room(enough=False) > 0
    window.read(MAX_UNSENT - ENOUGH_UNSENT)
    assert window.room(enough=False) == 0
    window.start(item())
    assert window.room(enough=False) == 1


async def test_items_that_ended_hold_reading_and_starting_back_until_their_outcomes_are_taken() -> None:
    """1,000 items in flight or with an outcome leave no room to read or start one, until one is taken."""
    window, _ = window_of(400)
    window.read(MAX_UNDELIVERED)
    started = [item() for _ in range(400)]
    for each in started:
        assert window.may_start()
        window.start(each)
    assert not window.may_start(), "as many as may be in flight"
    for _ in range(MAX_UNDELIVERED - 400):  # these ended without being started
        window.put(0, OUTCOME)
    window.finish(started[0])
    window.put(0, OUTCOME)
    assert not window.may_start()
    assert window.room(enough=False) == 0
    await window.take()
    assert window.may_start()
    assert window.room(enough=False) == 1


async def test_with_many_in_flight_as_many_outcomes_may_be_undelivered_as_well() -> None:
    """With ``max_in_flight=3000`` items can still be read and started beside 3,000 outcomes."""
    window, _ = window_of(3_000)
    window.read(3_000)
    for _ in range(3_000):
        window.put(0, OUTCOME)
    assert window.may_start()
    assert window.room(enough=True) == ENOUGH_UNSENT


def test_32_items_wait_for_permits_at_most() -> None:
    """No item that is to be sent is started beside 32 others that wait for their permits."""
    window, _ = window_of(400)
    started = [item() for _ in range(32)]
    for each in started:
        assert window.may_send()
        window.start(each)
    assert not window.may_send()
    window.got_permit(started[0])
    assert window.may_send()


def test_a_failed_look_frees_its_place_and_is_counted_once() -> None:
    """A look that FAILED frees its place while its reason is asked for, and as many wait for one at most."""
    window, stop = window_of(1, max_failures=2)
    first, second, third = item(), item(), item()
    window.start(first)
    assert not window.may_start()
    window.look_settled(first, FAILED)
    window.count_failure(first)
    assert window.may_start()
    assert stop.reason is None
    window.start(second)
    window.look_settled(second, FAILED)
    assert not window.may_start(), "one waits for a reason already"
    assert "2 looks failed" in str(stop.reason)
    for each in (first, second):
        window.finish(each)
    window.start(third)
    window.look_settled(third, Look(FAILED.ref, LookStatus.READY))
    assert not window.may_start()


def test_a_failure_that_is_none_after_all_is_not_counted() -> None:
    """`clear_failure` takes back what was counted, and nothing that was not."""
    window, stop = window_of(400, max_failures=2)
    first, second = item(), item()
    window.clear_failure(first)
    window.count_failure(first)
    window.clear_failure(first)
    window.count_failure(second)
    assert stop.reason is None
    window.count_failure(first)
    assert stop.reason is not None


@pytest.mark.parametrize("change", ["start", "got_permit", "finish", "put", "take"])
async def test_who_waits_is_woken_by_every_change(change: str) -> None:
    """All tasks that wait are woken when an item starts, has its permit, or ends, and by a taken outcome."""
    window, _ = window_of(400)
    one = item()
    window.put(0, OUTCOME)
    tasks = [await waiting(window.wait()) for _ in range(2)]
    if change == "take":
        await window.take()
    elif change == "put":
        window.put(1, OUTCOME)
    else:
        getattr(window, change)(one)
    await asyncio.wait_for(asyncio.gather(*tasks), 5)


async def test_outcomes_are_taken_in_the_order_in_which_they_came() -> None:
    """`take` gives outcomes in the order of `put`, with their indexes, and None once the window is closed."""
    window, _ = window_of(400)
    window.put(7, OUTCOME)
    window.put(2, OUTCOME)
    window.close()
    assert [await window.take() for _ in range(3)] == [(7, OUTCOME), (2, OUTCOME), None]


async def test_a_waiting_reader_is_woken_by_an_outcome_and_by_the_end() -> None:
    """A reader that waits where no outcome is there is woken by one and by the closing."""
    window, _ = window_of(400)
    task = await waiting(window.take())
    window.put(0, OUTCOME)
    assert await asyncio.wait_for(task, 5) == (0, OUTCOME)
    task = await waiting(window.take())
    window.close()
    assert await asyncio.wait_for(task, 5) is None
