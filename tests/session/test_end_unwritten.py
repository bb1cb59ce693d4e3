"""A store that fails while the end of a look is written: who waits for the look learns it soon."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Literal

import pytest
from session_kit import IntentState, made
from shared_memory_kit import MemoryDatabase, SharedMemory

from hoox_async import HooxSession, LookStatus
from hoox_async.errors import StoreError
from hoox_async.sandbox import InProcessTransport, Space

pytestmark = pytest.mark.virtual_time


class FailingWrites:
    """Fails so many writes of a database, once it is told to."""

    def __init__(self) -> None:
        self.left = 0

    async def __call__(self, when: Literal["before", "after"], name: str) -> None:
        if name == "put" and when == "before" and self.left:
            self.left -= 1
            raise StoreError("the connection broke")


@pytest.mark.parametrize("failures", [1, 3])
async def test_an_end_that_could_not_be_written_is_written_soon(failures: int) -> None:
    """A task in another process that waits for the look has it soon, not at the next rescan."""
    space, memory, fails = Space(rng=Random(1), requests_per_minute=None), SharedMemory(), FailingWrites()

    def session(database: MemoryDatabase) -> HooxSession:
        store, transport = database.workspace("w"), InProcessTransport(space)
        return HooxSession(space.api_key, transport=transport, store=store, requests_per_minute=100)

    polling, other = MemoryDatabase(memory, fault=fails), MemoryDatabase(memory)
    async with polling, other, session(polling):
        await asyncio.sleep(3.0)  # it leads
        async with session(other) as waiting:
            job = await waiting.edit_look(made(space), "scene", key="order")
            fails.left = failures
            began = asyncio.get_running_loop().time()
            look = await job.wait()
            assert look.status is LookStatus.READY
            assert asyncio.get_running_loop().time() - began < 120.0
            assert (await waiting._store.get(("order",)))["order"].state is IntentState.READY
