"""The ledger's tables in a SQLite file, and their version in its header."""

from __future__ import annotations

import sqlite3

from ...errors import StoreError
from .schema import TABLES
from .statements import SQLITE

APPLICATION_ID = 0x486F6F78  # "Hoox", in the file's header: another program's database is never changed
MARK = 1 << 30
"""The bit of ``user_version`` for "the last commits may be in the ``-wal`` alone": see `missing_wal`."""

MIGRATIONS = {1: TABLES}
"""The statements of each version. A released one is never changed; new ones are added."""
STORED = 1000
"""``user_version`` is this much more than the version: development wrote other tables as 1 to 3."""

FILE_WORKSPACE = "default"
"""The name of the one workspace of a file."""
ME = "me"
"""The one member of a file. Its lease is never over, by the clock of `SQLITE`."""
_ADD_MEMBER = (
    "INSERT INTO members (id, host, pid, lease, expires_at, steady_since, timeline) "  # noqa: S608
    f"VALUES ('{ME}', '', 0, 1, 1, 0, '')"
)


def version_of(db: sqlite3.Connection, path: str) -> int:
    """The version of the file's tables; 0 for a new file. Raises `StoreError` for a file of other tables."""
    marked = int(db.execute("PRAGMA user_version").fetchone()[0])
    stored = marked & ~MARK
    application_id = int(db.execute("PRAGMA application_id").fetchone()[0])
    is_empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if marked == 0 and application_id == 0 and is_empty:
        return 0
    if application_id != APPLICATION_ID:
        raise StoreError(f"{path}: it is the database of another program, not a store of hoox-async")
    version = stored - STORED
    if version > max(MIGRATIONS):
        raise StoreError(
            f"{path}: it was written by a newer version of hoox-async (schema {version}, this one knows "
            f"{max(MIGRATIONS)}): upgrade hoox-async"
        )
    if version < 1:
        raise StoreError(
            f"{path}: it was written before the first release of hoox-async (schema {stored}) and can't be "
            "read any more: start with a new file"
        )
    return version


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring a file with this version to the newest, inside the caller's transaction."""
    missing = sorted(each for each in MIGRATIONS if each > version)
    for each in missing:
        for statement in MIGRATIONS[each]:
            db.execute(SQLITE.compile(statement))
    if not version:
        db.execute(_ADD_MEMBER)
    if missing:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {STORED + missing[-1]}")


def in_memory() -> sqlite3.Connection:
    """A new database in memory with the ledger's tables. It takes 100 KB: an app may have 1,000 of them."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA page_size = 512")
    # as one script: statements of the connection's cache would stay in memory
    db.executescript(";".join([*map(SQLITE.compile, TABLES), _ADD_MEMBER]))
    return db


def check(db: sqlite3.Connection, path: str) -> None:
    """Read the whole file and raise `StoreError` where it is damaged. It takes 0.1 s for 100,000 intents.

    A damaged index would hide an intent that was paid for, which would then be paid for again.
    """
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreError(
            f"{path}: the file is damaged: restore a copy of it, or start with a new file ({found})"
        )
