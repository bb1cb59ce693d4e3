"""Translates exceptions of psycopg and the network into `StoreError`: no other leaves the store."""

from __future__ import annotations

import re
from typing import TypeVar

from ...errors import StoreError

# By SQLSTATE, or by its class, which is its first two characters.
_MEANING = {
    "01000": "it has committed a write without its synchronous standby, and may forget it in a failover",
    "08": "the connection failed",
    "23": "it holds something else under the same id already",
    "25006": "it is read-only: a standby, a replica or a read-only role can't be the store",
    "28": "it refused the login",
    "28P01": "it refused the login: the password is wrong, or missing",
    "3D000": "there is no such database: correct the last part of its URL, or create it",
    "3F000": "its tables are missing: another release's schema was dropped, or never made",
    "42501": "the role lacks rights that the store needs",
    "42P01": "its tables are missing: another release's schema was dropped, or never made",
    "42883": "its functions are missing: another release's schema was dropped, or never made",
    "53100": "its disk is full: nothing can be written",
    "53300": "it has too many connections: raise its max_connections, or lower ours",
    "53": "it is out of resources",
    "54": "a value is too long for it",
    "55P03": "another transaction keeps a table locked",
    "57P03": "it is starting or being stopped",
    "57014": "it cancelled a statement, after this role's or database's statement_timeout, or for somebody",
    "57": "it was stopped, or ended the connection",
    "58": "its machine failed to read or write",
    "XX": "it is damaged, or has a bug",
}


class DatabaseError(StoreError):
    """A `StoreError` with the server's SQLSTATE."""

    sqlstate: str | None = None


class NotReplicated(Exception):
    """The server has committed a write, and was stopped from waiting until its standby has it too."""

    sqlstate = "01000"


class NoConnection(DatabaseError):
    """No connection to the database could be made."""


# libpq tells no SQLSTATE of why a connection could not be made, only the server's text.
_REFUSALS = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "SASL authentication failed": "28P01",  # PgBouncer
    "no pg_hba.conf entry": "28000",
    "is not permitted to log in": "28000",
    "too many clients": "53300",
    "remaining connection slots": "53300",
    "too many connections": "53300",
    "no more connections allowed": "53300",  # PgBouncer
    "database system is": "57P03",
    "no such database": "3D000",  # PgBouncer
}
_NAMES_NOBODY = {"database": "3D000", "role": "28000"}


def no_connection(name: str, error: BaseException, detail: str) -> NoConnection:
    """The error that says why no connection could be made. See `database_error`."""
    found = re.search(rf"FATAL:\s+({'|'.join(_NAMES_NOBODY)}) \".*\" does not exist", detail)
    sqlstate = _NAMES_NOBODY[found[1]] if found else None
    for text, meant in _REFUSALS.items():
        if text in detail:
            sqlstate = meant
    return _filled(NoConnection, name, error, detail, sqlstate)


def database_error(name: str, error: BaseException, detail: str) -> DatabaseError:
    """The `StoreError` that says what this error means and names the database.

    ``detail`` is the text of the error, without secrets.
    """
    return _filled(DatabaseError, name, error, detail, getattr(error, "sqlstate", None))


_Error = TypeVar("_Error", bound=DatabaseError)


def _filled(kind: type[_Error], name: str, error: BaseException, detail: str, sqlstate: str | None) -> _Error:
    if sqlstate is None:
        meaning = "the connection failed" if _is_of_network(error) else "it failed"
    else:
        meaning = _MEANING.get(sqlstate) or _MEANING.get(sqlstate[:2]) or "it failed"
    failure = kind(f"{name}: {meaning} ({' '.join(detail.split()) or type(error).__name__})")
    failure.sqlstate = sqlstate
    return failure


def _is_of_network(error: BaseException) -> bool:
    from psycopg import InterfaceError, OperationalError

    return isinstance(error, OSError | OperationalError | InterfaceError)
