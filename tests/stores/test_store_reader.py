"""Reading a store's file for a report: beside a writer, after a crash, in a folder that cannot be written."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from internals_kit import FileLedger, Intent, IntentState, offline_file
from store_kit import WORKSPACE, child, planned, read_only, send, turns_counted

from hoox_async.errors import StoreError

CRASH = """
import asyncio, os, sys
from hoox_async._io.ledger.local_ledger import FileLedger
from store_kit import WORKSPACE, planned

async def main():
    store = FileLedger(sys.argv[1])
    await store.open(WORKSPACE)
    await store.plan(planned("of the dead"))
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user can reach: pytest's own are for their owner alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def read(path: Path) -> list[Intent]:
    async with offline_file(path) as ledger:
        return [intent async for intent in ledger.stream()]


async def write(path: Path) -> None:
    """A closed store with one planned intent."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await store.plan(planned("a"))
    await store.aclose()


async def test_a_closed_store_is_read(tmp_path: Path) -> None:
    """Every intent comes, in the order of the plan, also past a page, and as often as asked."""
    path = tmp_path / "campaign.db"
    store = FileLedger(path)
    await store.open(WORKSPACE)
    keys = [f"item {number}" for number in range(1100)]
    await asyncio.gather(*(store.plan(planned(key)) for key in keys))
    await store.aclose()
    async with offline_file(str(path)) as ledger:
        for _ in range(2):
            assert [intent.key async for intent in ledger.stream()] == keys


async def test_a_snapshot_does_not_change_while_a_session_writes(tmp_path: Path) -> None:
    """While a session writes, a snapshot shows the moment of its opening; the writer is not held up."""
    path = tmp_path / "campaign.db"
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await store.plan(planned("a"))
    async with offline_file(path) as ledger:
        await store.advance("a", send("att_1"))
        await store.plan(planned("b"))
        assert [(intent.key, intent.state) async for intent in ledger.stream()] == [
            ("a", IntentState.PLANNED)
        ]
        assert [intent.state for intent in await read(path)] == [IntentState.SENDING, IntentState.PLANNED]
        await store.aclose()
    assert len(await read(path)) == 2


async def test_reading_takes_no_lock(tmp_path: Path) -> None:
    """A session opens and writes while a snapshot is held."""
    path = tmp_path / "campaign.db"
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await store.aclose()
    async with offline_file(path) as ledger:
        await store.open(WORKSPACE)
        await store.plan(planned("a"))
        assert [intent async for intent in ledger.stream()] == []
        await store.aclose()


async def test_a_read_only_folder_can_be_read(folder: Path) -> None:
    """A closed store in a folder that cannot be written is read, and nothing is made there."""
    path = folder / "campaign.db"
    await write(path)
    before = sorted(folder.iterdir())
    with read_only(folder):
        assert await read(path) == [planned("a")]
    assert sorted(folder.iterdir()) == before


@pytest.mark.slow
async def test_a_crashed_store_is_read_to_the_last_commit(folder: Path) -> None:
    """What a killed process had committed is read, though it is in the ``-wal`` only."""
    path = folder / "campaign.db"
    with child(CRASH, path) as process:
        assert process.wait() == -signal.SIGKILL
    assert Path(f"{path}-wal").stat().st_size > 0
    assert await read(path) == [planned("of the dead")]
    with read_only(folder):
        assert await read(path) == [planned("of the dead")]


@pytest.mark.slow
async def test_an_incomplete_store_is_not_read(folder: Path) -> None:
    """Where the last commits cannot be reached, it is a `StoreError` and no older state is shown."""
    path = folder / "campaign.db"
    with child(CRASH, path) as process:
        process.wait()
    Path(f"{path}-shm").unlink()
    with read_only(folder), pytest.raises(StoreError, match="cannot be opened"):
        await read(path)


async def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    """A path without a file is a `StoreError` naming it, and nothing is made."""
    with pytest.raises(StoreError, match=r"campaign\.db: there is no such file"):
        await read(tmp_path / "campaign.db")
    with pytest.raises(StoreError, match="no such file"):
        await read(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    """An empty file, a text and another program's database are `StoreError`, and stay as they were."""
    empty, text, other = (tmp_path / name for name in ("empty.db", "text.db", "other.db"))
    empty.touch()
    text.write_text("no database, " * 100)
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE bookmarks (url)")
    db.commit()
    db.close()
    before = [file.read_bytes() for file in (empty, text, other)]
    for file in (empty, text, other):
        with pytest.raises(StoreError) as caught:
            await read(file)
        assert str(file) in str(caught.value)
    assert [file.read_bytes() for file in (empty, text, other)] == before


async def test_an_odd_name_is_read(tmp_path: Path) -> None:
    """A name full of what means something in a URI is a name."""
    path = tmp_path / "50% of? #1 ü.db"
    await write(path)
    assert await read(path) == [planned("a")]


async def test_reading_blocks_no_loop_and_leaves_no_thread(tmp_path: Path) -> None:
    """Reading never blocks the loop; after closing its thread is gone, and reading raises StoreError."""
    path = tmp_path / "campaign.db"
    await write(path)
    before = threading.active_count()
    with blockbuster_ctx():
        async with offline_file(path) as ledger:
            assert [intent.key async for intent in ledger.stream()] == ["a"]
    assert threading.active_count() == before
    with pytest.raises(StoreError, match="closed"):
        [intent async for intent in ledger.stream()]


async def test_the_loop_has_a_turn_every_few_intents(tmp_path: Path) -> None:
    """Who reads a large store holds up the loop for a few intents at a time."""
    path = tmp_path / "campaign.db"
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await asyncio.gather(*(store.plan(planned(f"item {number}")) for number in range(120)))
    await store.aclose()
    async with turns_counted() as turn, offline_file(path) as ledger:
        read_in = Counter([turn() async for _ in ledger.stream()])
    assert read_in.total() == 120
    assert max(read_in.values()) <= 25
