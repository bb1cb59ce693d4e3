"""Where the session keeps its memory of money."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .._protocols import Store


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


def _on_disk(path: object) -> Store:
    if not isinstance(path, str) or not path.strip():
        raise ConfigurationError(f"store: {path!r} is not the path of a file")
    if path == ":memory:":
        raise ConfigurationError('store: ":memory:" is not a file; store=None keeps it in memory')
    from .sqlite import SQLiteStore  # the sqlite3 module is only paid for by those who use it

    return SQLiteStore(path)
