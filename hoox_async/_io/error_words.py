"""Says in words what an exception of Python or of the system means, without the name of its class."""

from __future__ import annotations

import errno
import socket

from ..errors import HooxError

_MEANING = {
    errno.ECONNREFUSED: "the connection was refused",
    errno.ECONNRESET: "the connection was cut",
    errno.EPIPE: "the connection was cut",
    errno.ECONNABORTED: "the connection was cut",
    errno.ETIMEDOUT: "no connection was made in time",
    errno.ENETUNREACH: "the network cannot be reached",
    errno.ENETDOWN: "the network is down",
    errno.EHOSTUNREACH: "the host cannot be reached",
    errno.EHOSTDOWN: "the host is down",
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "this system has too many open files",
    errno.ENOSPC: "the disk is full",
}


_MOST_CAUSES = 5
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_disk_full(error: BaseException) -> bool:
    """Whether the error, or what caused it, is that a file system, SQLite or PostgreSQL has no room."""
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):  # an error that is raised again may be a cause of itself
        if cause is None:
            return False
        has_no_room = isinstance(cause, OSError) and cause.errno in _NO_ROOM
        of_sqlite = getattr(cause, "sqlite_errorname", None) == "SQLITE_FULL"
        if has_no_room or of_sqlite or getattr(cause, "sqlstate", None) == "53100":
            return True
        cause = cause.__cause__
    return False


def words_of(error: BaseException) -> str:
    """What the error means, in words; its own message where its meaning is not known here."""
    if isinstance(error, HooxError):
        return str(error)
    if isinstance(error, socket.gaierror):  # its numbers are others than those of errno
        return "the name could not be resolved"
    if isinstance(error, OSError) and error.errno in _MEANING:
        return _MEANING[error.errno]
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, ConnectionError):
        return "the connection was cut"
    if isinstance(error, TimeoutError):
        return "it took too long"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or "an error that was not expected"
