"""Reads a store's file, also while a session writes to it, and changes nothing in it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from ...errors import StoreError
from . import missing_wal, sqlite_schema, statements
from .binding import Copied
from .sqlite_file import NO_STORE_YET, Prepare, SQLiteFile, SQLiteTransaction, translated
from .transaction import Transaction


class Snapshot(SQLiteFile):
    """A store's file as it is when this is opened. Raises `StoreError` where there is no such store.

    It is a copy (on disk, once it is large): an open read transaction would prevent sessions from opening the
    file, and from checkpointing everything when they close.
    """

    def _open(self, at: datetime, prepare: Prepare) -> None:  # noqa: ARG002
        with closing(connect_to_read(self.name)) as db:
            self._db = sqlite3.connect("", isolation_level=None)
            db.backup(self._db)

    def close(self) -> None:
        """Drop the copy."""
        db, self._db = self._db, None
        if db is not None:
            db.close()


def connect_to_read(path: str, *, in_use: bool = True) -> sqlite3.Connection:
    """A read-only connection to a store's file, inside a transaction that sees the file as it is now.

    ``in_use``: others may write to it meanwhile. Else nothing is created beside the file.

    Raises `StoreError` where there is no such store, or where it is incomplete.
    """
    with translated(path):
        real = Path(os.path.realpath(path))
        if not real.is_file():
            raise StoreError(f"{path}: there is no such file")
        missing_wal.require_wal(str(real), path)
        db = _connect(real, in_use=in_use)
        try:
            _require_whole(db, path)
        except BaseException:
            db.close()
            raise
        return db


def _connect(real: Path, *, in_use: bool) -> sqlite3.Connection:
    wal = Path(f"{real}-wal")
    try:
        # what is in the -wal alone must be read
        if in_use or (wal.exists() and wal.stat().st_size):
            return _begin(f"{real.as_uri()}?mode=ro")
    except sqlite3.OperationalError:
        if wal.exists() and wal.stat().st_size:
            raise
    # where SQLite cannot create files beside it, it needs ``immutable`` to read the file
    return _begin(f"{real.as_uri()}?mode=ro&immutable=1")


def _require_whole(db: sqlite3.Connection, path: str) -> None:
    if not sqlite_schema.version_of(db, path):
        raise StoreError(f"{path}: {NO_STORE_YET}")
    row = db.execute("SELECT base_url FROM workspaces").fetchone()
    if row is None or not isinstance(row[0], str):
        raise StoreError("the record of its workspace is damaged: restore a copy of it")
    copied_in(SQLiteTransaction(db)).require_whole(path)


def copied_in(tx: Transaction) -> Copied:
    """What a file tells of copies by `copy_store`."""
    [rows] = tx.ask((statements.COPY, {"name": sqlite_schema.FILE_WORKSPACE}))
    return Copied(*rows[0]) if rows else Copied()


def _begin(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, timeout=2.0, isolation_level=None)
    try:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the first read fixes the snapshot
    except BaseException:
        db.close()
        raise
    return db
