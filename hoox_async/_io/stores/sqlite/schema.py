"""The tables of a store's file, their versions, and the checks that a file is an undamaged store."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from ....errors import StoreError

APPLICATION_ID = 0x486F6F78  # "Hoox", in the file's header: another program's database is never changed
MARK = 1 << 30
"""The bit of ``user_version`` for "the last commits may be in the ``-wal`` alone": see `missing_wal`."""

# The statements of each version. A released one is never changed; new ones are added. What development wrote
# before version 3 is not read.
MIGRATIONS: Mapping[int, Sequence[str]] = {
    3: (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
        """
        CREATE TABLE intents (
            seq INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL CHECK (state IN ('planned', 'sending', 'unknown', 'accepted',
                                                 'ready', 'failed', 'rejected', 'dropped')),
            open INTEGER NOT NULL CHECK (open IN (0, 1)),
            avatar_id TEXT,
            look_id TEXT,
            record TEXT NOT NULL,
            crc INTEGER NOT NULL
        )
        """,
        "CREATE INDEX intents_open ON intents (seq) WHERE open = 1",
        "CREATE UNIQUE INDEX intents_ref ON intents (avatar_id, look_id) WHERE look_id IS NOT NULL",
        """
        CREATE TABLE attempts (
            id TEXT PRIMARY KEY,
            intent INTEGER NOT NULL REFERENCES intents (seq)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE claimed (
            avatar_id TEXT NOT NULL,
            look_id TEXT NOT NULL,
            PRIMARY KEY (avatar_id, look_id)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE deliveries (
            attempt TEXT PRIMARY KEY REFERENCES attempts (id),
            record TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE TABLE sends (sent_at INTEGER NOT NULL)",  # microseconds since 1970
        """
        CREATE TABLE budgets (
            name TEXT PRIMARY KEY,
            max_credits TEXT NOT NULL,
            charged TEXT NOT NULL
        ) WITHOUT ROWID
        """,
    ),
}


def version_of(db: sqlite3.Connection, path: str) -> int:
    """The version of the file's tables; 0 for a new file. Raises `StoreError` for another program's file."""
    stored = int(_pragma(db, "user_version"))
    version = stored & ~MARK
    application_id = int(_pragma(db, "application_id"))
    empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if stored == 0 and application_id == 0 and empty:
        return 0
    if application_id != APPLICATION_ID:
        raise StoreError(f"{path}: it is the database of another program, not a store of hoox-async")
    if version > max(MIGRATIONS):
        raise StoreError(
            f"{path}: it was written by a newer version of hoox-async (schema {version}, this one knows "
            f"{max(MIGRATIONS)}): upgrade hoox-async"
        )
    if version not in MIGRATIONS:
        raise StoreError(
            f"{path}: it was written before the first release of hoox-async (schema {version}) and can't be "
            "read any more: start with a new file"
        )
    return version


def check(db: sqlite3.Connection, path: str) -> None:
    """Read the whole file and raise `StoreError` where it is damaged. It takes 0.1 s for 100,000 intents.

    A damaged index would hide an intent that was paid for, which would then be paid for again.
    """
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreError(
            f"{path}: the file is damaged: restore a copy of it, or start with a new file ({found})"
        )


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Migrate the tables from this version to the newest, inside the caller's transaction.

    The version is in the file's header, and is committed together with the migration.
    """
    missing = sorted(each for each in MIGRATIONS if each > version)
    if not missing:
        return
    for each in missing:
        for statement in MIGRATIONS[each]:
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {missing[-1]}")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    value: int = db.execute(f"PRAGMA {name}").fetchone()[0]
    return value
