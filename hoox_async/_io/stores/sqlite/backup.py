"""Complete copies of a store, also while a session has it open, and what to do with one that is not."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from ....errors import StoreError
from . import schema, wal_mark
from .failures import translated
from .file_lock import FileLock
from .reader import connect_to_read

_BESIDE = ("", "-wal", "-shm", "-journal")  # SQLite would take a file of such a name for the copy's


def back_up(source: str, target: str) -> Path:
    """See `backup_store`. Blocks."""
    place = Path(target)
    part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    with closing(connect_to_read(source)) as db, translated(target):
        _require_free(place)
        try:
            _copy(db, part)
            shutil.copymode(source, part)
            _name(part, place)
        finally:
            for suffix in _BESIDE:
                with suppress(OSError):
                    Path(f"{part}{suffix}").unlink()
    return place


def _copy(db: sqlite3.Connection, part: Path) -> None:
    with closing(sqlite3.connect(part, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = EXTRA")
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        wal_mark.clear_mark(copy)
        schema.check(copy, str(part))


def _require_free(place: Path) -> None:
    if not place.parent.is_dir():
        raise StoreError(f"there is no folder {place.parent}: make it first")
    for suffix in _BESIDE:
        if os.path.lexists(f"{place}{suffix}"):
            raise StoreError(f"{place}{suffix} exists already, and a backup replaces nothing")


def _name(part: Path, place: Path) -> None:
    """Give the whole copy its name. Raises `OSError` where that was taken meanwhile."""
    try:
        place.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        _require_free(place)
        part.rename(place)


def recover(shown: str) -> None:
    """See `recover_store`. Blocks."""
    with translated(shown):
        path = os.path.realpath(shown)
        if not Path(path).is_file():
            raise StoreError("there is no such file")
        lock = FileLock(path)
        lock.acquire(datetime.now(UTC))
        try:
            if not wal_mark.is_part(path):
                raise StoreError("its -wal is not missing: there is nothing to recover, open it as it is")
            with closing(sqlite3.connect(path, timeout=2.0, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = FULL")
                schema.version_of(db, shown)
                schema.check(db, shown)
                wal_mark.clear_mark(db)
        finally:
            lock.release()
