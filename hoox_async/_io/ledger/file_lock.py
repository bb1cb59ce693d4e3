"""Lets one session at a time open a store: a lock on a file beside it, which ends with its process."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from weakref import WeakSet

from ..._core.formatting import format_moment
from ...errors import StoreError, StoreLocked

# an offset far behind the holder's name, since on Windows others cannot read a locked byte
_LOCKED_BYTE = 1 << 30


class FileLock:
    """A lock on the file ``<store>.lock`` while the store is open.

    The operating system releases it when the process ends, however that happens. The file itself is kept: if
    it were removed, two processes could each lock a file of that name. It is not the store's own file because
    closing any handle of a SQLite file releases SQLite's own locks on POSIX.

    A forked child inherits the handle and would keep the lock after its parent's end, so it closes it at
    once.
    """

    def __init__(self, store_path: str) -> None:
        self._store_path = store_path
        self._fd: int | None = None

    def acquire(self, since: datetime) -> None:
        """Take the lock and write the holder's name. Raises `StoreLocked`, `StoreError` or `OSError`."""
        if self._store_path in _inherited:
            # SQLite would believe that it holds its parent's locks on the file
            raise StoreError(
                f"{self._store_path} was open when this process was forked: open it in a process that was "
                'forked before, or that was started fresh (multiprocessing\'s "spawn")'
            )
        fd = self._fd = os.open(self._store_path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        _held.add(self)  # before it is locked, since another thread may fork at any time
        try:
            if not _try_lock(fd):
                raise StoreLocked(
                    f"{self._store_path} is open in {_holder(fd)}; one session at a time "
                    "(several processes can share a postgresql:// store)"
                )
        except BaseException:
            self._fd = None
            os.close(fd)
            raise
        with suppress(OSError):  # on a full disk the name is missing, but the lock is held
            os.ftruncate(fd, 0)
            os.write(fd, json.dumps(_myself(since)).encode())

    def release(self) -> None:
        """Release the lock. Does nothing where it is not held."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        with suppress(OSError):
            os.ftruncate(fd, 0)
        with suppress(OSError):
            _unlock(fd)
        with suppress(OSError):
            os.close(fd)

    def close_in_child(self) -> None:
        """In a forked child: close the inherited handle. The parent keeps the lock."""
        fd, self._fd = self._fd, None
        if fd is not None:
            _inherited.add(self._store_path)
            with suppress(OSError):
                os.close(fd)


_held: WeakSet[FileLock] = WeakSet()
_inherited: set[str] = set()


def _close_in_child() -> None:
    for lock in tuple(_held):
        lock.close_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def _myself(since: datetime) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": since.astimezone(UTC).isoformat(timespec="seconds"),
    }


def _holder(fd: int) -> str:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        holder = json.loads(os.read(fd, 4096))
        since = format_moment(datetime.fromisoformat(holder["since"]))
        return f"process {holder['pid']} on {holder['host']} since {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another session"  # which has the lock and has not written its name yet


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(fd, 0, os.SEEK_SET)
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    # flock and not lockf: it also excludes a second session of the same process
    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
