"""Translates exceptions of psycopg and the network into `StoreError`: no other leaves the store."""

from __future__ import annotations

from ....errors import StoreError

# By SQLSTATE, or by its class, which is its first two characters.
_MEANING = {
    "08": "the connection failed",
    "23": "it holds something else under the same id already",
    "25006": "it is read-only: a standby, a replica or a read-only role can't be the store",
    "28": "it refused the login",
    "3D000": "there is no such database",
    "3F000": "its tables are missing: another release's schema was dropped, or never made",
    "42501": "the role lacks rights that the store needs",
    "42P01": "its tables are missing: another release's schema was dropped, or never made",
    "42883": "its functions are missing: another release's schema was dropped, or never made",
    "53100": "its disk is full: nothing can be written",
    "53300": "it has too many connections: raise its max_connections, or lower ours",
    "53": "it is out of resources",
    "54": "a value is too long for it",
    "55P03": "another transaction keeps a table locked",
    "57014": "it cancelled a statement, after this role's or database's statement_timeout, or for somebody",
    "57": "it was stopped, or ended the connection",
    "58": "its machine failed to read or write",
    "XX": "it is damaged, or has a bug",
}


class DatabaseError(StoreError):
    """A `StoreError` with the server's SQLSTATE and, for a violated constraint, the constraint's name."""

    sqlstate: str | None = None
    constraint: str | None = None


def database_error(name: str, error: BaseException, detail: str) -> DatabaseError:
    """The `StoreError` that says what this error means and names the database.

    ``detail`` is the text of the error, without secrets.
    """
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate is None:
        meaning = "the connection failed" if _is_of_network(error) else "it failed"
    else:
        meaning = _MEANING.get(sqlstate) or _MEANING.get(sqlstate[:2]) or "it failed"
    failure = DatabaseError(f"{name}: {meaning} ({' '.join(detail.split()) or type(error).__name__})")
    failure.sqlstate = sqlstate
    failure.constraint = getattr(getattr(error, "diag", None), "constraint_name", None)
    return failure


def _is_of_network(error: BaseException) -> bool:
    from psycopg import InterfaceError, OperationalError

    return isinstance(error, OSError | OperationalError | InterfaceError)
