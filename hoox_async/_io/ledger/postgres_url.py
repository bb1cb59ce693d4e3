"""The URL of a PostgreSQL database, read without ever showing a password, and the names in it.

libpq quotes what it can't read, and what it can't read may be a part of a password that was not
percent-encoded: ``p@ss`` leaves ``ss`` in the host's name. So its messages about a URL are never shown, and a
URL is refused where the part that is shown, host and database, may hold a piece of a password.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeGuard
from urllib.parse import unquote

import attrs

from ..._checks import is_name, option
from ...errors import ConfigurationError

_CONNECT_TIMEOUT = "4"  # seconds, for each of several hosts
_UNREADABLE = (
    "the URL of the PostgreSQL database can't be read. In its user and password these characters must be "
    "percent-encoded: @ as %40, / as %2F, : as %3A, # as %23, ? as %3F, % as %25"
)
_SECRETS = ("password", "sslpassword", "oauth_client_secret")


@attrs.frozen
class DatabaseUrl:
    """A database: what psycopg is given, and its name for messages, which holds no secret."""

    name: str
    parameters: Mapping[str, Any] = attrs.field(repr=False)

    @classmethod
    def parse(cls, url: str) -> DatabaseUrl:
        """Read any libpq URI. Raises `ConfigurationError`, which shows nothing of it."""
        import_psycopg()
        from psycopg import Error
        from psycopg.conninfo import conninfo_to_dict

        if not is_database(url):
            raise ConfigurationError("url: the URL of a PostgreSQL database begins with postgresql://")
        if not _is_unambiguous(url.partition("://")[2]):
            raise ConfigurationError(_UNREADABLE)
        found: Mapping[str, Any] | None = None
        with suppress(Error):  # not raised from: the context of an exception would hold its text
            found = conninfo_to_dict(url)
        if found is None:
            raise ConfigurationError(_UNREADABLE)
        parameters = {name: value for name, value in found.items() if value is not None}
        ports = str(parameters.get("port", "")).split(",")
        if not all(port.strip().isdecimal() or not port for port in ports):
            raise ConfigurationError(_UNREADABLE)
        defaults = {"connect_timeout": _CONNECT_TIMEOUT, "application_name": "hoox-async"}
        return cls(_name(parameters), {**defaults, **parameters, "client_encoding": "UTF8"})

    def without_secrets(self, text: str) -> str:
        """The text of an error, or a placeholder where a secret of the URL is in it."""
        secrets = [str(self.parameters[name]) for name in _SECRETS if self.parameters.get(name)]
        return "(not shown)" if any(secret in text for secret in secrets) else text


def is_database(store: object) -> TypeGuard[str]:
    """Whether this is the URL of a PostgreSQL database, not the path of a file."""
    return isinstance(store, str) and store.startswith(("postgresql://", "postgres://"))


def check_place(workspace: str, schema: str) -> None:
    """Raise `ConfigurationError` for names that no workspace and no schema can have."""
    option.name("workspace", workspace, of="workspace")
    require_schema(schema)


def require_schema(schema: str) -> str:
    """The name. Raises `ConfigurationError` for one that no schema can have here: % marks our parameters."""
    if not is_name(schema) or len(schema.encode()) > 63 or "%" in schema:
        raise option.error("schema", schema, "the name of a schema, of at most 63 bytes and without %")
    return schema


def import_psycopg() -> None:
    """Raise `ConfigurationError` where psycopg is not installed, or lacks its libpq."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            'a store in PostgreSQL needs psycopg: pip install "hoox-async[postgres]"'
        ) from error


def _is_unambiguous(rest: str) -> bool:
    """Whether host and database hold no ``@`` and no ``:`` that may come from a password.

    libpq takes what is before the first ``@`` for user and password, unless there is a ``/`` before that.
    """
    at, slash = rest.find("@"), rest.find("/")
    has_credentials = at >= 0 and (slash < 0 or at < slash)
    shown = rest[at + 1 :] if has_credentials else rest
    place = shown.partition("?")[0]
    if "@" in place:
        return False
    return "#" not in place and "@" not in unquote(place.partition("/")[0])


def _name(parameters: Mapping[str, Any]) -> str:
    host = parameters.get("host") or parameters.get("hostaddr") or os.environ.get("PGHOST") or "this machine"
    port = parameters.get("port") or os.environ.get("PGPORT") or "5432"
    default = parameters.get("user") or os.environ.get("PGDATABASE") or os.environ.get("PGUSER") or ""
    database = parameters.get("dbname") or default
    return (
        f"PostgreSQL database {database!r} on {host}:{port}" if database else f"PostgreSQL on {host}:{port}"
    )
