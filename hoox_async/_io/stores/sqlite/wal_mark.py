"""Whether a store's main file says everything, or only together with the ``-wal`` beside it.

SQLite writes a commit into the ``-wal`` and copies it into the main file later, in a checkpoint. A main file
that was copied alone while a session had it open, or after a session was killed, lacks the last commits, and
nothing in it would show that: it would open, and what it has forgotten would be paid for again.

So the main file bears a mark, one bit of the header's ``user_version``, while commits may be missing in it:

- When a store is opened, the mark is committed and then checkpointed, before anything of money is written.
  From then on the ``-wal`` is never empty. So a marked file whose ``-wal`` is missing or empty is a part of
  a store, however and whenever the process ended; and up to then nothing of money is missing.
- When it is closed, everything is checkpointed, then the mark is taken away, and that is checkpointed too:
  the mark leaves the main file after everything else has come there. Where a reader or a full disk prevents
  that, the mark and the ``-wal`` stay.

A killed process leaves mark and ``-wal``, which SQLite reads together. Files from before the mark have none.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ....errors import StoreError, StoreIncomplete
from .schema import APPLICATION_ID, MARK

_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_ONE_FRAME = 32 + 24 + 512  # bytes: a header, and a frame with a page of the smallest size


def require_wal(path: str, shown: str) -> None:
    """Raise `StoreIncomplete` where the main file bears the mark and its ``-wal`` is missing or empty.

    To be called before SQLite opens the file for writing, since that makes an empty ``-wal``.
    """
    if is_part(path):
        name = Path(path).name
        raise StoreIncomplete(
            f"{shown}: it is only a part of a store: it was copied while a session had it open, or after a "
            f"session was killed, and the last commits are in {name}-wal, which is missing here (or empty). "
            f"Copy {name} and {name}-wal together, or make the copy with `hoox-async store backup`. If that "
            "file is gone for good, `hoox-async store recover` opens what is left, and says what that means"
        )


def is_part(path: str) -> bool:
    """Whether the main file bears the mark and its ``-wal`` is missing or empty."""
    main, wal = Path(path), Path(f"{path}-wal")
    if not main.is_file() or _has_commits(wal) or not _main_file_is_marked(path):
        return False
    return not _has_commits(wal)  # else a session opened the file in this moment


def is_marked(db: sqlite3.Connection) -> bool:
    """Whether the mark stands in the database as this connection sees it."""
    ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    return ours and bool(db.execute("PRAGMA user_version").fetchone()[0] & MARK)


def set_mark(db: sqlite3.Connection) -> None:
    """Set the mark, in the caller's transaction. `require_mark` brings it into the main file."""
    _write(db, _version(db) | MARK)


def clear_mark(db: sqlite3.Connection) -> None:
    """Take the mark away, in the caller's transaction or in one of its own."""
    _write(db, _version(db) & ~MARK)


def require_mark(db: sqlite3.Connection, path: str) -> None:
    """Bring the mark, which is committed, into the main file. Raises `StoreError` where that is prevented.

    A reader whose transaction is older prevents it. Where the mark came there in an earlier life of the
    store, as after a crash, nothing is missing.
    """
    if not _checkpoint(db) and not _main_file_is_marked(path):
        raise StoreError("another program has been reading it for too long: end that, and try again")


def seal(db: sqlite3.Connection) -> None:
    """Bring everything into the main file, then take the mark away: only the mark itself goes last.

    Where readers are in the way, the mark is committed away all the same: it leaves the main file with
    everything else, in whichever later checkpoint can do it, as that of the last program to close the file.
    """
    if not _checkpoint(db):
        db.execute("PRAGMA busy_timeout = 0")  # it has waited for them once
    clear_mark(db)
    _checkpoint(db)


def _checkpoint(db: sqlite3.Connection) -> bool:
    """Whether everything is in the main file now. Waits for readers as long as the connection's timeout."""
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
