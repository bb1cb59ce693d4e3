"""Detects a main file whose ``-wal`` is missing: an incomplete store, which must not be opened.

SQLite writes a commit into the ``-wal`` and copies it into the main file later, in a checkpoint. A main file
that was copied alone while a session had it open, or after a session was killed, lacks the last commits.
SQLite does not notice that: the file would open, and the looks that it does not know of would be paid for
again.

So the main file has a mark, one bit of the header's ``user_version``, while commits may be missing in it:

- When a store is opened, the mark is committed and then checkpointed, before any record of money is written.
  From then on the ``-wal`` is never empty. So a marked file whose ``-wal`` is missing or empty is incomplete,
  however and whenever the process ended. Before that no record of money can be missing.
- When a store is closed, everything is checkpointed. Then the mark is removed, and that is checkpointed too:
  the mark leaves the main file after everything else has arrived there. Where a reader or a full disk
  prevents that, the mark and the ``-wal`` stay.

A killed process leaves the mark and the ``-wal``, which SQLite reads together.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ...errors import StoreError, StoreIncomplete
from .sqlite_schema import APPLICATION_ID, MARK

_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_ONE_FRAME = 32 + 24 + 512  # bytes: a header, and a frame with a page of the smallest size


def require_wal(path: str, name: str) -> None:
    """Raise `StoreIncomplete` where the main file has the mark and its ``-wal`` is missing or empty.

    Call it before SQLite opens the file for writing, which creates an empty ``-wal``. ``name`` is what the
    message calls the store.
    """
    if is_incomplete(path):
        file = Path(path).name
        raise StoreIncomplete(
            f"{name}: it is only a part of a store: it was copied while a session had it open, or after a "
            f"session was killed, and the last commits are in {file}-wal, which is missing here (or empty). "
            f"Copy {file} and {file}-wal together, or make the copy with `hoox-async store backup`. If that "
            "file is gone for good, `hoox-async store recover` opens what is left, and says what that means"
        )


def is_incomplete(path: str) -> bool:
    """Whether the main file has the mark and its ``-wal`` is missing or empty."""
    main, wal = Path(path), Path(f"{path}-wal")
    if not main.is_file() or _has_commits(wal) or not _main_file_is_marked(path):
        return False
    return not _has_commits(wal)  # checked again: a session may have opened the file meanwhile


def is_marked(db: sqlite3.Connection) -> bool:
    """Whether the database, as this connection sees it, has the mark."""
    ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    return ours and bool(db.execute("PRAGMA user_version").fetchone()[0] & MARK)


def set_mark(db: sqlite3.Connection) -> None:
    """Set the mark, in the caller's transaction. `require_mark` then checkpoints it into the main file."""
    _write(db, _version(db) | MARK)


def clear_mark(db: sqlite3.Connection) -> None:
    """Remove the mark, in the caller's transaction or in one of its own."""
    _write(db, _version(db) & ~MARK)


def require_mark(db: sqlite3.Connection, path: str) -> None:
    """Checkpoint the committed mark into the main file.

    Raises `StoreError` if a reader's transaction prevents that. If the main file has the mark already,
    as after a crash, a reader is harmless.
    """
    if not _checkpoint(db) and not _main_file_is_marked(path):
        raise StoreError("another program has been reading it for too long: end that, and try again")


def seal(db: sqlite3.Connection) -> None:
    """Checkpoint everything into the main file, and then remove the mark.

    Where readers prevent that, the removal is committed nevertheless. It reaches the main file together with
    everything else in a later checkpoint, such as that of the last program that closes the file.
    """
    if not _checkpoint(db):
        db.execute("PRAGMA busy_timeout = 0")  # it has waited for the readers once
    clear_mark(db)
    _checkpoint(db)


def _checkpoint(db: sqlite3.Connection) -> bool:
    """Checkpoint. True where everything is in the main file then. Readers are waited for (busy timeout)."""
    blocked, committed, copied = db.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
    return not blocked and committed == copied


def _main_file_is_marked(path: str) -> bool:
    # SQLite's own connection, since another descriptor's close() would drop this process's locks on the file;
    # "immutable" reads the main file and nothing else.
    uri = f"{Path(path).as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        return is_marked(db)


def _has_commits(wal: Path) -> bool:
    try:
        with wal.open("rb") as file:
            return file.read(_ONE_FRAME)[:4] in _MAGIC and file.tell() == _ONE_FRAME
    except FileNotFoundError:
        return False


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _write(db: sqlite3.Connection, version: int) -> None:
    if version != _version(db):
        db.execute(f"PRAGMA user_version = {version}")
