"""Sessions of several processes on one shared database in memory, in virtual time, with failing calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Literal

import pytest
from session_kit import paid_prompts
from shared_memory_kit import Fault, MemoryDatabase, SharedMemory, no_fault

from hoox_async import BatchItem, BatchRunner, HooxSession, OutcomeState, PromptAvatar
from hoox_async.errors import HooxError, StoreError
from hoox_async.sandbox import InProcessTransport, Space

pytestmark = pytest.mark.virtual_time


class Process:
    """One process: its database object and its session."""

    def __init__(self, space: Space, memory: SharedMemory, latency: float) -> None:
        self.database = MemoryDatabase(memory)
        self.session = HooxSession(
            space.api_key,
            transport=InProcessTransport(space, latency=latency),
            store=self.database.workspace("shop"),
            requests_per_minute=60_000,
            poll="awaited",
        )


@asynccontextmanager
async def processes(count: int, latency: float = 3.0) -> AsyncIterator[tuple[list[Process], Space]]:
    """Processes on one database and one workspace of the API."""
    space, memory = Space(rng=Random(1), requests_per_minute=None), SharedMemory()
    found = [Process(space, memory, latency) for _ in range(count)]
    for process in found:
        await process.database.open()
        await process.session.__aenter__()
    try:
        yield found, space
    finally:
        for process in found:
            process.database.fault = no_fault
            await process.session.aclose()
            await process.database.aclose()


def items(count: int) -> list[BatchItem]:
    return [BatchItem(f"k{n}", PromptAvatar(f"k{n}")) for n in range(count)]


def faults(rng: Random, share: float) -> Fault:
    """Statements that take up to 2 s, and of which a share fails: not executed, or their answer lost."""

    async def fault(_: Literal["before", "after"], __: str) -> None:
        await asyncio.sleep(rng.uniform(0, 1.0))
        if rng.random() < share / 2:
            raise StoreError("the shared memory: the connection broke")

    return fault


async def test_two_processes_over_the_same_keys_pay_once() -> None:
    """Both run the same batch of 60 items: 60 charges, and each process has all looks ready."""
    async with processes(2) as (found, space):
        reports = await asyncio.gather(*(BatchRunner(each.session).run(items(60)) for each in found))
    assert paid_prompts(space) == Counter(f"k{n}" for n in range(60))
    for report in reports:
        assert {outcome.state for outcome in report.outcomes} == {OutcomeState.READY}


async def test_what_a_killed_process_was_sending_is_told_to_those_that_joined_it() -> None:
    """A process is killed with a POST outstanding: who joined its key hears of it after the lease."""
    async with processes(2, latency=40.0) as ([dying, other], space):
        sending = asyncio.create_task(dying.session.submit(PromptAvatar("k"), key="k"))
        await asyncio.sleep(15)
        joined = asyncio.create_task(other.session.submit(PromptAvatar("k"), key="k"))
        await asyncio.sleep(5)
        await dying.database.kill()
        await asyncio.sleep(5)
        assert not joined.done()
        with pytest.raises(HooxError, match="lease"):
            await joined
        assert [unknown.key for unknown in await other.session.unknowns()] == ["k"]
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert paid_prompts(space)["k"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_failing_statements_pay_nothing_twice(seed: int) -> None:
    """Three processes run the same batch while a tenth of all statements fail or lose their answer.

    No key is charged twice. Once the store works again, each has its look or is unknown, for all of them.
    """
    rng = Random(seed)
    async with processes(3) as (found, space):
        for process in found:
            process.database.fault = faults(rng, 0.1)
        await asyncio.gather(*(run_for_a_while(each.session) for each in found))
        for process in found:
            process.database.fault = no_fault
        await asyncio.sleep(120)
        reports = [await BatchRunner(each.session).run(items(20)) for each in found]
    paid = paid_prompts(space)
    assert max(paid.values()) == 1
    for report in reports:
        for outcome in report.outcomes:
            assert outcome.state in (OutcomeState.READY, OutcomeState.UNKNOWN)
            assert outcome.state is OutcomeState.UNKNOWN or paid[outcome.key] == 1


async def run_for_a_while(session: HooxSession) -> None:
    """Run the batch again and again, since a store that fails ends it."""
    for _ in range(10):
        with suppress(HooxError):
            await BatchRunner(session).run(items(20))
        await asyncio.sleep(1)
