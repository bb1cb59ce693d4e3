"""Deliveries that one process has kept, and what becomes of them where another one writes or dies."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from delivery_kit import PICTURE
from internals_kit import Delivery, IntentState
from session_kit import prompt, sends, store_of
from test_leader import LEASE, Process, apart, processes, until

from hoox_async import LookJob, LookStatus
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


async def begin(space: Space, process: Process) -> tuple[str, asyncio.Task[LookJob]]:
    """Begin a POST that is charged and gets no answer: the id of its attempt, and the submission."""
    space.faults.fail_next("create", Fault.HANG)
    sending = asyncio.create_task(process.session.submit(prompt(), key="k"))
    await until(lambda: bool(space.ledger), 5.0)
    assert process.hub is not None
    return process.hub.attempts[-1], sending


@pytest.mark.parametrize("poll", ["all", "awaited"])
async def test_what_was_delivered_for_a_dead_process_proves_its_look(poll: Literal["all", "awaited"]) -> None:
    """The process that was sending died before it could apply that. No request is made."""
    async with processes(2, poll=poll, webhooks=True) as (space, (living, sender)):
        attempt, sending = await begin(space, sender)
        ref = space.ledger[0].ref
        assert living.hub is not None
        assert await living.hub(attempt, Delivery(ref.look_id, LookStatus.READY, ref.avatar_id, PICTURE))
        await sender.kill()
        await asyncio.gather(sending, return_exceptions=True)
        await until(lambda: living.database.memory.states == [IntentState.READY], 4 * LEASE)
        assert sends(space, "status", "avatar", "list") == 0


async def test_what_a_process_kept_that_died_then_is_applied_by_the_leader() -> None:
    """Within seconds, and without a request. That process has acknowledged it, so it does not come again."""
    async with processes(2, webhooks=True) as (space, opened):
        leader, (other,) = apart(opened)
        space.hold(0.0)
        job = await leader.session.submit(prompt(), key="k")
        assert leader.hub is not None
        ready = Delivery(job.look_id, LookStatus.READY, job.avatar_id, PICTURE)
        assert await store_of(other.session).keep_delivery(leader.hub.attempts[-1], ready)
        await until(lambda: leader.database.memory.states == [IntentState.READY], 3.0)
        assert sends(space, "status", "avatar", "list") == 0


async def test_of_two_deliveries_at_two_processes_at_once_the_more_telling_one_is_kept() -> None:
    """Also where the less telling one was decided upon before, and is written afterwards."""
    async with processes(2, webhooks=True) as (space, (first, second)):
        attempt, sending = await begin(space, first)
        ref = space.ledger[0].ref
        begun = Delivery(ref.look_id, LookStatus.PROCESSING, ref.avatar_id)
        ready = Delivery(ref.look_id, LookStatus.READY, ref.avatar_id, PICTURE)
        other, overtaken = second.hub, False
        assert first.hub is not None
        assert other is not None

        async def overtake(when: str, name: str) -> None:
            nonlocal overtaken
            if (when, name) == ("before", "keep_delivery") and not overtaken:
                overtaken = True
                assert await other(attempt, ready)

        first.database.fault = overtake
        assert await first.hub(attempt, begun)
        kept = await store_of(first.session).delivered(attempt)
        assert overtaken
        assert kept is not None
        assert kept.delivery == ready
        await first.kill()
        await asyncio.gather(sending, return_exceptions=True)
