"""One session at a time: a lock on a file beside the store, which dies with its process."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime

from ..errors import StoreLocked

# far behind the holder's name: on Windows a locked byte cannot be read by others
_LOCKED_BYTE = 1 << 30


class FileLock:
    """Holds ``<store>.lock`` while the store is open.

    The operating system lets go of it when the process ends, however that happens. The file itself
    stays: were it removed, two processes could each hold a lock on a file of that name. It is a file
    of its own because closing any handle of a SQLite file drops SQLite's own locks on POSIX.
    """

    def __init__(self, store_path: str) -> None:
        self._store_path = store_path
        self._fd: int | None = None

    def acquire(self, since: datetime) -> None:
        """Take the lock and write down who holds it. Raises `StoreLocked` or `OSError`."""
        fd = os.open(self._store_path + ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _try_lock(fd):
                raise StoreLocked(f"{self._store_path} is open in {_holder(fd)}; one session at a time")
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        with suppress(OSError):  # a full disk: the lock counts, not the name on it
            os.ftruncate(fd, 0)
            os.write(fd, json.dumps(_myself(since)).encode())

    def release(self) -> None:
        """Let go of it. Without effect where it is not held."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        with suppress(OSError):
            os.ftruncate(fd, 0)
        with suppress(OSError):
            _unlock(fd)  # a forked child may hold the same handle: closing ours alone would not free it
        with suppress(OSError):
            os.close(fd)


def _myself(since: datetime) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": since.astimezone(UTC).isoformat(timespec="seconds"),
    }


def _holder(fd: int) -> str:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        told = json.loads(os.read(fd, 4096))
        return f"process {told['pid']} on {told['host']} since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another session"  # it has the lock and has not written its name yet


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

    # flock, not lockf: it also keeps out a second session of the same process
    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
