"""The ledger for what a session was given as its store."""

from __future__ import annotations

import os

from ..._checks import option
from .ledger import Ledger
from .local_ledger import FileLedger, MemoryLedger
from .postgres_url import is_database
from .sqlite_file import file_path


def open_store(store: str | os.PathLike[str] | Ledger | None) -> Ledger:
    """The store for what a session was given: None is a store in memory, a path one in a SQLite file.

    A ``postgresql://`` URL is the workspace ``"default"`` of that database. A `Ledger` is returned as it is.
    Nothing is opened yet: ``await store.open(workspace)`` does that. Raises `ConfigurationError` for
    anything else.
    """
    if store is None:
        return MemoryLedger()
    if isinstance(store, Ledger):
        return store
    if is_database(store):
        from .database import single_workspace  # psycopg takes 66 ms

        return single_workspace(store)
    return FileLedger(file_path("store", store, option))
