"""Reads a store's file for reports, also while a session writes it. Changes nothing in it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from ...._core.intents.intent import Intent
from ....errors import StoreError
from . import rows, schema, wal_mark
from .failures import translated
from .writer_thread import Worker

_PAGE = 500


class StoreSnapshot:
    """A store's intents as they stood at one moment, in the order in which they were planned.

    Made by `read_store`. Iterate with ``async for``, as often as you like, a few hundred being in
    memory at a time; close it with ``aclose()`` or use it as an async context manager.
    """

    def __init__(self, worker: Worker, file: _File) -> None:
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
            for intent in intents:
                yield intent
            if len(intents) < _PAGE:
                return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the file. Can be called again."""
        self._worker.end(self._file.close)
        await self._worker.ended()


async def read_store(path: str | os.PathLike[str]) -> StoreSnapshot:
    """Open a store's file read-only, without its lock and without an API key.

    Raises `StoreError` where the file is missing (it is not made), damaged, no store or newer than this
    version.
    """
    worker = Worker(asyncio.get_running_loop())
    file = _File(os.fspath(path))
    try:
        await asyncio.shield(worker.run(file.open))
    except BaseException:
        worker.end(file.close)
        raise
    return StoreSnapshot(worker, file)


class _File:
    """The thread's side of a snapshot: a copy of what one read transaction saw at the opening."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.base_url = ""
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        with closing(connect_to_read(self.path)) as db, translated(self.path):
            # A copy (on disk, once it is large), so that a long report keeps no session from opening, or
            # from bringing everything into the main file when it closes.
            self._db = sqlite3.connect("", isolation_level=None)
            db.backup(self._db)
            self.base_url = _base_url(self._db, self.path)

    def page(self, after: int) -> tuple[int, list[Intent]]:
        if self._db is None:
            raise StoreError(f"{self.path}: the snapshot is closed")
        with translated(self.path):
            return rows.page(self._db, after, _PAGE)

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def connect_to_read(path: str) -> sqlite3.Connection:
    """A connection to a store's file that reads only, with a transaction begun: it sees this moment.

    Raises `StoreError` where there is no such store, or not all of it.
    """
    with translated(path):
        real = Path(os.path.realpath(path))
        if not real.is_file():
            raise StoreError(f"{path}: there is no such file")
        wal_mark.require_wal(str(real), path)
        db = _connect(real)
        try:
            _base_url(db, path)
        except BaseException:
            db.close()
            raise
        return db


def _connect(real: Path) -> sqlite3.Connection:
    try:
        return _begin(f"{real.as_uri()}?mode=ro")
    except sqlite3.OperationalError:
        wal = Path(f"{real}-wal")
        if wal.exists() and wal.stat().st_size:
            raise  # it holds what is not in the file yet: to leave it out would be a lie
    # Where nothing can be made beside it, SQLite reads a file only when told that it stands still.
    return _begin(f"{real.as_uri()}?mode=ro&immutable=1")


def _base_url(db: sqlite3.Connection, path: str) -> str:
    version = schema.version_of(db, path)
    binding = rows.read_binding(db) if version else None
    if binding is None:
        raise StoreError(f"{path}: it is no store of hoox-async (yet): nothing was written to it")
    return binding.base_url


def _begin(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, timeout=2.0, isolation_level=None)
    try:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the snapshot is taken by its first read
    except BaseException:
        db.close()
        raise
    return db
