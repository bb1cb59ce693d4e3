"""Reads a store's file for reports, also while a session writes to it, and changes nothing in it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from ..._core.intents.intent import Intent
from ...errors import StoreError
from . import missing_wal, sqlite_schema, statements
from .binding import Copied
from .intent_rows import Row
from .ledger import page_of
from .sqlite_errors import NO_STORE_YET, translated
from .sqlite_file import SQLiteTransaction
from .transaction import Transaction
from .worker_thread import WorkerThread


class StoreSnapshot:
    """A store's intents as they were at one moment, in the order in which they were planned.

    `read_store` returns it. Iterate over it with ``async for``, as often as you like; a few hundred intents
    are in memory at a time. Close it with ``aclose()``, or use it as an async context manager.
    """

    def __init__(self, worker: WorkerThread, file: _File) -> None:
        self._worker = worker
        self._file = file

    @property
    def base_url(self) -> str:
        """The base URL of the API that the store belongs to."""
        return self._file.base_url

    async def __aiter__(self) -> AsyncIterator[Intent]:
        place = 0
        while True:
            if self._worker.ending:
                raise StoreError(f"{self._file.path}: the snapshot is closed")
            place, intents = await self._worker.run(self._file.page, place)
            if not intents:
                return
            for intent in intents:
                yield intent

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the snapshot. It can be called again."""
        self._worker.end(self._file.close)
        await self._worker.ended()


async def read_store(path: str | os.PathLike[str]) -> StoreSnapshot:
    """Open a store's file read-only, without its lock and without an API key.

    Raises `StoreError` where the file is missing (it is not created), damaged, no store, or written by a
    newer version.
    """
    worker = WorkerThread(asyncio.get_running_loop())
    file = _File(os.fspath(path))
    try:
        await asyncio.shield(worker.run(file.open))
    except BaseException:
        worker.end(file.close)
        raise
    return StoreSnapshot(worker, file)


class _File:
    """The thread's side of a snapshot: a copy of the database, made in one read transaction."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.base_url = ""
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        with closing(connect_to_read(self.path)) as db, translated(self.path):
            # A copy (on disk, once it is large): an open read transaction would prevent sessions from opening
            # the file, and from checkpointing everything when they close.
            self._db = sqlite3.connect("", isolation_level=None)
            db.backup(self._db)
            self.base_url = _base_url(self._db, self.path)

    def page(self, after: int) -> tuple[int, list[Intent]]:
        if self._db is None:
            raise StoreError(f"{self.path}: the snapshot is closed")
        with translated(self.path):
            [rows] = SQLiteTransaction(self._db).ask(page_of(None, after))
            page = [Row(*row) for row in rows]
            return (page[-1].seq if page else after), [row.read(newer=False) for row in page]

    def close(self) -> None:
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
            _base_url(db, path)
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


def _base_url(db: sqlite3.Connection, path: str) -> str:
    if not sqlite_schema.version_of(db, path):
        raise StoreError(f"{path}: {NO_STORE_YET}")
    row = db.execute("SELECT base_url FROM workspaces").fetchone()
    if row is None or not isinstance(row[0], str):
        raise StoreError("the record of its workspace is damaged: restore a copy of it")
    copied_in(SQLiteTransaction(db)).require_whole(path)
    return row[0]


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
