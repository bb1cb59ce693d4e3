"""Which servers can hold the store: refused before anything is paid for, rather than when it is too late."""

from __future__ import annotations

from typing import NamedTuple

from ..._checks import option
from ...errors import StoreError
from .dialect import quoted
from .postgres_connections import Connections
from .postgres_url import require_schema

_OLDEST = 13_00_00

_FACTS = """
SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),
    current_setting('transaction_read_only') = 'on', current_setting('synchronous_commit'),
    current_setting('server_encoding')
"""

_TABLES_WITHOUT_RIGHTS = """
SELECT current_user::text, c.relname::text FROM pg_class c
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s) AND c.relkind = 'r'
    AND NOT (has_schema_privilege(c.relnamespace, 'USAGE')
        AND has_table_privilege(c.oid, 'SELECT')
        AND (c.relname = 'schema_versions' OR has_table_privilege(c.oid, 'INSERT')
            AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')))
"""


class ServerFacts(NamedTuple):
    """What a server says of itself."""

    version: int
    in_recovery: bool
    read_only: bool
    synchronous_commit: str
    encoding: str

    def check(self, name: str) -> None:
        """Raise `StoreError` where the server can't hold the store. ``name`` is what messages call it."""
        problem = self._problem()
        if problem:
            raise StoreError(f"{name}: {problem}")

    def _problem(self) -> str:
        if self.version < _OLDEST:
            return (
                f"the server is PostgreSQL {self.version // 10_000}, and 13 is the oldest that is supported"
            )
        if self.in_recovery:
            return "it is a standby or a read replica: give the primary's address"
        if self.read_only:
            return "its transactions are read-only (default_transaction_read_only): nothing can be written"
        if self.synchronous_commit == "off":
            return (
                "synchronous_commit is off: the server would forget what was paid in a crash. Turn it on for "
                "this role: ALTER ROLE … SET synchronous_commit = on"
            )
        if self.encoding != "UTF8":
            return f"the database's encoding is {self.encoding}, and keys can be any text: create it as UTF8"
        return ""


async def check_server(connections: Connections) -> None:
    """Raise `StoreError` where this server can't hold the store."""
    rows = await connections.fetch(_FACTS)
    ServerFacts(*rows[0]).check(connections.name)


async def check_rights(connections: Connections, schema: str) -> None:
    """Raise `StoreError` where the role lacks a right on the schema's tables."""
    rows = await connections.fetch(_TABLES_WITHOUT_RIGHTS, (schema,))
    if rows:
        raise StoreError(
            f"{connections.name}: the role {rows[0][0]!r} lacks rights on the schema {schema!r} (for: "
            f"{', '.join(sorted(row[1] for row in rows))}). Its owner can run: {grants(schema, rows[0][0])}"
        )


def grants(schema: str, role: str) -> str:
    """The statements that give a role all the rights on the schema that an application needs.

    Raises `ConfigurationError` for what is no name.
    """
    place, user = quoted(require_schema(schema)), quoted(option.name("role", role, of="role"))
    return (
        f"GRANT USAGE ON SCHEMA {place} TO {user}; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {place} TO {user};"
    )
