"""What a PostgreSQL database must be before anything is paid for: its server, its tables, our rights on them.

The tables have versions, and whoever comes first makes the newest, also while others use the schema.
Migrations only add: older releases go on with a newer schema. So a function that changes gets a new name
(``reserve_2``), a new column has a default, and nothing is renamed or dropped while a supported release uses
it. Only a migration whose ``minimum_client`` is higher than what a release knows makes that release stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._checks import option
from ...errors import StoreError
from .postgres_connections import Connections, DatabaseError
from .postgres_url import require_schema
from .schema import SHARED_TABLES, TABLES
from .statements import alive, postgres, quoted

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_LOCK = 0x486F6F78  # "Hoox", with the schema's name: migrations of one schema run one after the other
_MIGRATION_OF_OTHERS = "100s"  # how long to wait for it
_LOCK_TIMEOUT = "3s"  # how long a migration that waits for a table can hold up others' statements
_DEADLINE = 120.0  # seconds
_TRIES = 5
_PAUSE = 1.0  # seconds
_LOCK_NOT_AVAILABLE = "55P03"
_INSUFFICIENT_PRIVILEGE = "42501"


class Migration(NamedTuple):
    """One version of the schema: the statements that make it from the version before.

    ``minimum_client``: releases that do not know this version can't use the schema any more.
    """

    version: int
    statements: Sequence[str]
    minimum_client: int = 1


_SQL = Path(__file__).with_name("sql")
_KEY_SALT = """
INSERT INTO hoox.key_salt (id, salt)
SELECT 1, replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
"""
_IS_ALIVE = f"""
CREATE FUNCTION hoox.is_alive_1(member text) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM hoox.members m WHERE m.id = $1 AND {alive("m")}) $$
"""  # noqa: S608

_CLOCK = ((_SQL / "clock_1.sql").read_text(encoding="utf-8"),)
_QUOTA = (_KEY_SALT, _IS_ALIVE, (_SQL / "quota_1.sql").read_text(encoding="utf-8"))

MIGRATIONS: Sequence[Migration] = (Migration(1, (*_CLOCK, *TABLES, *SHARED_TABLES, *_QUOTA)),)


class SchemaState(NamedTuple):
    """What a database says of its schema. Version 0: there is none yet."""

    version: int
    minimum_client: int
    is_released: bool = True

    def check(self, name: str, known: int) -> None:
        """Raise `StoreError` where releases that know the schema up to ``known`` can't use it.

        None can use one from before the first release.
        """
        if not self.is_released:
            raise StoreError(
                f"{name}: its tables were made before the first release of hoox-async (schema "
                f"{self.version}) and can't be read any more: drop that schema, or use another database"
            )
        if self.minimum_client > known:
            raise StoreError(
                f"{name}: its tables were changed by a newer version of hoox-async and need at least schema "
                f"{self.minimum_client}; this one knows {known}: upgrade hoox-async"
            )


async def ensure_newest(
    connections: Connections, schema: str, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Migrate the schema where it is older than the newest migration. Whoever comes first does it.

    Raises `StoreError`, also where the schema is too new for this release, can't be migrated, or where the
    role lacks rights on its tables.
    """
    known = migrations[-1].version
    await _check_rights(connections, schema)  # first: a role without any can't read the version either
    state = await connections.run(lambda connection: _read_state(connection, schema))
    state.check(connections.name, known)
    if state.version < known:
        await migrate(connections, schema, migrations)
        await _check_rights(connections, schema)  # another role may have made the new tables meanwhile


async def has_tables(connections: Connections, schema: str) -> bool:
    """Whether the schema has the tables. Raises `StoreError` where this release can't use them."""
    state = await connections.run(lambda connection: _read_state(connection, schema))
    state.check(connections.name, MIGRATIONS[-1].version)
    return bool(state.version)


_IN_ALL_RELEASES = "hoox.sends"  # what was made before the first one has no such table
_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
_STATE = (
    "SELECT coalesce(max(version), 0), coalesce(max(minimum_client), 0), to_regclass(%s) IS NOT NULL "
    "FROM hoox.schema_versions"
)
_APPLIED = "INSERT INTO hoox.schema_versions (version, minimum_client) VALUES (%s, %s)"


async def migrate(
    connections: Connections, schema: str, migrations: Sequence[Migration] = MIGRATIONS
) -> SchemaState:
    """Bring the schema to the newest version in one transaction, and return its state before.

    Raises `StoreError` where the role may not do that, or where others keep a table locked for too long.
    """
    for _ in range(_TRIES - 1):
        try:
            return await _migrate(connections, schema, migrations)
        except DatabaseError as error:
            if error.sqlstate != _LOCK_NOT_AVAILABLE:
                raise
        await asyncio.sleep(_PAUSE)
    return await _migrate(connections, schema, migrations)


async def _migrate(connections: Connections, schema: str, migrations: Sequence[Migration]) -> SchemaState:
    try:
        return await connections.run(
            lambda connection: _migrate_on(connection, connections.name, schema, migrations),
            deadline=_DEADLINE,
            survives=False,
        )
    except DatabaseError as error:
        if error.sqlstate != _INSUFFICIENT_PRIVILEGE:
            raise
        raise StoreError(
            f"{error}. Its schema {schema!r} is older than this release, and this role may not change it: "
            "run `hoox-async store migrate` with a role that may; it prints the GRANT statements for this one"
        ) from None


async def _migrate_on(
    connection: AsyncConnection[Any], name: str, schema: str, migrations: Sequence[Migration]
) -> SchemaState:
    known = migrations[-1].version
    async with connection.transaction():
        # not the role's, which is for short statements
        await connection.execute(f"SET LOCAL statement_timeout = '{_DEADLINE:g}s'".encode())
        await connection.execute(f"SET LOCAL lock_timeout = '{_MIGRATION_OF_OTHERS}'".encode())
        await connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, schema))
        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'".encode())
        cursor = await connection.execute("SELECT to_regnamespace(%s) IS NULL", (quoted(schema),))
        if (await cursor.fetchall())[0][0]:
            await connection.execute(f"CREATE SCHEMA {quoted(schema)}".encode())
        state = await _read_state(connection, schema)
        state.check(name, known)
        missing = [migration for migration in migrations if migration.version > state.version]
        for migration in missing:
            for statement in migration.statements:
                await connection.execute(postgres(schema).compile(statement).encode())
            await connection.execute(
                postgres(schema).compile(_APPLIED).encode(), (migration.version, migration.minimum_client)
            )
    return state


async def _read_state(connection: AsyncConnection[Any], schema: str) -> SchemaState:
    """The schema's version, and which clients it admits."""
    compiled = postgres(schema).compile
    cursor = await connection.execute(_EXISTS, (compiled("hoox.schema_versions"),))
    if not (await cursor.fetchall())[0][0]:
        return SchemaState(0, 0)
    cursor = await connection.execute(compiled(_STATE).encode(), (compiled(_IN_ALL_RELEASES),))
    return SchemaState(*(await cursor.fetchall())[0])


# --- the server and the role

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


async def _check_rights(connections: Connections, schema: str) -> None:
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
