"""The store's file as its own thread sees it: opening, transactions, closing. Nothing here knows the loop."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet

from ....errors import StoreError
from ...protocols import Workspace
from . import rows, schema, wal_mark
from .failures import FAILURES, store_error, translated
from .file_lock import FileLock
from .kept_open import keep_open

_GROUP = 1000  # functions in a commit at most: it takes tens of milliseconds

Work = Callable[[sqlite3.Connection], Any]


class Job(NamedTuple):
    """A function that waits for its transaction, and whoever waits for the function.

    ``sends``: a request leaves as soon as it is written, so it must not be written into a file that is gone.
    """

    work: Work
    writes: bool
    sends: bool
    waiter: Any


class Done(NamedTuple):
    """What became of a job: its value, or the error that it raised."""

    job: Job
    value: Any
    error: Exception | None


class Database:
    """One open SQLite file. Every method belongs to one thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._lock: FileLock | None = None
        self._files: dict[str, tuple[int, int]] = {}
        _databases.add(self)

    def open(self, workspace: Workspace, at: datetime) -> None:
        """Lock, check, migrate, bind and recover. Raises `StoreError` and then holds nothing."""
        try:
            with translated(self.path):
                self._open(workspace, at)
        except BaseException:
            self.close()
            raise

    def run(self, waiting: deque[Job]) -> list[Done]:
        """Run a group of waiting jobs in one commit: all is durable when this returns."""
        jobs: list[Job] = []
        while waiting and len(jobs) < _GROUP:
            jobs.append(waiting.popleft())
        try:
            return self._together(jobs)
        except Exception:  # the group's transaction is gone: who is to blame shows when each has its own
            return [self._alone(job) for job in jobs]

    def finish(self, waiting: deque[Job]) -> list[Done]:
        """Run all that still waits, then close."""
        done: list[Done] = []
        while waiting:
            done += self.run(waiting)
        self.close()
        return done

    def close(self) -> None:
        """Let go of the file and the lock. Never raises: what was promised is durable already."""
        db, self._db = self._db, None
        if db is not None:
            _close(db)
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def abandon(self) -> None:
        """In a forked child: forget the file without closing it, since it is the parent's."""
        db, self._db = self._db, None
        if db is not None:
            keep_open(db)

    def _open(self, workspace: Workspace, at: datetime) -> None:
        path = os.path.realpath(self.path)  # a link to the file is the same file and the same lock
        _check_place(self.path, Path(path))
        lock = FileLock(path)
        lock.acquire(at)
        self._lock = lock
        wal_mark.require_wal(path, self.path)
        db = self._db = sqlite3.connect(path, timeout=2.0, isolation_level=None)
        version = schema.version_of(db, self.path)
        schema.check(db, self.path)
        in_wal = db.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal"
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        self._begin(writes=True)
        schema.migrate(db, version)
        rows.bind(db, workspace, self.path)
        rows.note_opening(db, at)
        rows.recover_all(db, at)
        if in_wal:  # some file systems cannot have it; then everything is in the main file at once
            wal_mark.set_mark(db)
        db.execute("COMMIT")
        if in_wal:
            wal_mark.require_mark(db, path)
        names = [path, f"{path}.lock", *([f"{path}-wal"] if in_wal else [])]
        self._files = {name: _identity(name) for name in names}

    def _together(self, jobs: Iterable[Job]) -> list[Done]:
        try:
            self._begin(writes=any(job.writes for job in jobs))
            done = [self._within(job) for job in jobs]
            self._execute("COMMIT")
        except Exception:
            self._roll_back()
            raise
        return done

    def _within(self, job: Job) -> Done:
        """One job inside the group's transaction. Raises `sqlite3.Error`, which may have ended that."""
        db = self._connection()
        if job.writes:
            db.execute("SAVEPOINT job")
        try:
            value = self._do(job)
        except sqlite3.Error:
            raise
        except Exception as error:
            if job.writes:
                db.execute("ROLLBACK TO job")
                db.execute("RELEASE job")
            return Done(job, None, self._told(error))
        if job.writes:
            db.execute("RELEASE job")
        return Done(job, value, None)

    def _alone(self, job: Job) -> Done:
        try:
            self._begin(writes=job.writes)
            value = self._do(job)
            self._execute("COMMIT")
        except Exception as error:
            self._roll_back()
            return Done(job, None, self._told(error))
        return Done(job, value, None)

    def _do(self, job: Job) -> Any:
        if job.sends:
            self._require_files()
        return job.work(self._connection())

    def _require_files(self) -> None:
        """Raise `StoreError` where the path leads to other files than those that are open, or to none.

        What is written then is lost with this process, and a second session could open the path.
        """
        for name, opened in self._files.items():
            try:
                found: tuple[int, int] | None = _identity(name)
            except OSError:
                found = None
            if found != opened:
                raise StoreError(
                    f"{name} was {'replaced' if found else 'removed'} while the store was open: nothing is "
                    "sent any more, since it could not be remembered. Put the store's files back, or close "
                    "the session and open it anew"
                )

    def _told(self, error: Exception) -> Exception:
        if not isinstance(error, FAILURES):
            return error
        told = store_error(self.path, error)
        if told is not error:
            told.__cause__ = error
        return told

    def _begin(self, *, writes: bool) -> None:
        # a group that only reads asks for no right to write, and so works on a full disk
        self._execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    def _roll_back(self) -> None:
        with suppress(Exception):
            if self._connection().in_transaction:
                self._execute("ROLLBACK")

    def _execute(self, statement: str) -> None:
        self._connection().execute(statement)

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"{self.path}: the store is not open")
        return self._db


def _identity(path: str) -> tuple[int, int]:
    # by its name: closing a second descriptor of the database would drop SQLite's locks on it
    found = Path(path).stat()
    return found.st_dev, found.st_ino


def _keep_open_in_child() -> None:
    for database in tuple(_databases):
        database.abandon()


_databases: WeakSet[Database] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_open_in_child)


def _close(db: sqlite3.Connection) -> None:
    marked = False
    with suppress(Exception):  # a damaged file raises UnicodeError too: SQLite's complaints quote its bytes
        if db.in_transaction:
            db.execute("ROLLBACK")
        marked = wal_mark.is_marked(db)
    if marked:
        try:
            wal_mark.seal(db)
        except Exception:  # as on a full disk: mark and -wal belong together
            keep_open(db)
            return
    with suppress(Exception):
        db.close()


def _check_place(shown: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise StoreError(f"{shown}: there is no folder {path.parent}: make it first")
    if path.is_dir():
        raise StoreError(f"{shown}: it is a folder, not a file")
