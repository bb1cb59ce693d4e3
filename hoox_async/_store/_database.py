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

from .._protocols import Workspace
from ..errors import StoreError
from . import _rows, _schema
from ._failure import FAILURES, store_error, translated
from ._lock import FileLock

_GROUP = 1000  # functions in a commit at most: it takes tens of milliseconds

Work = Callable[[sqlite3.Connection], Any]


class Job(NamedTuple):
    """A function that waits for its transaction, and whoever waits for the function."""

    work: Work
    writes: bool
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
        if db is not None:  # a damaged file raises UnicodeError too: SQLite's complaints quote its bytes
            with suppress(Exception):
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # any other kind waits for reports that read
            with suppress(Exception):
                db.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _open(self, workspace: Workspace, at: datetime) -> None:
        path = os.path.realpath(self.path)  # a link to the file is the same file and the same lock
        _check_place(self.path, Path(path))
        lock = FileLock(path)
        lock.acquire(at)
        self._lock = lock
        db = self._db = sqlite3.connect(path, timeout=2.0, isolation_level=None)
        version = _schema.version_of(db, self.path)
        _schema.check(db, self.path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        self._begin(writes=True)
        _schema.migrate(db, version)
        _rows.bind(db, workspace, self.path)
        _rows.note_opening(db, at)
        _rows.recover_all(db, at)
        db.execute("COMMIT")

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
            value = job.work(db)
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
            value = job.work(self._connection())
            self._execute("COMMIT")
        except Exception as error:
            self._roll_back()
            return Done(job, None, self._told(error))
        return Done(job, value, None)

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


def _check_place(shown: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise StoreError(f"{shown}: there is no folder {path.parent}: make it first")
    if path.is_dir():
        raise StoreError(f"{shown}: it is a folder, not a file")
