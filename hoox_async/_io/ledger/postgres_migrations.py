"""The versions of the shared store's schema, and how a database gets the newest one while it is in use.

Migrations only add: older releases go on with a newer schema. So a function that changes gets a new name
(``reserve_2``), a new column has a default, and nothing is renamed or dropped while a supported release uses
it. Only a migration whose ``minimum_client`` is higher than what a release knows makes that release stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import StoreError
from .dialect import in_schema, postgres, quoted
from .postgres_connections import Connections
from .postgres_errors import DatabaseError
from .schema import SHARED_TABLES, TABLES
from .statements import alive

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

    Raises `StoreError`, also where the schema is too new for this release, or can't be migrated.
    """
    known = migrations[-1].version
    state = await read_state(connections, schema)
    state.check(connections.name, known)
    if state.version < known:
        await migrate(connections, schema, migrations)


async def read_state(connections: Connections, schema: str) -> SchemaState:
    """The schema's version, and which clients it admits."""
    found = await connections.fetch(_EXISTS, (in_schema("hoox.schema_versions", schema),))
    if not found[0][0]:
        return SchemaState(0, 0)
    rows = await connections.fetch(in_schema(_STATE, schema), (in_schema(_IN_ALL_RELEASES, schema),))
    return SchemaState(*rows[0])


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
        state = await _read_state_on(connection, schema)
        state.check(name, known)
        missing = [migration for migration in migrations if migration.version > state.version]
        for migration in missing:
            for statement in migration.statements:
                await connection.execute(postgres(schema).compile(statement).encode())
            await connection.execute(
                in_schema(_APPLIED, schema).encode(), (migration.version, migration.minimum_client)
            )
    return state


async def _read_state_on(connection: AsyncConnection[Any], schema: str) -> SchemaState:
    cursor = await connection.execute("SELECT to_regnamespace(%s) IS NULL", (quoted(schema),))
    if (await cursor.fetchall())[0][0]:
        await connection.execute(f"CREATE SCHEMA {quoted(schema)}".encode())
    cursor = await connection.execute(_EXISTS, (in_schema("hoox.schema_versions", schema),))
    if not (await cursor.fetchall())[0][0]:
        return SchemaState(0, 0)
    mark = in_schema(_IN_ALL_RELEASES, schema)
    cursor = await connection.execute(in_schema(_STATE, schema).encode(), (mark,))
    return SchemaState(*(await cursor.fetchall())[0])
