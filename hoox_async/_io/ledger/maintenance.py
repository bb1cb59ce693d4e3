"""What is done with a store without a session: backups, recovery, costs, pruning, budgets."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio.to_thread

from ..._checks import option
from ..._core.intents.budget import Credits, StoredBudget
from ..._core.intents.costs import Costs, CostTable
from ..._core.intents.pruning import PruneResult
from ..._tracebacks import short_tracebacks
from ...errors import ConfigurationError, StoreError
from ..publishing import publish_new
from . import missing_wal, sqlite_schema, statements
from .file_lock import FileLock
from .offline import open_offline
from .postgres_url import is_database
from .sqlite_file import SQLiteFile, SQLiteTransaction, create_private, file_path, translated
from .sqlite_reader import connect_to_read, copied_in
from .transaction import Transaction

_BESIDE = ("", "-wal", "-shm", "-journal")  # SQLite would read such a file as the copy's own
_AGES = timedelta(days=365 * 1000)  # longer ago than anything: a moment before the year 1 does not exist


@short_tracebacks
async def backup_store(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Copy a store's file as it is at this moment, also while a session has it open. Returns the copy's path.

    The copy is one complete file. It is created atomically and replaces no other file. Use it instead of the
    store, never in parallel: each would pay again for what the other has paid for. Requests that are being
    sent at this moment are unknown in the copy. Before the copy takes the store's place, remove the store's
    ``-wal`` and ``-shm`` too: SQLite would read them as the copy's.

    Raises `StoreError` where there is no such store, it can't be read, or the target exists or can't be
    written, `InvalidRequest` for what is no path, and `ConfigurationError` for a URL.
    """
    path = _path("source", source, "pg_dump")
    return await anyio.to_thread.run_sync(_back_up, path, _path("target", target, "pg_dump"))


@short_tracebacks
async def read_costs(
    store: str | os.PathLike[str], *, by: str, workspace: str = "default", schema: str = "hoox"
) -> list[Costs]:
    """What the requests of a store have cost, in groups, the most expensive first. Changes nothing.

    ``by`` is ``"metadata.NAME"``, as in ``by="metadata.customer"``, ``"kind"``, ``"avatar"`` or ``"state"``.
    Requests without that metadata are the group None, and those whose metadata `prune_store` has erased are
    the group ``"pruned"``. It works while sessions have the store open, and needs no API key.

    ``store`` is the path of a file or a ``postgresql://`` URL. ``workspace`` and ``schema`` choose what of
    the database is read. Raises `StoreError` where there is no such store, `InvalidRequest` for
    what is no path, and `ConfigurationError` for another ``by``.
    """
    table = CostTable(by)
    async with open_offline(store, workspace, schema) as records:
        async for intent in records.stream():
            table.add(intent)
    return table.rows()


@short_tracebacks
async def recover_store(path: str | os.PathLike[str]) -> None:
    """Make a store usable again whose ``-wal`` is gone for good, or that was copied with `copy_store`.

    Of two copies use only one: each would pay again for what the other has paid for. Commits that only a lost
    ``-wal`` had are lost.

    A session refuses to open such a store, since it does not know any more which looks were paid for. After
    this call a session opens it, and pays for those looks again when they are submitted again. So keep a copy
    of the file as it was, and compare the store with the looks of the workspace (`HooxSession.looks`) before
    you run anything again.

    Raises `StoreError` where there is neither to mend or what is left is damaged, `StoreLocked` while a
    session has the store open, and `InvalidRequest` for what is no path.
    """
    await anyio.to_thread.run_sync(_recover, _path("path", path, "its own means"))


@short_tracebacks
async def prune_store(
    store: str | os.PathLike[str],
    *,
    older_than: timedelta,
    dry_run: bool = False,
    workspace: str = "default",
    schema: str = "hoox",
) -> PruneResult:
    """Erase prompts, metadata and the API's answers of what was settled longer ago than ``older_than``.

    Erased are the content, the metadata and the webhook URLs of the requests, pictures' addresses, reasons
    and raw answers, of what is READY, FAILED or REJECTED. What money needs is kept: key, digest, state, ref,
    attempt ids, times, kind, price and the costs. So a pruned key is still the same look for the same content
    and a conflict for other content, and nothing is paid twice. A report shows it as pruned. What is unknown
    or was dropped is never touched, nor what is not settled yet. With ``dry_run`` nothing is changed.

    ``store`` is the path of a file or a ``postgresql://`` URL. ``workspace`` and ``schema`` choose what of
    the database is pruned, also while processes use it. Its server erases the old rows with its next VACUUM;
    this runs one where the role may.

    In SQLite no session may have the store open, unless it is a dry run. The file is written anew, which
    needs as much free space again. Releases that can't read a pruned file refuse it. Copies of the store, its
    backups too, still hold what was erased.

    Raises `StoreLocked` while a session has the file open, `StoreError`, `InvalidRequest` for what is no
    path, and `ConfigurationError` for an ``older_than`` that is no time of 0 or more, and a ``dry_run`` that
    is neither True nor False.
    """
    if not isinstance(older_than, timedelta) or older_than < timedelta():
        raise option.error("older_than", older_than, "a timedelta of 0 or more")
    option.flag("dry_run", dry_run)
    older_than = min(older_than, _AGES)
    async with open_offline(store, workspace, schema, writes=not dry_run) as records:
        return await records.prune(older_than, dry_run=dry_run)


@short_tracebacks
async def store_budget(
    store: str | os.PathLike[str],
    name: str,
    *,
    cap: Credits | None = None,
    workspace: str = "default",
    schema: str = "hoox",
) -> StoredBudget:
    """The `Budget` of this name in a store: its cap, and what is charged to it. With ``cap``, change the cap.

    ``store`` is the path of a file or a ``postgresql://`` URL. ``workspace`` and ``schema`` choose the budget
    of the database. Processes that use the store go by the new cap from their next sending on. A cap below
    what is charged lets nothing more be sent. Of a file no session may be open, unless it is only read.

    Raises `ConfigurationError` where the store has no such budget, `InvalidRequest` for what is no path,
    `StoreLocked` and `StoreError`.
    """
    wanted = None if cap is None else option.credits("cap", cap)
    option.name("name", name, of="budget")
    async with open_offline(store, workspace, schema, writes=wanted is not None) as records:
        if wanted is not None:
            await records.set_cap(name, wanted)
        found = await records.budget(name)
    if found is None:
        raise ConfigurationError(f"the store has no budget {name!r} (yet): its first use creates it")
    return found


def _path(name: str, store: object, instead: str) -> str:
    """The path of a store's file. Raises `ConfigurationError` for a database, and as `file_path`."""
    if is_database(store):  # not shown: it may hold a password
        raise ConfigurationError(f"{name}: a PostgreSQL database is treated with {instead}, not as a file")
    return file_path(name, store)


def copy_state(path: str | os.PathLike[str]) -> str | None:
    """Why no session opens this file, where it was copied or is a copy (see `copy_store`); else None.

    It reads in the calling thread. Raises `StoreError`, and `InvalidRequest` for what is no path.
    """
    name = file_path("path", path)
    with closing(connect_to_read(name)) as db, translated(name):
        return copied_in(SQLiteTransaction(db)).problem


# --- in the calling thread


def _back_up(source: str, target: str) -> Path:
    """Do what `backup_store` says, in the calling thread."""
    place = Path(target)
    part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    with closing(connect_to_read(source)) as db, translated(target):
        _require_free(place)
        try:
            create_private(str(part))
            _copy(db, part)
            publish_new(part, place)
        finally:
            for suffix in _BESIDE:
                with suppress(OSError):
                    Path(f"{part}{suffix}").unlink()
    return place


def _copy(db: sqlite3.Connection, part: Path) -> None:
    with closing(sqlite3.connect(part, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = EXTRA")
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        missing_wal.clear_mark(copy)
        sqlite_schema.check(copy, str(part))


def _require_free(place: Path) -> None:
    if not place.parent.is_dir():
        raise StoreError(f"there is no folder {place.parent}: make it first")
    for suffix in _BESIDE:
        if os.path.lexists(f"{place}{suffix}"):
            raise StoreError(f"{place}{suffix} exists already, and a backup replaces nothing")


def _require_copied(name: str, tx: Transaction) -> None:
    found = copied_in(tx)
    found.require_whole(name)
    if found.moved_by is None:
        raise StoreError("its -wal is not missing: there is nothing to recover, open it as it is")


def _require_copied_file(name: str, path: str) -> None:
    """Look before the file is opened to be written: that changes also one that needs no recovery."""
    lock = FileLock(path)
    lock.acquire(datetime.now(UTC))
    try:
        with closing(connect_to_read(name, in_use=False)) as db:
            _require_copied(name, SQLiteTransaction(db))
    finally:
        lock.release()


def _use_copied(name: str, tx: Transaction) -> None:
    _require_copied(name, tx)
    tx.write(statements.USE_COPIED, {"workspace": 1})


def _recover(name: str) -> None:
    """Do what `recover_store` says, in the calling thread."""
    with translated(name):
        path = os.path.realpath(name)
        if not Path(path).is_file():
            raise StoreError("there is no such file")
        if not missing_wal.is_incomplete(path):
            _require_copied_file(name, path)
            file = SQLiteFile(name, must_exist=True)
            file.open(datetime.now(UTC))
            try:
                return file.transact(partial(_use_copied, name))
            finally:
                file.close()
        lock = FileLock(path)
        lock.acquire(datetime.now(UTC))
        try:
            with closing(sqlite3.connect(path, timeout=2.0, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = FULL")
                sqlite_schema.version_of(db, name)
                sqlite_schema.check(db, name)
                missing_wal.clear_mark(db)
        finally:
            lock.release()
