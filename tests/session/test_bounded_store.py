"""`max_wait` and `timeout` bound what the database takes too, and a commit that hangs sends nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Literal

import pytest
from session_kit import IntentState, edit, made, sends
from shared_memory_kit import MemoryDatabase, SharedMemory

from hoox_async import HooxSession, NotSent, WaitTimeout
from hoox_async.errors import StoreError
from hoox_async.sandbox import Fault, InProcessTransport, Space

pytestmark = pytest.mark.virtual_time


class Slow:
    """Delays each statement of a database by the seconds that are set for it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    async def __call__(self, when: Literal["before", "after"], name: str) -> None:
        await asyncio.sleep(self.seconds[name] if when == "before" else 0.0)


@asynccontextmanager
async def on_slow_database(limit: int = 6_000) -> AsyncIterator[tuple[HooxSession, Space, Slow]]:
    """A session whose database can be made slow."""
    space, slow = Space(rng=Random(1), requests_per_minute=None), Slow()
    async with (
        MemoryDatabase(SharedMemory(), lease=100.0, fault=slow) as database,
        HooxSession(
            space.api_key,
            transport=InProcessTransport(space),
            store=database.workspace("w"),
            requests_per_minute=limit,
        ) as session,
    ):
        yield session, space, slow


@pytest.mark.parametrize("statement", ["reserve", "row", "by_ref", "put"])
@pytest.mark.parametrize("max_wait", [0.0, 1.0, 3.0])
async def test_max_wait_bounds_what_the_database_takes(statement: str, max_wait: float) -> None:
    """Whichever statement hangs, a submission ends in time, and nothing was sent or paid."""
    async with on_slow_database(limit=6) as (session, space, slow):
        source = made(space)
        for n in range(8):  # the burst of the quota is used up
            await session.submit(edit(source, f"e{n}"), key=f"e{n}")
        before, slow.seconds[statement] = sends(space, "edit"), 30.0
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises((NotSent, StoreError)) as caught:
            await session.submit(edit(source), key="late", max_wait=max_wait)
        assert caught.value.charged == "no"
        assert loop.time() - began <= max(max_wait, 1.0) + 0.1
        slow.seconds.clear()
        assert sends(space, "edit") == before


async def test_a_commit_that_hangs_at_the_bound_sends_nothing_and_is_taken_back() -> None:
    """`StoreError` with ``charged == "no"``; once the database answers, the key is free and is sent once."""
    async with on_slow_database() as (session, space, slow):
        source = made(space)
        await session.submit(edit(source), key="first")
        slow.seconds["put"] = 30.0
        with pytest.raises(StoreError) as caught:
            await session.submit(edit(source), key="k", max_wait=2.0)
        assert caught.value.charged == "no"
        slow.seconds.clear()
        await asyncio.sleep(120.0)
        assert sends(space, "edit") == 1
        stored = (await session._store.get(("k",))).get("k")
        assert stored is None or stored.state is IntentState.PLANNED
        await session.submit(edit(source), key="k")
        assert sends(space, "edit") == 2
        assert await session.unknowns() == []


@pytest.mark.parametrize("timeout", [0, 1.0, 3.0])
async def test_a_wait_is_bounded_while_the_database_hangs(timeout: float) -> None:
    """``job.wait(timeout)`` counts the time of the database too."""
    async with on_slow_database() as (session, space, slow):
        ref = (await session.submit(edit(made(space)), key="k")).ref
        slow.seconds["by_ref"] = 30.0
        began = asyncio.get_running_loop().time()
        with pytest.raises(WaitTimeout):
            await session.wait(ref, timeout)
        assert asyncio.get_running_loop().time() - began <= max(timeout, 1.0) + 0.1


async def test_after_a_429_nothing_is_sent_while_the_pause_is_not_written() -> None:
    """A reservation that was answered before the pause was written does not end it in this process."""
    async with on_slow_database(limit=600) as (session, space, slow):
        source = made(space)
        await session.submit(edit(source, "a"), key="a")
        slow.seconds["learn"] = slow.seconds["learned"] = 4.0
        space.faults.fail_next("edit", Fault.rate_limited(retry_after=10.0))
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(session.submit(edit(source, f"b{n}"), key=f"b{n}"))
        sent = [record.at - began for record in space.requests if record.endpoint == "edit"][1:]
        assert not any(1.0 < at < 10.0 for at in sent)
        assert len(space.ledger) == 4
