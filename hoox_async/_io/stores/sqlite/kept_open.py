"""Connections that must not be closed in this process any more."""

from __future__ import annotations

import sqlite3

_kept: list[sqlite3.Connection] = []


def keep_open(db: sqlite3.Connection) -> None:
    """Let the connection end with its process, as if that were killed.

    SQLite deletes the ``-wal`` when the last connection is closed. That must not happen where what is in it
    could not be brought into the main file, nor in a forked child, where it is a later session's.
    """
    _kept.append(db)
    try:  # the interpreter clears the list at its end, and with it would close them: one reference too many
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))
    except (ImportError, AttributeError):  # pragma: no cover - not CPython
        pass
