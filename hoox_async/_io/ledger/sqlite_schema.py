"""The ledger's tables in a SQLite file, and their version in its header."""

from __future__ import annotations

import sqlite3

from ...errors import StoreError
from ..stores.sqlite.schema import APPLICATION_ID, MARK, check
from .dialect import SQLITE
from .schema import TABLES

__all__ = ["check", "make_tables", "migrate", "version_of"]

_VERSION = 1
_STORED = 1000
"""``user_version`` is this much more than the version: development wrote other tables as 1 to 3."""

_MEMBER = "INSERT INTO members (id, host, pid, lease, expires_at, steady_since, timeline) VALUES "
ME = "me"
"""The one member of a file. Its lease is never over, by the clock of `SQLITE`."""


def version_of(db: sqlite3.Connection, path: str) -> int:
    """The version of the file's tables; 0 for a new file. Raises `StoreError` for a file of other tables."""
    stored = int(db.execute("PRAGMA user_version").fetchone()[0]) & ~MARK
    application_id = int(db.execute("PRAGMA application_id").fetchone()[0])
    is_empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if stored == 0 and application_id == 0 and is_empty:
        return 0
    if application_id != APPLICATION_ID:
        raise StoreError(f"{path}: it is the database of another program, not a store of hoox-async")
    version = stored - _STORED
    if version > _VERSION:
        raise StoreError(
            f"{path}: it was written by a newer version of hoox-async (schema {version}, this one knows "
            f"{_VERSION}): upgrade hoox-async"
        )
    if version < 1:
        raise StoreError(
            f"{path}: it was written before the first release of hoox-async (schema {stored}) and can't be "
            "read any more: start with a new file"
        )
    return version


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring a file with this version to the newest, inside the caller's transaction."""
    if version < _VERSION:
        make_tables(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {_STORED + _VERSION}")


def make_tables(db: sqlite3.Connection) -> None:
    """Make the tables in the caller's transaction, with the one member of the database."""
    for statement in TABLES:
        db.execute(SQLITE.compile(statement))
    db.execute(f"{_MEMBER}('{ME}', '', 0, 1, 1, 0, '')")
