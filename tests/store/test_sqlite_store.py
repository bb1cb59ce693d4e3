"""The store on disk: group commits, cancelled callers, what stands in the file, and the loop never blocked."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from store_kit import API_KEY, NOW, WORKSPACE, accept, planned, send, settle

from hoox_async._core.ledger import IllegalStep, Intent, IntentState
from hoox_async._core.models import LookRef, LookStatus
from hoox_async._protocols import Delivery, Workspace
from hoox_async._store import _rows
from hoox_async._store.sqlite import SQLiteStore
from hoox_async.errors import StoreError, StoreMismatch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(path)
    await store.open(WORKSPACE)
    yield store
    await store.aclose()


def count_thread_calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """From now on every call that the loop hands to a thread is listed."""
    loop = asyncio.get_running_loop()
    calls: list[object] = []
    original = loop.run_in_executor

    def counted(executor: Any, function: Any, *args: Any) -> asyncio.Future[Any]:
        calls.append(function)
        return original(executor, function, *args)

    monkeypatch.setattr(loop, "run_in_executor", counted)
    return calls


async def test_writes_share_commits(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand writes that come at once take a handful of commits, not a thousand."""
    calls = count_thread_calls(monkeypatch)
    await asyncio.gather(*(store.plan(planned(f"item {number}")) for number in range(1000)))
    assert len(calls) <= 5
    assert len(await store.in_states([IntentState.PLANNED])) == 1000


async def test_one_failure_spoils_no_other(store: SQLiteStore) -> None:
    """In one commit, a function that fails leaves no trace and the others are written."""
    await store.plan(planned("a"))
    results = await asyncio.gather(
        store.plan(planned("b")),
        store.advance("a", send("att_1"), send("att_2")),
        store.advance("nobody", send("att_3")),
        store.plan(planned("\ud800")),
        store.advance("b", send("att_4")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [Intent, IllegalStep, StoreError, StoreError, Intent]
    assert await store.by_attempt("att_1") is None
    assert (await store.get(["b"]))["b"].state is IntentState.SENDING


async def test_a_failing_statement_spoils_no_other(store: SQLiteStore) -> None:
    """An attempt id used twice is refused by the database; what stood in the same commit is written."""
    for key in "ab":
        await store.plan(planned(key))
    results = await asyncio.gather(
        store.advance("a", send("att_1")),
        store.advance("b", send("att_1")),
        store.plan(planned("c")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [Intent, StoreError, Intent]
    states = [intent.state async for intent in store.stream()]
    assert states == [IntentState.SENDING, IntentState.PLANNED, IntentState.PLANNED]


async def test_a_cancelled_caller_has_written(store: SQLiteStore) -> None:
    """A write that is under way is finished when its caller is cancelled, and nobody is left with an error."""
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
    """Writes that were handed in before `aclose` are written, and their callers are told."""
    store = SQLiteStore(path)
    await store.open(WORKSPACE)
    writes = [asyncio.create_task(store.plan(planned(f"item {number}"))) for number in range(2500)]
    await asyncio.sleep(0)
    await store.aclose()
    await asyncio.gather(*writes)
    await store.open(WORKSPACE)
    assert len(await store.in_states([IntentState.PLANNED])) == 2500
    await store.aclose()


async def test_closing_bears_cancellation(path: Path) -> None:
    """An `aclose` that is cancelled closes all the same: the file is free soon after."""
    store = SQLiteStore(path)
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
    other = SQLiteStore(path)
    await other.open(WORKSPACE)
    await other.aclose()


async def test_opening_bears_cancellation(path: Path) -> None:
    """An `open` that is cancelled holds neither the file nor the lock afterwards."""
    store = SQLiteStore(path)
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
    store = SQLiteStore(path)
    await store.open(WORKSPACE)
    await store.plan(planned("a"))
    assert threading.active_count() == before + 1
    await store.aclose()
    with pytest.raises(StoreMismatch):
        await store.open(Workspace("https://other.example", "k"))
    assert threading.active_count() == before


async def test_the_loop_is_never_blocked(path: Path) -> None:
    """No call of a store's life reads, writes, locks or waits on the loop's thread."""
    store = SQLiteStore(path)
    with blockbuster_ctx():
        await store.open(WORKSPACE)
        await store.plan(planned("a"))
        await store.advance("a", send("att_1"))
        await store.keep_delivery("att_1", Delivery("look_9", LookStatus.READY))
        await store.kept_delivery("att_1")
        await store.advance("a", accept("look_9"), settle("look_9"))
        await store.by_attempt("att_1")
        await store.by_ref(LookRef("avtr_1", "look_9"))
        await store.add_seen("avtr_1", ["look_source"])
        await store.seen_looks("avtr_1")
        await store.in_states(list(IntentState))
        store.note_sends([NOW])
        await store.recent_sends(NOW)
        assert [intent.key async for intent in store.stream()] == ["a"]
        await store.aclose()
        with pytest.raises(StoreMismatch):
            await store.open(Workspace("https://other.example", "k"))


@pytest.mark.virtual_time
async def test_send_times_are_written_within_a_second(path: Path) -> None:
    """Send times that no other write takes along are in the file within a second."""
    store = SQLiteStore(path)
    await store.open(WORKSPACE)
    store.note_sends([NOW])
    await asyncio.sleep(1.0)
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT count(*) FROM sends").fetchone() == (1,)
    reader.close()
    await store.aclose()


async def test_send_times_go_with_the_next_write(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send times are written in the commit of the next write, not in one of their own."""
    store.note_sends([NOW])
    calls = count_thread_calls(monkeypatch)
    await store.plan(planned("a"))
    assert len(calls) == 1
    assert await store.recent_sends(NOW - timedelta(seconds=1)) == [NOW]


async def test_the_api_key_is_in_no_file(path: Path, tmp_path: Path) -> None:
    """Neither the key nor a half of it stands in any of the store's files, open or closed."""
    store = SQLiteStore(path)
    await store.open(WORKSPACE)
    await store.plan(planned("a"))
    texts = [file.read_bytes() for file in tmp_path.iterdir()]
    await store.aclose()
    texts += [file.read_bytes() for file in tmp_path.iterdir()]
    assert len(texts) >= 5
    assert not any(API_KEY[8:38].encode() in text for text in texts)
    assert API_KEY not in repr(store) + repr(WORKSPACE)


async def test_equal_keys_have_unequal_fingerprints(tmp_path: Path) -> None:
    """Two files of one workspace hold different salts and fingerprints: they tell nothing of each other."""
    found = []
    for name in ("one.db", "two.db"):
        store = SQLiteStore(tmp_path / name)
        await store.open(WORKSPACE)
        await store.aclose()
        reader = sqlite3.connect(tmp_path / name)
        found.append(dict(reader.execute("SELECT name, value FROM meta")))
        reader.close()
    assert found[0]["salt"] != found[1]["salt"]
    assert found[0]["fingerprint"] != found[1]["fingerprint"]


async def test_the_stream_reads_page_by_page(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream takes a few hundred intents at a time, as they are asked for."""
    await asyncio.gather(*(store.plan(planned(f"item {number}")) for number in range(1600)))
    calls = count_thread_calls(monkeypatch)
    stream = store.stream()
    await anext(stream)
    assert len(calls) == 1
    assert len([intent async for intent in stream]) == 1599
    assert len(calls) == 4


async def test_it_belongs_to_its_loop(store: SQLiteStore) -> None:
    """Used from another loop it raises `StoreError`, instead of waiting for ever."""

    def elsewhere() -> None:
        with pytest.raises(StoreError, match="loop"):
            asyncio.run(store.get(["a"]))

    await asyncio.to_thread(elsewhere)


@pytest.mark.parametrize(
    ("read", "index"),
    [
        (lambda db: _rows.by_ref(db, LookRef("a", "b")), "intents_ref"),
        (lambda db: _rows.in_states(db, [IntentState.UNKNOWN, IntentState.SENDING]), "intents_open"),
        (lambda db: _rows.by_attempt(db, "att_1"), "PRIMARY KEY"),
        (lambda db: _rows.get(db, ["a"]), "intents"),
        (lambda db: _rows.seen_looks(db, "avtr_1"), "PRIMARY KEY"),
    ],
)
async def test_questions_use_an_index(store: SQLiteStore, read: Any, index: str) -> None:
    """What a session asks again and again is answered by an index, never by reading all rows."""

    def plans(db: sqlite3.Connection) -> list[str]:
        statements: list[str] = []
        db.set_trace_callback(statements.append)
        read(db)
        db.set_trace_callback(None)
        return [row[3] for text in statements for row in db.execute("EXPLAIN QUERY PLAN " + text)]

    told = await store._read(plans)
    assert any(index in line for line in told)
    assert not any(
        line.startswith("SCAN") and "USING INDEX" not in line and "json_each" not in line for line in told
    )


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """A file of no bytes, as temporary files are made, is taken as new."""
    path.touch()
    store = SQLiteStore(str(path))
    await store.open(WORKSPACE)
    assert await store.plan(planned("a")) == planned("a")
    await store.aclose()
    assert path.stat().st_size > 0
