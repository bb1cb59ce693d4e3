"""The ledger for what a session was given as its store."""

from __future__ import annotations

import os

from ...errors import ConfigurationError
from .ledger import Ledger
from .local_ledger import FileLedger, MemoryLedger


def open_store(store: str | os.PathLike[str] | Ledger | None) -> Ledger:
    """The store for what a session was given: None is a store in memory, a path one in a SQLite file.

    A ``postgresql://`` URL is the workspace ``"default"`` of that database. A `Ledger` is returned as it is.
    Nothing is opened yet: ``await store.open(workspace)`` does that. Raises `ConfigurationError` for
    anything else.
    """
    if store is None:
        return MemoryLedger()
    if isinstance(store, str | os.PathLike):
        return _from_text(os.fspath(store))
    if isinstance(store, Ledger):
        return store
    raise ConfigurationError(
        f"store: {store!r} is neither None, the path of a file, nor a workspace of a PostgresDatabase"
    )


def is_database(store: object) -> bool:
    """Whether this is the URL of a PostgreSQL database, not the path of a file."""
    return isinstance(store, str) and store.startswith(("postgresql://", "postgres://"))


def _from_text(path: object) -> Ledger:
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise ConfigurationError(f"store: {path!r} is not the path of a file")
    if is_database(path):
        from .database import single_workspace  # psycopg takes 66 ms

        return single_workspace(path)
    if "://" in path:  # not shown: it may hold a password
        raise ConfigurationError("store: a URL is not the path of a file, except postgresql://…")
    if "password=" in path:  # not shown either
        raise ConfigurationError(
            "store: a connection string is not the path of a file; give a postgresql:// URL"
        )
    if path == ":memory:":
        raise ConfigurationError('store: ":memory:" is not a file; store=None keeps it in memory')

    return FileLedger(path)
