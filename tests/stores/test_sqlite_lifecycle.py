"""Callers cancelled, opening and closing of the store on disk: no thread, lock or write is lost."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from internals_kit import Delivery, FileLedger, IntentState, Workspace
from store_kit import NOW, WORKSPACE, accept, planned, send, settle

from hoox_async import LookRef, LookStatus
from hoox_async.errors import StoreMismatch

pytestmark = pytest.mark.both_loops


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[FileLedger]:
    store = FileLedger(path)
    await store.open(WORKSPACE)
    yield store
    await store.aclose()


async def test_a_cancelled_caller_has_written(store: FileLedger) -> None:
    """A write whose caller is cancelled takes place, and no exception is left unretrieved."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await store.plan(planned("a"))
    tasks = [
        asyncio.create_task(work)
        for work in (
            store.advance("a", send("att_1")),
            store.advance("nobody", send("att_2")),
            store.advance("a", send("att_3")),
        )
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert {type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)} == {
        asyncio.CancelledError
    }
    assert [attempt.id for attempt in (await store.get(["a"]))["a"].attempts] == ["att_1"]
    del tasks
    gc.collect()
    assert complaints == []


async def test_closing_writes_what_waits(path: Path) -> None:
    """Writes that were begun before `aclose` take place, and their callers get the results."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    writes = [asyncio.create_task(store.plan(planned(f"item {number}"))) for number in range(2500)]
    await asyncio.sleep(0)
    await store.aclose()
    await asyncio.gather(*writes)
    await store.open(WORKSPACE)
    assert len(await store.in_states([IntentState.PLANNED])) == 2500
    await store.aclose()


async def test_a_cancelled_closing_still_closes(path: Path) -> None:
    """An `aclose` that is cancelled closes all the same: the file is free soon after."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    write = asyncio.create_task(store.plan(planned("a")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert await write == planned("a")
    await store.aclose()
    other = FileLedger(path)
    await other.open(WORKSPACE)
    await other.aclose()


async def test_a_cancelled_opening_holds_nothing(path: Path) -> None:
    """An `open` that is cancelled holds neither the file nor the lock afterwards."""
    store = FileLedger(path)
    opening = asyncio.create_task(store.open(WORKSPACE))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    while any(thread.name.startswith("hoox-store") for thread in threading.enumerate()):
        await asyncio.sleep(0.001)
    await store.open(WORKSPACE)
    await store.aclose()


async def test_no_thread_is_left(path: Path) -> None:
    """After `aclose`, and after an `open` that failed, the store's thread is gone."""
    before = threading.active_count()
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await store.plan(planned("a"))
    assert threading.active_count() == before + 1
    await store.aclose()
    with pytest.raises(StoreMismatch):
        await store.open(Workspace("https://other.example", "k"))
    assert threading.active_count() == before


async def test_the_loop_is_never_blocked(path: Path) -> None:
    """No call of a store's life reads, writes, locks or waits on the loop's thread."""
    store = FileLedger(path)
    with blockbuster_ctx():
        await store.open(WORKSPACE)
        await store.plan(planned("a"))
        await store.advance("a", send("att_1"))
        await store.keep_delivery("att_1", Delivery("look_9", LookStatus.READY))
        await store.delivered("att_1")
        await store.delivered_attempts("a")
        await store.delivered_to("look_9")
        await store.advance("a", accept("look_9"), settle("look_9"))
        await store.by_ref(LookRef("avtr_1", "look_9"))
        await store.note_listed("avtr_1", ["look_extra"])
        await store.claimed_looks("avtr_1")
        await store.in_states(list(IntentState))
        store.note_sends([NOW])
        await store.recent_sends(NOW)
        assert [intent.key async for intent in store.stream()] == ["a"]
        await store.aclose()
        with pytest.raises(StoreMismatch):
            await store.open(Workspace("https://other.example", "k"))
