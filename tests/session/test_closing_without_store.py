"""A session whose store does not answer closes within one bound, and loses nothing that was paid."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from internals_kit import LookUpdate, runtime_of
from session_kit import IntentState, adds_key, now, prompt
from shared_memory_kit import MemoryDatabase, SharedMemory
from test_leader import LEASE

from hoox_async import Event, HooxSession, Look, LookRef, LookStatus
from hoox_async.errors import SessionClosed, StoreError
from hoox_async.sandbox import InProcessTransport, Space

pytestmark = pytest.mark.virtual_time
DEADLINE = 10.0  # of a statement
AT_MOST = 12.0  # seconds
REF = LookRef("avtr_1", "look_1")
PICTURE = "https://media.example/look.jpg"


async def answers_nothing(_: str, __: str) -> None:
    """A server that stands still: each statement fails at its deadline."""
    await asyncio.sleep(DEADLINE)
    raise StoreError("it did not answer")


class OnDatabase:
    """A session on a database that can be made to answer nothing."""

    def __init__(self, database: MemoryDatabase, space: Space, latency: float, hooks: Any) -> None:
        self.database = database
        self._works = database.fault
        self.space = space
        self.session = HooxSession(
            space.api_key,
            transport=InProcessTransport(space, latency=latency),
            store=database.workspace("w"),
            hooks=hooks,
            requests_per_minute=60_000,
        )

    def stand_still(self) -> None:
        self.database.fault = answers_nothing

    def work_again(self) -> None:
        self.database.fault = self._works


@asynccontextmanager
async def on_database(latency: float = 0.1, hooks: Any = ()) -> AsyncIterator[OnDatabase]:
    """When it ends, the database works again."""
    space, memory = Space(rng=Random(1), requests_per_minute=None), SharedMemory()
    async with MemoryDatabase(memory, lease=LEASE) as database:
        opened = OnDatabase(database, space, latency, hooks)
        async with opened.session:
            try:
                yield opened
            finally:
                await opened.session.aclose()
                opened.work_again()


async def hangs(event: Event) -> None:
    """An async hook that never ends."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("hooks", [(), (hangs,)], ids=["none", "hanging"])
async def test_a_session_closes_in_one_bound_though_its_database_stands_still(hooks: Any) -> None:
    """Also where it has much to write: what is sending, ends, whom it has told, and the use of permits."""
    async with on_database(hooks=hooks) as on:
        job = await on.session.submit(prompt(), key="accepted")
        on.stand_still()
        with pytest.raises(StoreError):
            await on.session.submit(prompt(), key="not sent")
        report = LookUpdate(Look(job.ref, LookStatus.READY, PICTURE), complete=True)
        await runtime_of(on.session).registry.publish([report])
        began = now()
        await on.session.aclose()
        assert now() - began <= AT_MOST
        assert on.database.memory.states[0] == IntentState.ACCEPTED


async def test_the_bound_begins_once_the_last_paid_request_was_answered() -> None:
    """Its caller has the ref of what is not written, which another session finds as unknown."""
    async with on_database(latency=5.0) as on:
        posting = asyncio.create_task(on.session.submit(prompt(), key="k"))
        while on.database.memory.states != [IntentState.SENDING]:
            await asyncio.sleep(0.1)
        on.stand_still()
        began = now()
        await on.session.aclose()
        assert AT_MOST < now() - began <= 5.0 + AT_MOST
        with pytest.raises(StoreError) as caught:
            await posting
        assert (caught.value.charged, caught.value.ref) == ("yes", on.space.ledger[0].ref)
        on.work_again()
        async with asyncio.timeout(4 * LEASE):
            while on.database.memory.states != [IntentState.UNKNOWN]:
                await asyncio.sleep(1.0)


async def test_an_end_that_is_not_written_is_tried_once_more_at_the_close() -> None:
    """Its row says it then, and hooks are told of it before they are closed."""
    told: list[str | None] = []
    async with on_database(hooks=[adds_key(told)]) as on:
        job = await on.session.submit(prompt(), key="k")
        on.database.fault = _store_error
        report = LookUpdate(Look(job.ref, LookStatus.READY, PICTURE), complete=True)
        await runtime_of(on.session).registry.publish([report])
        assert (told, on.database.memory.states) == ([], [IntentState.ACCEPTED])
        on.work_again()
        await on.session.aclose()
        assert (told, on.database.memory.states) == (["k"], [IntentState.READY])


CALLS: dict[str, Callable[[HooxSession], Coroutine[Any, Any, Any]]] = {
    "submit": lambda s: s.submit(prompt(), key="new"),
    "jobs": lambda s: s.jobs(),
    "unknowns": lambda s: s.unknowns(),
    "resolve": lambda s: s.resolve("k", REF),
    "resend": lambda s: s.resend("k"),
    "drop": lambda s: s.drop("k"),
    "wait": lambda s: s.wait(REF),
    "health": lambda s: s.health(),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_whose_session_is_closed_while_the_store_does_not_answer_says_so(name: str) -> None:
    """The store's failure is no news then: `SessionClosed`, and not `StoreError`."""
    async with on_database() as on:
        on.stand_still()
        calling = asyncio.create_task(CALLS[name](on.session))
        await asyncio.sleep(1.0)
        await on.session.aclose()
        with pytest.raises(SessionClosed):
            await calling


async def _store_error(_: str, __: str) -> None:
    raise StoreError("the connection broke")
