"""The stores: where a session records what was paid, in memory, in a SQLite file, or in
PostgreSQL for many processes.

A store implements `protocols.Store`; the effects of an intent's transitions are decided in `_core`, and a
store only applies them in a transaction. This package may import `_api`, `_core`, `errors` and all of `_io`.
"""

from __future__ import annotations

import os
from pathlib import Path

import anyio.to_thread

from ...errors import ConfigurationError
from ..protocols import Store
from .memory import MemoryStore
from .sqlite.backup import back_up, recover
from .sqlite.store import SQLiteStore


def open_store(store: str | os.PathLike[str] | Store | None) -> Store:
    """The store for what a session was given: None is a store in memory, a path one in a SQLite file.

    A ``postgresql://`` URL is the workspace ``"default"`` of that database. A `Store` object is returned as
    it is. Nothing is opened yet: ``await store.open(workspace)`` does that. Raises `ConfigurationError` for
    anything else.
    """
    if store is None:
        return MemoryStore()
    if isinstance(store, str | os.PathLike):
        return _from_text(os.fspath(store))
    if callable(getattr(store, "advance", None)) and callable(getattr(store, "plan", None)):
        return store
    raise ConfigurationError(f"store: {store!r} is neither None, the path of a file, nor a Store")


async def backup_store(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Copy a store's file as it is at this moment, also while a session has it open. Returns the copy's path.

    The copy is one complete file. It is created atomically and replaces no other file. Use it instead of the
    store, never in parallel: each would pay again for what the other has paid for. Requests that are being
    sent at this moment are unknown in the copy. Before the copy takes the store's place, remove the store's
    ``-wal`` and ``-shm`` too: SQLite would read them as the copy's.

    Raises `StoreError` where there is no such store, it can't be read, or the target exists or can't be
    written.
    """
    return await anyio.to_thread.run_sync(back_up, os.fspath(source), os.fspath(target))


async def recover_store(path: str | os.PathLike[str]) -> None:
    """Make a store usable again whose ``-wal`` is gone for good. Commits that only the ``-wal`` had are lost.

    A session refuses to open such a store, since it does not know any more which looks were paid for. After
    this call a session opens it, and pays for those looks again when they are submitted again. So keep a copy
    of the file as it was, and compare the store with the looks of the workspace (`HooxSession.looks`) before
    you run anything again.

    Raises `StoreError` where the ``-wal`` is not missing or what is left is damaged, and `StoreLocked` while
    a session has the store open.
    """
    await anyio.to_thread.run_sync(recover, os.fspath(path))


def _from_text(path: object) -> Store:
    if not isinstance(path, str) or not path.strip():
        raise ConfigurationError(f"store: {path!r} is not the path of a file")
    if path.startswith(("postgresql://", "postgres://")):
        from .postgres.database import default_workspace  # psycopg takes 66 ms

        return default_workspace(path)
    if "://" in path:  # not shown: it may hold a password
        raise ConfigurationError("store: a URL is not the path of a file, except postgresql://…")
    if path == ":memory:":
        raise ConfigurationError('store: ":memory:" is not a file; store=None keeps it in memory')

    return SQLiteStore(path)
