"""The SQLite store refuses damaged files, files of other programs, and read-only places."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from internals_kit import Delivered, FileLedger, Intent, offline_file
from store_kit import WORKSPACE, accept, planned, read_only, refused, send

from hoox_async import store_budget
from hoox_async._io.ledger import sqlite_schema as schema
from hoox_async.errors import StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


async def fill(path: Path, count: int = 40) -> list[Intent]:
    """A closed store with some intents."""
    store = FileLedger(path)
    await store.open(WORKSPACE)
    for number in range(count):
        await store.plan(planned(f"item {number}"))
        await store.advance(f"item {number}", send(f"att_{number}"), accept(f"look_{number}"))
    found = await read_all(store)
    await store.aclose()
    return found


async def read_all(store: FileLedger) -> list[Intent]:
    streamed = [intent async for intent in store.stream()]
    for intent in streamed:
        assert await store.get([intent.key]) == {intent.key: intent}
        assert intent.ref is not None
        assert await store.by_ref(intent.ref) == intent
        assert await store.delivered(intent.attempts[0].id) == Delivered(intent, None)
    return streamed


async def test_no_database_is_refused_and_untouched(path: Path) -> None:
    """A file that is something else is refused, and stays as it was."""
    path.write_text("shopping list: milk, bread\n" * 100)
    await refused(path, "not a SQLite database")
    assert path.read_text().startswith("shopping list")


async def test_another_programs_database_is_refused_and_untouched(path: Path) -> None:
    """Another program's SQLite database is refused before anything in it is changed."""
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bookmarks (url)")
    db.commit()
    db.close()
    before = path.read_bytes()
    await refused(path, "another program")
    assert path.read_bytes() == before


async def test_a_newer_version_is_refused(path: Path) -> None:
    """A file of a version to come is refused, and the error says to upgrade."""
    await fill(path, 1)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {schema.STORED + max(schema.MIGRATIONS) + 1}")
    db.close()
    await refused(path, "upgrade hoox-async")


async def test_a_file_from_before_the_first_release_is_refused(path: Path) -> None:
    """A file of an earlier schema, which no release wrote, is refused by every way to open it, and stays."""
    await fill(path, 1)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    await refused(path, "before the first release")
    with pytest.raises(StoreError, match="before the first release"):
        async with offline_file(path):
            pass
    with pytest.raises(StoreError, match="before the first release"):
        await store_budget(path, "spring")
    assert path.read_bytes() == before


async def test_a_migration_is_all_or_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that fails half-way leaves the file whole, at its old version; a good one then passes."""
    found = await fill(path, 3)
    newest = max(schema.MIGRATIONS)
    broken = {**schema.MIGRATIONS, newest + 1: ("CREATE TABLE extra (a)", "CREATE TABLE extra (b)")}
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    await refused(path, "extra")
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (schema.STORED + newest,)
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
    db.close()
    monkeypatch.setattr(schema, "MIGRATIONS", {**schema.MIGRATIONS, newest + 1: ("CREATE TABLE extra (a)",)})
    store = FileLedger(path)
    await store.open(WORKSPACE)
    assert await read_all(store) == found
    await store.aclose()


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1, 0.003])
async def test_a_truncated_file_is_refused(path: Path, kept: float) -> None:
    """A file that lost its end is refused, wherever it was cut."""
    await fill(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    await refused(path, "damaged|not a SQLite database|another program")


@pytest.mark.parametrize("seed", range(10))
async def test_flipped_bytes_never_give_a_wrong_intent(path: Path, seed: int) -> None:
    """After bytes were flipped, each intent is read as it was written, or a `StoreError` is raised."""
    found = await fill(path, 12)
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)
    for _ in range(3):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    store = FileLedger(path)
    read: object = None
    try:
        await store.open(WORKSPACE)
        read = await read_all(store)
    except StoreError as error:
        read = str(error)
    await store.aclose()
    assert read == found or (isinstance(read, str) and str(path) in read)


async def test_a_flipped_byte_in_a_record_is_noticed(path: Path) -> None:
    """One letter changed inside a look's id, which SQLite itself would not notice, is a `StoreError`."""
    await fill(path, 3)
    data = path.read_bytes()
    assert data.count(b'"look_id":"look_1"') >= 1
    path.write_bytes(data.replace(b'"look_id":"look_1"', b'"look_id":"look_7"'))
    store = FileLedger(path)
    await store.open(WORKSPACE)
    with pytest.raises(StoreError, match="damaged") as caught:
        await store.get(["item 1"])
    assert str(path) in str(caught.value)
    assert "item 0" in await store.get(["item 0"])
    await store.aclose()


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"NOT NULL", b"\xceOT NULL"), (b"fingerprint", b"fingerprins"), (b"base_url", b"base_urk")],
    ids=["no UTF-8", "no fingerprint", "no base URL"],
)
async def test_damage_outside_of_the_intents_is_an_error(path: Path, old: bytes, new: bytes) -> None:
    """Damage in the schema, or in the record of the workspace, is a `StoreError` like any other."""
    await fill(path, 1)
    path.write_bytes(path.read_bytes().replace(old, new))
    await refused(path, "damaged|database failed|UnicodeDecodeError")


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """Where the folder is missing, the error names it, and it is not created."""
    await refused(tmp_path / "missing" / "campaign.db", "there is no folder")
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder given as path is refused, and the error says that it is a folder."""
    await refused(tmp_path, "it is a folder")


@pytest.fixture
def public_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that another user can reach: pytest's own are for their owner alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
async def test_a_read_only_folder_is_refused_at_opening(public_folder: Path, exists: bool) -> None:
    """In a folder that cannot be written the store does not open: nothing is paid before that shows."""
    path = public_folder / "campaign.db"
    if exists:
        await fill(path, 1)
    with read_only(public_folder):
        await refused(path, "cannot be")


async def test_a_read_only_file_is_refused_at_opening(public_folder: Path) -> None:
    """A file that cannot be written does not open either, though its lock could be taken."""
    path = public_folder / "campaign.db"
    await fill(path, 1)
    public_folder.chmod(0o777)
    lock = public_folder / "campaign.db.lock"
    lock.chmod(0o666)
    path.chmod(0o444)
    euid = os.geteuid()
    if euid == 0:
        os.seteuid(65534)
    try:
        await refused(path, "read-only|cannot be")
    finally:
        os.seteuid(euid)
