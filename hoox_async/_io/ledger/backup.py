"""Makes a complete copy of a store that may be open, and makes an incomplete copy usable again."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ...errors import StoreError
from ..publishing import publish_new
from . import missing_wal, sqlite_schema, statements
from .file_lock import FileLock
from .opening import file_path
from .sqlite_errors import translated
from .sqlite_file import SQLiteFile, SQLiteTransaction, create_private
from .sqlite_reader import connect_to_read, copied_in
from .transaction import Transaction

_BESIDE = ("", "-wal", "-shm", "-journal")  # SQLite would read such a file as the copy's own


def back_up(source: str, target: str) -> Path:
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


def copy_state(path: str | os.PathLike[str]) -> str | None:
    """Why no session opens this file, where it was copied or is a copy (see `copy_store`); else None.

    It reads in the calling thread. Raises `StoreError`, and `InvalidRequest` for what is no path.
    """
    name = file_path("path", path)
    with closing(connect_to_read(name)) as db, translated(name):
        return copied_in(SQLiteTransaction(db)).problem


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


def recover(name: str) -> None:
    """Do what `recover_store` says, in the calling thread."""
    with translated(name):
        path = os.path.realpath(name)
        if not Path(path).is_file():
            raise StoreError("there is no such file")
        if not missing_wal.is_incomplete(path):
            _require_copied_file(name, path)
            file = SQLiteFile(name)
            file.open_existing(datetime.now(UTC))
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
