"""`backup_store`: a copy of a store that is complete by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from internals_kit import FileLedger, IntentState
from store_kit import WORKSPACE, child, planned, send
from test_store_wal import KILLED, copy

from hoox_async import backup_store
from hoox_async._io.ledger import maintenance
from hoox_async.errors import StoreError, StoreIncomplete


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


def copies(folder: Path) -> list[str]:
    """The names of the copy and of whatever is left of its making."""
    return sorted(file.name for file in folder.iterdir() if "copy" in file.name)


async def found(path: Path) -> dict[str, IntentState]:
    """What a session finds there."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    states = {intent.key: intent.state async for intent in store.stream()}
    await store.aclose()
    return states


async def test_an_open_store_is_copied(path: Path, tmp_path: Path) -> None:
    """While a session writes, the copy has all that was committed, is one file, and opens by itself.

    What was being sent is unknown in the copy; the session is not disturbed.
    """
    target = tmp_path / "copy.db"
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await asyncio.gather(*(store.plan(planned(f"item {number}")) for number in range(300)))
    await store.advance("item 7", send("att_7"))
    with blockbuster_ctx():
        assert await backup_store(path, str(target)) == target
    await store.plan(planned("later"))
    assert copies(tmp_path) == ["copy.db"]
    states = await found(target)
    assert len(states) == 300
    assert states["item 7"] is IntentState.UNKNOWN
    await store.aclose()
    assert len(await found(path)) == 301


@pytest.mark.slow
async def test_closed_and_killed_stores_are_copied(path: Path, tmp_path: Path) -> None:
    """A killed session's store is copied with its last commits, a closed one too, for its owner alone."""
    with child(KILLED, path) as process:
        assert process.wait() == -signal.SIGKILL
    path.chmod(0o644)
    killed = await backup_store(path, tmp_path / "killed.db")
    assert killed.stat().st_mode & 0o777 == 0o600
    assert await found(killed) == {"paid": IntentState.UNKNOWN}
    assert await found(path) == {"paid": IntentState.UNKNOWN}
    assert await found(await backup_store(path, tmp_path / "closed.db")) == {"paid": IntentState.UNKNOWN}


async def test_half_a_store_is_not_copied(path: Path, tmp_path: Path) -> None:
    """A store whose ``-wal`` is missing is refused, and no copy is made."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    part = copy(path, "part")
    await store.aclose()
    with pytest.raises(StoreIncomplete):
        await backup_store(part, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("name", ["copy.db", "copy.db-wal", "copy.db-journal", "campaign.db"])
async def test_nothing_is_replaced(path: Path, tmp_path: Path, name: str) -> None:
    """An existing target is refused, and so is one whose ``-wal`` or ``-journal`` is there already."""
    assert await found(path) == {}
    taken = tmp_path / name
    if not taken.exists():
        taken.write_text("mine")
    before = taken.read_bytes()
    target = path if taken == path else tmp_path / "copy.db"
    with pytest.raises(StoreError, match="exists already"):
        await backup_store(path, target)
    assert taken.read_bytes() == before
    assert copies(tmp_path) == ([] if taken == path else [name])


async def test_a_name_taken_meanwhile(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that appears while the copy is made is not replaced either, with hard links or without."""
    assert await found(path) == {}
    target = tmp_path / "copy.db"
    made = maintenance._copy

    def slowly(db: sqlite3.Connection, part: Path) -> None:
        made(db, part)
        target.write_text("mine")

    monkeypatch.setattr(maintenance, "_copy", slowly)
    for _ in range(2):
        with pytest.raises(StoreError, match="exist"):
            await backup_store(path, target)
        assert target.read_text() == "mine"
        target.unlink()

        def without_links(*_: object) -> None:
            raise PermissionError("no hard links here")

        monkeypatch.setattr(os, "link", without_links)
    monkeypatch.setattr(maintenance, "_copy", made)
    assert await found(await backup_store(path, target)) == {}
    assert copies(tmp_path) == ["copy.db", "copy.db.lock"]


async def test_a_copy_that_fails_leaves_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk fails in the middle there is no target and no rest of it."""
    assert await found(path) == {}

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("hoox_async._io.ledger.sqlite_schema.check", full)
    with pytest.raises(StoreError, match=r"copy\.db.*full"):
        await backup_store(path, tmp_path / "copy.db")
    assert copies(tmp_path) == []


async def test_what_is_no_store_is_refused(path: Path, tmp_path: Path) -> None:
    """No file, a text, and a folder for the copy that is not there are `StoreError` that name the culprit."""
    with pytest.raises(StoreError, match=r"campaign\.db: there is no such file"):
        await backup_store(path, tmp_path / "copy.db")
    path.write_text("no database, " * 100)
    with pytest.raises(StoreError, match=r"campaign\.db: it is no store"):
        await backup_store(path, tmp_path / "copy.db")
    path.unlink()
    assert await found(path) == {}
    with pytest.raises(StoreError, match="there is no folder"):
        await backup_store(path, tmp_path / "missing" / "copy.db")
