"""Translates exceptions of SQLite and the file system into `StoreError`: no other leaves the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import StoreError
from ..error_words import words_of

_MEANING = {
    "SQLITE_FULL": "the disk is full (or the file may not grow): nothing can be written",
    "SQLITE_NOTADB": "it is no store: the file is not a SQLite database",
    "SQLITE_CORRUPT": "the file is damaged: restore a copy of it, or start with a new file",
    "SQLITE_READONLY": "it cannot be written: the file or its folder is read-only",
    "SQLITE_CANTOPEN": "it cannot be opened: do the folder and the permissions allow it?",
    "SQLITE_PERM": "it cannot be opened: do the permissions allow it?",
    "SQLITE_BUSY": "another program keeps the file locked",
    "SQLITE_LOCKED": "another program keeps the file locked",
    "SQLITE_IOERR": "the disk failed to read or write it",
    "SQLITE_CONSTRAINT": "it holds something else under the same id already",
}

NO_STORE_YET = "it is no store of hoox-async (yet): nothing was written to it"

FAILURES = (sqlite3.Error, OSError, UnicodeError, OverflowError, StoreError)


def store_error(path: str, error: Exception) -> StoreError:
    """The `StoreError` that says what this error means and names the store's path."""
    if type(error) is StoreError and not str(error).startswith(path):
        return StoreError(f"{path}: {error}")
    if isinstance(error, StoreError):
        return error
    if isinstance(error, sqlite3.Error):
        # extended names begin with the plain one: SQLITE_IOERR_WRITE
        name = "_".join((getattr(error, "sqlite_errorname", None) or "").split("_")[:2])
        return StoreError(f"{path}: {_MEANING.get(name, 'the database failed')} ({error})")
    if isinstance(error, OSError):
        return StoreError(f"{path}: it cannot be used: {error.strerror or error}")
    return StoreError(f"{path}: {words_of(error)}")


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise `StoreError` for whatever the database, the file system or the text encoding raises inside."""
    try:
        yield
    except FAILURES as error:
        translation = store_error(path, error)
        if translation is error:
            raise
        raise translation from error
