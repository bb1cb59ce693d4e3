"""Where the session keeps its memory of money."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from ..protocols import Store


def open_store(store: str | os.PathLike[str] | Store | None) -> Store:
    """The store for what a session was given: None keeps it in memory, a path in a SQLite file.

    A store of your own is taken as it is. Nothing is opened yet: ``await store.open(workspace)`` does.
    Raises `ConfigurationError` for anything else.
    """
    if store is None:
        from .memory import MemoryStore

        return MemoryStore()
    if isinstance(store, str | os.PathLike):
        return _on_disk(os.fspath(store))
    if callable(getattr(store, "advance", None)) and callable(getattr(store, "plan", None)):
        return store
    raise ConfigurationError(f"store: {store!r} is neither None, the path of a file, nor a Store")


async def backup_store(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Copy a store on disk as it stands at this moment, also while a session has it open; return the copy.

    The copy is one file, complete by itself. It appears whole or not at all, and replaces nothing. Use it in
    the place of the store, never beside it: each of the two would pay for what the other has paid for. What
    is being sent at this moment is unknown in the copy. Before it takes the store's place, remove the
    store's ``-wal`` and ``-shm`` too: SQLite would take them for the copy's.

    Raises `StoreError` where there is no such store, it can't be read, or the target exists or can't be
    written.
    """
    import anyio.to_thread

    from .sqlite.backup import back_up

    return await anyio.to_thread.run_sync(back_up, os.fspath(source), os.fspath(target))


async def recover_store(path: str | os.PathLike[str]) -> None:
    """Let a store be opened again whose ``-wal`` is gone for good. What stood in that alone is lost.

    A session refuses such a store, since looks were paid for that it does not know any more. After this it
    opens it, and pays for them anew when they are submitted again. So keep a copy of the file as it was, and
    compare with the looks that the workspace has (`HooxSession.looks`) before anything is run again.

    Raises `StoreError` where the ``-wal`` is not missing or what is left is damaged, and `StoreLocked` while
    a session has the store open.
    """
    import anyio.to_thread

    from .sqlite.backup import recover

    await anyio.to_thread.run_sync(recover, os.fspath(path))


def _on_disk(path: object) -> Store:
    if not isinstance(path, str) or not path.strip():
        raise ConfigurationError(f"store: {path!r} is not the path of a file")
    if path == ":memory:":
        raise ConfigurationError('store: ":memory:" is not a file; store=None keeps it in memory')
    from .sqlite.store import SQLiteStore  # the sqlite3 module is only paid for by those who use it

    return SQLiteStore(path)
