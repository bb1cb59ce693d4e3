"""The ledger for what a session was given as its store."""

from __future__ import annotations

import os

from ..._checks import Checks, argument, option
from ...errors import ConfigurationError
from .ledger import Ledger
from .local_ledger import FileLedger, MemoryLedger
from .postgres_url import is_database


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


def file_path(name: str, store: object, check: Checks = argument) -> str:
    """The path of a store's file. Raises the error of ``check``, and `ConfigurationError` for another URL."""
    path = check.path(name, store, "the path of a file or the postgresql:// URL of a database")
    if "://" in path:  # not shown: it may hold a password
        raise ConfigurationError(f"{name}: a URL is not the path of a file, except postgresql://…")
    if "password=" in path:  # not shown either
        raise ConfigurationError(
            f"{name}: a connection string is not the path of a file; give a postgresql:// URL"
        )
    if path == ":memory:":
        raise ConfigurationError(f'{name}: ":memory:" is not a file; store=None keeps it in memory')
    return path
