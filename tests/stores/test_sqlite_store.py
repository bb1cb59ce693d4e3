"""The SQLite store: group commits, send times, and what is in the file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from internals_kit import FileLedger, IllegalTransition, Intent, IntentState
from store_kit import API_KEY, NOW, WORKSPACE, planned, send

from hoox_async.errors import StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[FileLedger]:
    store = FileLedger(path)
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


async def test_writes_share_commits(store: FileLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand writes that come at once take a handful of commits, not a thousand."""
    calls = count_thread_calls(monkeypatch)
    await asyncio.gather(*(store.plan(planned(f"item {number}")) for number in range(1000)))
    assert len(calls) <= 5
    assert len(await store.in_states([IntentState.PLANNED])) == 1000


async def test_a_failed_function_does_not_affect_the_others_of_its_commit(store: FileLedger) -> None:
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
    assert [type(result) for result in results] == [Intent, IllegalTransition, StoreError, StoreError, Intent]
    assert await store.delivered("att_1") is None
    assert (await store.get(["b"]))["b"].state is IntentState.SENDING


async def test_a_failed_statement_does_not_affect_the_others_of_its_commit(store: FileLedger) -> None:
    """An attempt id used twice is refused by the database; the other writes of the same commit take place."""
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


async def test_send_times_are_durable_when_they_are_awaited(path: Path, store: FileLedger) -> None:
    """Awaited send times are in the file, so after a kill the next process knows all that was sent."""
    await store.note_sends([NOW])
    await store.note_sends([])
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT count(*) FROM sends").fetchone() == (1,)
    reader.close()


async def test_the_api_key_is_in_no_file(path: Path, tmp_path: Path) -> None:
    """Neither the key nor a half of it is in any of the store's files, open or closed."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await store.plan(planned("a"))
    texts = [file.read_bytes() for file in tmp_path.iterdir()]
    await store.aclose()
    texts += [file.read_bytes() for file in tmp_path.iterdir()]
    assert len(texts) >= 5
    assert not any(API_KEY[8:38].encode() in text for text in texts)
    assert API_KEY not in repr(store) + repr(WORKSPACE)


async def test_equal_keys_have_unequal_fingerprints(tmp_path: Path) -> None:
    """Two files of one workspace have different salts and fingerprints: neither reveals the other."""
    found = []
    for name in ("one.db", "two.db"):
        store = FileLedger(tmp_path / name)
        await store.open(WORKSPACE)
        await store.aclose()
        reader = sqlite3.connect(tmp_path / name)
        found.append(reader.execute("SELECT salt, fingerprint FROM key_salt, workspaces").fetchone())
        reader.close()
    (salt, fingerprint), (other_salt, other_fingerprint) = found
    assert salt != other_salt
    assert fingerprint != other_fingerprint


async def test_the_stream_reads_page_by_page(store: FileLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream takes three hundred intents at a time, as they are asked for."""
    await asyncio.gather(*(store.plan(planned(f"item {number}")) for number in range(720)))
    calls = count_thread_calls(monkeypatch)
    stream = store.stream()
    await anext(stream)
    assert len(calls) == 1
    assert len([intent async for intent in stream]) == 719
    assert len(calls) == 3


async def test_it_belongs_to_its_loop(store: FileLedger) -> None:
    """Used from another loop it raises `StoreError`, instead of waiting for ever."""

    def elsewhere() -> None:
        with pytest.raises(StoreError, match="loop"):
            asyncio.run(store.get(["a"]))

    await asyncio.to_thread(elsewhere)


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """A file of no bytes, as temporary files are made, is taken as new."""
    path.touch()
    store = FileLedger(str(path))
    await store.open(WORKSPACE)
    assert await store.plan(planned("a")) == planned("a")
    await store.aclose()
    assert path.stat().st_size > 0
