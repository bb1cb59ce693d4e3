"""A store's main file without its ``-wal``: refused while something may be missing in it, and only then."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from internals_kit import FileLedger, IntentState, Workspace, offline_file
from store_kit import WORKSPACE, child, planned, pragma, send

from hoox_async import recover_store
from hoox_async._io.ledger import missing_wal, sqlite_schema
from hoox_async.errors import StoreError, StoreIncomplete, StoreLocked, StoreMismatch

# Opens the store, writes, and is killed: before the statement that begins so (argument 2), or at the end.
KILLED = """
import asyncio, os, sqlite3, sys
from hoox_async._io.ledger.local_ledger import FileLedger
from store_kit import WORKSPACE, planned, send

class Killed(sqlite3.Connection):
    def execute(self, statement, *values):
        global left
        if len(sys.argv) > 2 and statement.startswith(sys.argv[2]):
            if (left := left - 1) < 0:
                os.kill(os.getpid(), 9)
        return super().execute(statement, *values)

left = int(sys.argv[3]) if len(sys.argv) > 3 else 0
connect = sqlite3.connect
sqlite3.connect = lambda *args, **options: connect(*args, factory=Killed, **options)

async def main():
    store = FileLedger(sys.argv[1])
    await store.open(WORKSPACE)
    await store.plan(planned("paid"))
    await store.advance("paid", send("att_1"))
    if len(sys.argv) > 2:
        await store.aclose()
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def kill(path: Path, *at: object) -> None:
    """Let a process write to the store and kill it there."""
    with child(KILLED, path, *at) as process:
        assert process.wait() == -signal.SIGKILL


def copy(path: Path, folder: str, *suffixes: str) -> Path:
    """The store's main file, and those of these suffixes where they are there, in a folder of their own."""
    place = path.parent / folder
    place.mkdir()
    for suffix in ("", *suffixes):
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", place)
    return place / path.name


async def states(path: Path) -> dict[str, IntentState]:
    """What a session finds in the store; it is closed again."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    try:
        return {intent.key: intent.state async for intent in store.stream()}
    finally:
        await store.aclose()


async def read(path: Path) -> list[str]:
    """The keys that a reader finds."""
    async with offline_file(path) as ledger:
        return [intent.key async for intent in ledger.stream()]


async def incomplete(path: Path) -> None:
    """The store is refused, by a session and by a reader, and the error says which files to copy."""
    before = path.read_bytes()
    for attempt in (FileLedger(path).open(WORKSPACE), read(path)):
        with pytest.raises(StoreIncomplete, match=rf"{path.name}-wal.* together") as caught:
            await attempt
        assert str(path) in str(caught.value)
        assert caught.value.charged == "no"
    assert path.read_bytes() == before


@contextmanager
def foreign_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection, which may write, with a read transaction of this moment."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield db


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


async def test_a_copy_without_the_wal_of_an_open_store_is_refused(path: Path) -> None:
    """Copied alone while a session has it open, it is refused, in its second life and after a checkpoint too.

    Copied together with its ``-wal`` it opens, and so does the original when it is closed.
    """
    for life in range(2):
        store = FileLedger(path)
        await store.open(WORKSPACE)
        await incomplete(copy(path, f"opened {life}"))
        await store.plan(planned(f"a{life}"))
        await incomplete(copy(path, f"written {life}"))
        await pragma(store, "wal_checkpoint(FULL)")
        await store.plan(planned(f"b{life}"))
        await incomplete(copy(path, f"later {life}"))
        assert set(await states(copy(path, f"both {life}", "-wal"))) >= {f"a{life}", f"b{life}"}
        await store.aclose()
    assert set(await states(copy(path, "closed"))) == {"a0", "b0", "a1", "b1"}


@pytest.mark.slow
async def test_a_copy_without_the_wal_of_a_killed_session_is_refused(path: Path) -> None:
    """After a kill the main file alone is refused; with its ``-wal`` it opens as if nothing had been."""
    kill(path)
    await incomplete(copy(path, "alone"))
    assert await states(path) == {"paid": IntentState.UNKNOWN}
    assert await states(copy(path, "closed")) == {"paid": IntentState.UNKNOWN}


@pytest.mark.slow
@pytest.mark.parametrize(
    "rest", [b"", b"\0" * 8192, b"\x37\x7f\x06\x82" + b"\0" * 28], ids=["empty", "zeros", "header only"]
)
async def test_a_wal_without_commits_is_a_missing_one(path: Path, rest: bytes) -> None:
    """An empty ``-wal``, one of zeros and one that is cut off in its first commit do not make it whole."""
    kill(path)
    part = copy(path, "part")
    Path(f"{part}-wal").write_bytes(rest)
    await incomplete(part)


AT_OPENING = [("PRAGMA journal_mode", 0), ("PRAGMA synchronous", 0), ("BEGIN", 0), ("COMMIT", 0)]
AT_OPENING += [("PRAGMA wal_checkpoint", 0)]
AT_CLOSING = [("PRAGMA wal_checkpoint", 1), ("PRAGMA user_version =", 2), ("PRAGMA wal_checkpoint", 2)]


@pytest.mark.slow
@pytest.mark.parametrize("life", ["first", "second"])
@pytest.mark.parametrize(("statement", "times"), [*AT_OPENING, *AT_CLOSING])
async def test_killed_at_any_step(path: Path, life: str, statement: str, times: int) -> None:
    """Killed before any statement of opening and closing, the store opens afterwards with all that was paid.

    Its main file alone either has all that too, or is refused.
    """
    if life == "second":
        assert await states(path) == {}
    if statement.startswith("PRAGMA user_version =") and life == "second":
        times -= 1  # the tables were made in the first life
    kill(path, statement, times)
    alone = copy(path, "alone")
    closing_down = (statement, times) not in AT_OPENING
    paid = {"paid": IntentState.UNKNOWN} if closing_down else {}
    try:
        assert await states(alone) == paid
    except StoreIncomplete:
        assert closing_down
    assert await states(path) == paid


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["open", "mark", "close"])
async def test_a_mark_that_could_not_be_written_does_no_harm(
    path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Where SQLite fails at setting or clearing the mark, nothing is lost, and the next session opens it."""

    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    kill(path)
    name = {"open": "set_mark", "mark": "require_mark", "close": "seal"}[fails]
    monkeypatch.setattr(missing_wal, name, broken)
    store = FileLedger(path)
    if fails == "close":
        await store.open(WORKSPACE)
        await store.aclose()
    else:
        with pytest.raises(StoreError, match="disk I/O"):
            await store.open(WORKSPACE)
    monkeypatch.undo()
    if fails == "close":
        await incomplete(copy(path, "alone"))
    assert await states(path) == {"paid": IntentState.UNKNOWN}


@pytest.mark.slow
async def test_a_refused_opening_keeps_what_a_killed_session_wrote(path: Path) -> None:
    """After a kill, a session with another key is refused; the right one then finds everything."""
    kill(path)
    with pytest.raises(StoreMismatch):
        await FileLedger(path).open(Workspace(WORKSPACE.base_url, "hx_live_another"))
    assert await states(path) == {"paid": IntentState.UNKNOWN}


@pytest.mark.slow
async def test_reports_leave_everything_where_it_is(path: Path) -> None:
    """Reading a killed session's store moves nothing from its ``-wal``, and clears no mark."""
    kill(path)
    assert await read(path) == ["paid"]
    assert Path(f"{path}-wal").stat().st_size
    await incomplete(copy(path, "alone"))


@pytest.mark.slow
async def test_a_reader_that_outlasts_the_session(path: Path) -> None:
    """A reader that prevents the checkpoint at the close leaves the mark and the ``-wal``.

    A session can be opened beside that reader, and after the reader has gone the file is complete.
    """
    store = FileLedger(path)
    await store.open(WORKSPACE)
    with foreign_reader(path):
        await store.plan(planned("a"))
        await store.aclose()
        await incomplete(copy(path, "alone"))
        assert list(await states(copy(path, "both", "-wal"))) == ["a"]
        await store.open(WORKSPACE)
        await store.plan(planned("b"))
        await incomplete(copy(path, "alone again"))
        await store.aclose()
    assert list(await states(copy(path, "at the end"))) == ["a", "b"]
    assert list(await states(path)) == ["a", "b"]


async def test_a_reader_that_prevents_the_mark(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another program's old reader keeps the mark out of the main file, the store does not open yet."""
    await states(path)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, **{**o, "timeout": 0.01}))
    with foreign_reader(path), pytest.raises(StoreError, match="another program has been reading"):
        await FileLedger(path).open(WORKSPACE)
    assert await states(path) == {}


async def test_another_programs_database_with_that_bit(path: Path) -> None:
    """The bit means nothing in a database that is not ours."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {sqlite_schema.MARK}")
    with pytest.raises(StoreError, match="another program"):
        await FileLedger(path).open(WORKSPACE)


async def test_recovering_opens_what_is_left(path: Path) -> None:
    """After `recover_store` a store without its ``-wal`` opens with what is in the main file."""
    assert await states(path) == {}
    store = FileLedger(path)
    await store.open(WORKSPACE)
    await store.plan(planned("early"))
    await pragma(store, "wal_checkpoint(FULL)")
    await store.plan(planned("late"))
    part = copy(path, "part")
    await store.aclose()
    await recover_store(part)
    assert list(await states(part)) == ["early"]
    assert sorted(file.name for file in part.parent.iterdir()) == ["campaign.db", "campaign.db.lock"]


NOTHING_MISSING: dict[str, Callable[[Path], object]] = {
    "closed": lambda _: None,
    "killed": kill,
    "missing": lambda path: path.unlink(),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", NOTHING_MISSING.values(), ids=NOTHING_MISSING)
async def test_recovering_is_for_a_missing_wal_only(path: Path, case: Callable[[Path], object]) -> None:
    """Where the ``-wal`` is there or not needed, or the file is missing, nothing is changed."""
    await states(path)
    case(path)
    before = content(path.parent)
    with pytest.raises(StoreError, match=r"nothing to recover|no such file"):
        await recover_store(path)
    assert content(path.parent) == before


def content(folder: Path) -> dict[str, bytes]:
    """What the files of a store hold. In its ``-shm`` every reader of a ``-wal`` notes its place."""
    files = [file for file in folder.iterdir() if not file.name.endswith((".lock", "-shm"))]
    return {file.name: file.read_bytes() for file in files}


async def test_recovering_is_not_for_an_open_store(path: Path) -> None:
    """While a session has the store open, it is `StoreLocked`."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    with pytest.raises(StoreLocked):
        await recover_store(path)
    await store.advance((await store.plan(planned("a"))).key, send("att_1"))
    await store.aclose()
