"""A SQLite database on its thread: opening, transactions, closing. Nothing here knows of the loop."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

from ..._checks import Checks, argument
from ...errors import ConfigurationError, StoreError
from ..error_words import words_of
from . import missing_wal, sqlite_schema
from .file_lock import FileLock
from .statements import SQLITE
from .transaction import Question, Rows, Transaction, Values, Work

_MAX_JOBS = 1000  # in one commit, which then takes tens of milliseconds

_T = TypeVar("_T")
Prepare = Callable[[Transaction, int], None]
"""Runs in the transaction that opens a file, with the version of its tables before; 0 for a new file."""


def file_path(name: str, store: object, check: Checks = argument) -> str:
    """The path of a store's file. Raises the error of ``check``, and `ConfigurationError` for another URL."""
    path = check.path(name, store, "the path of a file or the postgresql:// URL of a database")
    if "://" in path:  # not shown: it may hold a password
        raise ConfigurationError(f"{name}: a URL is not the path of a file, except postgresql://…")
    if "password=" in path:  # not shown either
        raise ConfigurationError(
            f"{name}: a connection string is not the path of a file; give a postgresql:// URL"
        )
    if path == ":memory:":
        raise ConfigurationError(f'{name}: ":memory:" is not a file; store=None keeps it in memory')
    return path


def change_nothing(tx: Transaction, version: int) -> None:
    """Leave a file as it is."""


class Job(NamedTuple):
    """A function that is to run in a transaction, and the future of the caller who waits for it."""

    work: Work[Any]
    writes: bool
    future: Any


class Done(NamedTuple):
    """The result of a job: its value, or the error that it raised."""

    job: Job
    value: Any
    error: Exception | None


class SQLiteTransaction:
    """What a function has of an open transaction, in which nobody else writes."""

    may_guess = False

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def ask(self, *questions: Question) -> list[Rows]:
        return [self._db.execute(SQLITE.compile(text), values).fetchall() for text, values in questions]

    def write(self, statement: str, values: Values) -> None:
        self._db.execute(SQLITE.compile(statement), values)


class SQLiteFile:
    """One open SQLite file. All methods are called on one thread.

    ``must_exist``: it is a store already, and is not made where it is missing.
    """

    def __init__(self, name: str, *, must_exist: bool = False) -> None:
        self.name = name
        self._must_exist = must_exist
        self._db: sqlite3.Connection | None = None
        self._lock: FileLock | None = None
        self._files: dict[str, tuple[int, int]] = {}
        _files.add(self)

    def open(self, at: datetime, prepare: Prepare = change_nothing) -> None:
        """Lock, check and migrate the file, and run ``prepare`` in the same transaction.

        Raises `StoreError`. Then it holds nothing.
        """
        try:
            with translated(self.name):
                self._open(at, prepare)
        except BaseException:
            self.close()
            raise

    def transact(self, work: Work[_T]) -> _T:
        """Run this in one transaction, which is durable when it returns."""
        done = self._alone(Job(work, writes=True, future=None))
        if done.error is not None:
            raise done.error
        value: _T = done.value
        return value

    def vacuum(self) -> None:
        """Write the whole file anew, without the pages and the parts of pages that are free."""
        with translated(self.name):
            self._execute("VACUUM")

    def _open(self, at: datetime, prepare: Prepare) -> None:
        path = os.path.realpath(self.name)  # so that a link to the file has the same lock
        if self._must_exist and not Path(path).is_file():
            raise StoreError(f"{self.name}: there is no such file")
        _require_place(self.name, Path(path))
        lock = FileLock(path)
        lock.acquire(at)
        self._lock = lock
        missing_wal.require_wal(path, self.name)
        create_private(path)
        db = self._db = sqlite3.connect(path, timeout=2.0, isolation_level=None)
        version = sqlite_schema.version_of(db, self.name)
        if self._must_exist and not version:
            raise StoreError(NO_STORE_YET)
        sqlite_schema.check(db, self.name)
        in_wal = db.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal"
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        self._begin(writes=True)
        sqlite_schema.migrate(db, version)
        # a file that cannot be written fails here, before money is spent
        db.execute("UPDATE members SET host = ?", (at.isoformat(),))
        prepare(SQLiteTransaction(db), version)
        if in_wal:  # some file systems do not support it; there everything is in the main file at once
            missing_wal.set_mark(db)
        db.execute("COMMIT")
        if in_wal:
            missing_wal.require_mark(db, path)
        names = [path, f"{path}.lock", *([f"{path}-wal"] if in_wal else [])]
        self._files = {name: _identity(name) for name in names}

    def run(self, waiting: deque[Job]) -> list[Done]:
        """Run a group of waiting jobs in one commit. What they wrote is durable when this returns."""
        jobs: list[Job] = []
        while waiting and len(jobs) < _MAX_JOBS:
            jobs.append(waiting.popleft())
        try:
            return self._together(jobs)
        except Exception:  # the whole group failed: with one transaction per job, only the faulty jobs fail
            return [self._alone(job) for job in jobs]

    def finish(self, waiting: deque[Job]) -> list[Done]:
        """Run all jobs that still wait, then close."""
        done: list[Done] = []
        while waiting:
            done += self.run(waiting)
        self.close()
        return done

    def close(self) -> None:
        """Close the file and release the lock. Never raises: reported writes are durable already."""
        db, self._db = self._db, None
        if db is not None:
            _close(db)
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def abandon(self) -> None:
        """In a forked child: forget the file without closing it, since it is still open in the parent."""
        db, self._db = self._db, None
        if db is not None:
            _keep_open(db)

    def require_files(self) -> None:
        """Raise `StoreError` where the open files were removed or replaced.

        Writes to such files are lost with this process, and a second session could open the path. In memory
        there are none.
        """
        for name, opened in self._files.items():
            try:
                found: tuple[int, int] | None = _identity(name)
            except OSError:
                found = None
            if found != opened:
                raise StoreError(
                    f"{name} was {'replaced' if found else 'removed'} while the store was open: nothing is "
                    "sent any more, since it could not be recorded. Put the store's files back, or close "
                    "the session and open it again"
                )

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
        """Run one job inside the group's transaction. Raises `sqlite3.Error`, which may have ended that."""
        if job.writes:
            self._execute("SAVEPOINT job")
        try:
            value = job.work(SQLiteTransaction(self._connection()))
        except sqlite3.Error:
            raise
        except Exception as error:
            if job.writes:
                self._execute("ROLLBACK TO job")
                self._execute("RELEASE job")
            return Done(job, None, self._translated(error))
        if job.writes:
            self._execute("RELEASE job")
        return Done(job, value, None)

    def _alone(self, job: Job) -> Done:
        try:
            self._begin(writes=job.writes)
            value = job.work(SQLiteTransaction(self._connection()))
            self._execute("COMMIT")
        except Exception as error:
            self._roll_back()
            return Done(job, None, self._translated(error))
        return Done(job, value, None)

    def _translated(self, error: Exception) -> Exception:
        if not isinstance(error, FAILURES):
            return error
        translation = store_error(self.name, error)
        if translation is not error:
            translation.__cause__ = error
        return translation

    def _begin(self, *, writes: bool) -> None:
        # a group that only reads takes no write lock, so it works on a full disk too
        self._execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    def _roll_back(self) -> None:
        with suppress(Exception):
            if self._connection().in_transaction:
                self._execute("ROLLBACK")

    def _execute(self, statement: str) -> None:
        self._connection().execute(statement)

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"{self.name}: the store is not open")
        return self._db


class SQLiteMemory(SQLiteFile):
    """A database in memory. It stays when it is closed, and is opened again."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._kept: sqlite3.Connection | None = None

    def _open(self, at: datetime, prepare: Prepare) -> None:  # noqa: ARG002
        db = self._db = self._kept or sqlite_schema.in_memory()
        self._begin(writes=True)
        try:
            prepare(SQLiteTransaction(db), int(self._kept is not None))
            db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._kept = db

    def __del__(self) -> None:
        if self._kept is not None:  # it ends with its ledger; else Python 3.13 warns
            self._kept.close()

    def close(self) -> None:
        """Close it until it is opened again."""
        self._db = None

    def read(self, question: Question) -> Rows:
        """The rows of this question, also while it is closed. None where it was never open."""
        return SQLiteTransaction(self._kept).ask(question)[0] if self._kept is not None else []


def _abandon_in_child() -> None:
    for file in tuple(_files):
        file.abandon()


_files: WeakSet[SQLiteFile] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_in_child)


def _identity(path: str) -> tuple[int, int]:
    # by name: closing a second descriptor of the file would drop SQLite's locks on it
    found = Path(path).stat()
    return found.st_dev, found.st_ino


_kept_open: list[sqlite3.Connection] = []


def _keep_open(db: sqlite3.Connection) -> None:
    """Never close the connection; it ends with the process, as if the process were killed.

    SQLite deletes the ``-wal`` when the last connection is closed. That must not happen where the content of
    the ``-wal`` could not be brought into the main file, nor in a forked child, where the file is its
    parent's.
    """
    _kept_open.append(db)
    try:  # at exit the interpreter would clear the list and so close them: hence an extra reference
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))
    except (ImportError, AttributeError):  # pragma: no cover - not CPython, or built without ctypes
        pass


def _close(db: sqlite3.Connection) -> None:
    marked = False
    with suppress(Exception):  # a damaged file raises UnicodeError too: SQLite's messages quote its bytes
        if db.in_transaction:
            db.execute("ROLLBACK")
        marked = missing_wal.is_marked(db)
    if marked:
        try:
            missing_wal.seal(db)
        except Exception:  # as on a full disk: then the mark and the -wal both stay
            _keep_open(db)
            return
    with suppress(Exception):
        db.close()


def create_private(path: str) -> None:
    """Create an empty file that only its owner can read, where there is none. Raises `OSError`.

    SQLite gives its ``-wal`` and ``-shm`` the same mode. A file that exists keeps its own.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _require_place(name: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise StoreError(f"{name}: there is no folder {path.parent}: make it first")
    if path.is_dir():
        raise StoreError(f"{name}: it is a folder, not a file")


# --- errors: no exception of SQLite or the file system leaves the store

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
