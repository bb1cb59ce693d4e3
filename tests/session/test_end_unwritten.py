"""A store that fails while the end of a look is written: who waits for the look learns it soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Literal

import pytest
from internals_kit import LookUpdate, runtime_of
from session_kit import IntentState, intents, made, now
from shared_memory_kit import Fault, MemoryDatabase, SharedMemory, no_fault

from hoox_async import HooxSession, Look, LookStatus
from hoox_async.errors import StoreError
from hoox_async.events import Event, LookSettled
from hoox_async.sandbox import InProcessTransport, Space

PICTURE = "https://media.example/look.jpg"
pytestmark = pytest.mark.virtual_time


class Failing:
    """Fails so many messages of this name, once it is told to."""

    def __init__(self, name: str) -> None:
        self.left = 0
        self._name = name

    async def __call__(self, when: Literal["before", "after"], name: str) -> None:
        if name == self._name and when == "before" and self.left:
            self.left -= 1
            raise StoreError("the connection broke")


@asynccontextmanager
async def one_polls_for_another(
    fails: Fault, others: Fault = no_fault
) -> AsyncIterator[tuple[Space, HooxSession]]:
    """A process that polls for all, with ``fails``, and the session of another one."""
    space, memory = Space(rng=Random(1), requests_per_minute=None), SharedMemory()

    def session(database: MemoryDatabase) -> HooxSession:
        store, transport = database.workspace("w"), InProcessTransport(space)
        return HooxSession(space.api_key, transport=transport, store=store, requests_per_minute=100)

    polling, other = MemoryDatabase(memory, fault=fails), MemoryDatabase(memory, fault=others)
    async with polling, other, session(polling):
        await asyncio.sleep(3.0)  # it leads
        async with session(other) as opened:
            yield space, opened


@pytest.mark.parametrize("failures", [1, 3])
async def test_an_end_that_could_not_be_written_is_written_soon(failures: int) -> None:
    """A task in another process that waits for the look has it soon, not at the next rescan."""
    fails = Failing("put")
    async with one_polls_for_another(fails) as (space, waiting):
        job = await waiting.edit_look(made(space), "scene", key="order")
        fails.left = failures
        began = now()
        assert (await job.wait()).status is LookStatus.READY
        assert now() - began < 120.0
        assert (await intents(waiting))["order"] is IntentState.READY


async def test_an_end_whose_row_could_not_be_read_is_written_soon() -> None:
    """Where nobody waits for a look, its end is not forgotten because the database failed at that moment."""
    fails = Failing("by_ref")
    async with one_polls_for_another(fails) as (space, sending):
        await sending.edit_look(made(space), "scene", key="order")
        fails.left = 1
        await asyncio.sleep(300.0)
        assert fails.left == 0
        assert (await intents(sending))["order"] is IntentState.READY


async def test_of_two_reports_that_contradict_each_other_a_waiter_gets_the_one_that_was_written() -> None:
    """The row refuses the second one, which may know that before the first one knows that it was written."""

    async def slow(when: Literal["before", "after"], name: str) -> None:
        await asyncio.sleep(0.5 if (when, name) == ("after", "put") else 0.0)

    async with one_polls_for_another(Failing("put"), slow) as (space, session):
        job = await session.edit_look(made(space), "scene", key="order")
        waiting = asyncio.create_task(job.wait())
        await asyncio.sleep(1.0)
        ready, failed = Look(job.ref, LookStatus.READY, PICTURE), Look(job.ref, LookStatus.FAILED)
        registry = runtime_of(session).registry
        await asyncio.gather(*(registry.publish([LookUpdate(look, True)]) for look in (ready, failed)))
        assert (await waiting).status is LookStatus.READY
        assert (await intents(session))["order"] is IntentState.READY


async def test_a_waiter_has_the_look_within_seconds_while_the_store_does_not_answer() -> None:
    """Hooks are called once its end is written, and not before."""
    told: list[tuple[float, LookSettled]] = []
    hanging = False

    async def hangs(when: Literal["before", "after"], name: str) -> None:
        while hanging and when == "before" and name in ("put", "by_ref"):
            await asyncio.sleep(1.0)

    def hook(event: Event) -> None:
        if isinstance(event, LookSettled):
            told.append((now(), event))

    space, memory = Space(rng=Random(1), requests_per_minute=None), SharedMemory()
    async with MemoryDatabase(memory, fault=hangs) as database:
        store, transport = database.workspace("w"), InProcessTransport(space)
        async with HooxSession(space.api_key, transport=transport, store=store, hooks=[hook]) as session:
            job = await session.edit_look(made(space), "scene", key="order")
            waiting = asyncio.create_task(job.wait())
            await asyncio.sleep(1.0)
            hanging = True
            began = now()
            report = LookUpdate(Look(job.ref, LookStatus.READY, PICTURE), True)
            publishing = asyncio.create_task(runtime_of(session).registry.publish([report]))
            assert (await waiting).status is LookStatus.READY
            assert now() - began <= 5.5
            await publishing
            await asyncio.sleep(60.0)
            assert told == []
            hanging, works_since = False, now()
            await asyncio.sleep(60.0)
            assert (await intents(session))["order"] is IntentState.READY
    [(at, event)] = told
    assert at > works_since
    assert event.look.ref == job.ref


async def test_a_waiter_that_comes_while_the_store_does_not_answer_has_what_is_reported() -> None:
    """It first asks the store, which may know the end already, and does not wait for that answer for long."""
    hanging = False

    async def hangs(when: Literal["before", "after"], name: str) -> None:
        while hanging and when == "before" and name in ("put", "by_ref"):
            await asyncio.sleep(1.0)

    space, memory = Space(rng=Random(1), requests_per_minute=None), SharedMemory()
    async with MemoryDatabase(memory, fault=hangs) as database:
        store, transport = database.workspace("w"), InProcessTransport(space)
        async with HooxSession(space.api_key, transport=transport, store=store) as session:
            job = await session.edit_look(made(space), "scene", key="order")
            hanging = True
            waiting = asyncio.create_task(job.wait())
            began = now()
            report = LookUpdate(Look(job.ref, LookStatus.READY, PICTURE), True)
            publishing = asyncio.create_task(runtime_of(session).registry.publish([report]))
            done, _ = await asyncio.wait([waiting], timeout=60.0)
            took, hanging = now() - began, False
            await publishing
    assert done
    assert took <= 5.5
    assert waiting.result().status is LookStatus.READY
