"""Migrations while the store is in use, and servers, roles and schemas that can't hold it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest
from internals_kit import MIGRATIONS, Connections, DatabaseUrl, IntentState, Migration, Workspace
from postgres_kit import Server, TestRun, unique_name
from store_kit import WORKSPACE, accept, planned, send, settle

from hoox_async._io.ledger import postgres_schema as migrations
from hoox_async._io.ledger import statements
from hoox_async._io.ledger.postgres_schema import ServerFacts
from hoox_async.errors import ConfigurationError, StoreError, StoreMismatch
from hoox_async.postgres import PostgresDatabase, migrate_database, workspace_exists

NEXT = MIGRATIONS[-1].version + 1
NEXT_SQL = """
ALTER TABLE hoox.intents ADD COLUMN colour text NOT NULL DEFAULT 'grey';
ALTER TABLE hoox.members ADD COLUMN colour text;
CREATE TABLE hoox.colours (name text PRIMARY KEY);
CREATE INDEX intents_colour ON hoox.intents (colour);
"""


@pytest.fixture
def newer() -> list[Migration]:
    """The migrations of a made-up next release, which adds a table and two columns."""
    return [*MIGRATIONS, Migration(NEXT, (NEXT_SQL,))]


def database(url: str, schema: str, newest: list[Migration] | None = None) -> PostgresDatabase:
    """A database object of this version, or of one that knows these migrations."""
    opened = PostgresDatabase(url, schema=schema)
    if newest is not None:
        opened._migrations = newest
    return opened


def versions(server: Server, schema: str) -> list[int]:
    with server.connect() as connection:
        rows = connection.execute(f'SELECT version FROM "{schema}".schema_versions ORDER BY version')
        return [row[0] for row in rows.fetchall()]


async def test_many_processes_that_start_at_once_migrate_once(
    postgres: Server, postgres_url: str, postgres_schema: str
) -> None:
    """Twelve processes open a database without tables at the same time: one makes them, and all work."""
    databases = [database(postgres_url, postgres_schema) for _ in range(12)]
    await asyncio.gather(*(each.open() for each in databases))
    assert versions(postgres, postgres_schema) == [migration.version for migration in MIGRATIONS]
    await asyncio.gather(*(each.aclose() for each in databases))


async def test_an_old_process_goes_on_while_a_new_one_migrates(
    postgres: Server, postgres_url: str, postgres_schema: str, newer: list[Migration]
) -> None:
    """An old process submits all the time, is not disturbed by the migration, and can be started again."""
    async with database(postgres_url, postgres_schema) as old:
        store = old.workspace("shop")
        await store.open(WORKSPACE)
        migrated = asyncio.Event()

        async def submit() -> int:
            count = 0
            while not migrated.is_set() or count < 20:
                count += 1
                key = f"k{count}"
                await store.plan(planned(key))
                await store.advance(key, send(f"att_{count}"))
                await store.advance(key, accept(f"look_{count}"), settle(f"look_{count}"))
            return count

        submitting = asyncio.create_task(submit())
        async with database(postgres_url, postgres_schema, newer) as new:
            assert versions(postgres, postgres_schema)[-1] == NEXT
            migrated.set()
            count = await submitting
            other = new.workspace("shop")
            await other.open(WORKSPACE)
            assert len(await other.in_states([IntentState.READY])) == count
            await other.aclose()
        await store.aclose()
    async with database(postgres_url, postgres_schema) as restarted:
        store = restarted.workspace("shop")
        await store.open(WORKSPACE)
        await store.plan(planned("after"))
        assert (await store.advance("after", send("att"))).state is IntentState.SENDING
        await store.aclose()


async def test_a_migration_waits_for_a_table_only_briefly(
    postgres: Server, postgres_url: str, postgres_schema: str, newer: list[Migration],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """While a long transaction reads a table, a migration gives up its turn, and tries again later."""
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migrations, "_PAUSE", 0.05)
    tries = 0
    migrate_once = migrations._migrate

    with postgres.connect() as reader:

        async def count_tries(*args: object) -> object:
            nonlocal tries
            tries += 1
            if tries == 3:
                reader.execute("COMMIT")
            return await migrate_once(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(migrations, "_migrate", count_tries)
        async with database(postgres_url, postgres_schema):
            pass
        tries = 0
        reader.execute(f'BEGIN; SELECT * FROM "{postgres_schema}".intents')
        async with database(postgres_url, postgres_schema, newer):
            assert (tries, versions(postgres, postgres_schema)[-1]) == (3, NEXT)


async def test_a_migration_that_fails_leaves_nothing(
    postgres: Server, postgres_url: str, postgres_schema: str
) -> None:
    """A migration is one transaction: where its second statement fails, the first one has no effect."""
    async with database(postgres_url, postgres_schema):
        pass
    twice = ("CREATE TABLE hoox.colours (name text)",) * 2
    with pytest.raises(StoreError, match="already exists"):
        await database(postgres_url, postgres_schema, [*MIGRATIONS, Migration(NEXT, twice)]).open()
    assert versions(postgres, postgres_schema)[-1] == MIGRATIONS[-1].version


async def test_a_schema_that_needs_a_newer_release_is_refused(
    postgres: Server, postgres_url: str, postgres_schema: str
) -> None:
    """Only where the schema's stated minimum is above what this version knows it is refused."""
    async with database(postgres_url, postgres_schema):
        pass
    insert = f'INSERT INTO "{postgres_schema}".schema_versions (version, minimum_client) VALUES (%s, %s)'
    with postgres.connect() as connection:
        connection.execute(insert, (NEXT, NEXT - 1))
    async with database(postgres_url, postgres_schema):
        pass
    with postgres.connect() as connection:
        connection.execute(insert, (NEXT + 1, NEXT + 1))
    with pytest.raises(StoreError, match="upgrade hoox-async"):
        await database(postgres_url, postgres_schema).open()
    with pytest.raises(StoreError, match="upgrade hoox-async"):
        await migrate_database(postgres_url, schema=postgres_schema)


async def test_a_schema_from_before_the_first_release_is_refused(
    postgres: Server, postgres_url: str, postgres_schema: str
) -> None:
    """Tables of development, whose schema was 2 at last, are refused, and the message says what to do."""
    with postgres.connect() as connection:
        connection.execute(f'CREATE SCHEMA "{postgres_schema}"')
        versions = f'"{postgres_schema}".schema_versions'
        connection.execute(f"CREATE TABLE {versions} AS SELECT 2 AS version, 2 AS minimum_client")
    for opening in (
        database(postgres_url, postgres_schema).open(),
        migrate_database(postgres_url, schema=postgres_schema),
        workspace_exists(postgres_url, "shop", schema=postgres_schema),
    ):
        with pytest.raises(StoreError, match=r"before the first release .* drop that schema"):
            await opening


async def test_migrating_by_hand_says_from_where_to_where(postgres_url: str, postgres_schema: str) -> None:
    """`migrate_database` makes the tables and opens nothing; said again, it changes nothing."""
    newest = MIGRATIONS[-1].version
    assert await migrate_database(postgres_url, schema=postgres_schema) == (0, newest)
    assert await migrate_database(postgres_url, schema=postgres_schema) == (newest, newest)


async def test_a_schema_of_any_name(postgres: Server, postgres_url: str) -> None:
    """The schema's name may need quotes, and hold what is special in patterns and formats."""
    schema = f'Our\\1 "schema" {{}} {unique_name()}'
    try:
        async with database(postgres_url, schema) as opened:
            store = opened.workspace("shop")
            await store.open(WORKSPACE)
            await store.plan(planned("a"))
            await store.aclose()
    finally:
        with postgres.connect() as connection:
            quoted = statements.quoted(schema)
            connection.execute(f"DROP SCHEMA {quoted} CASCADE")


@pytest.fixture
def role(postgres: Server) -> Iterator[str]:
    """A role that may connect and nothing more."""
    name = unique_name()
    with postgres.connect() as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN")
        yield name
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")


async def test_a_role_without_rights_is_told_which(postgres: Server, postgres_schema: str, role: str) -> None:
    """A role that can't make the tables, or use them, is refused with what to do; done, it works."""
    url = postgres.url.replace("://hoox@", f"://{role}@")
    with pytest.raises(StoreError, match="hoox-async store migrate"):
        await database(url, postgres_schema).open()
    await migrate_database(postgres.url, schema=postgres_schema)
    with postgres.connect() as connection:
        for right in ("CONNECT ON DATABASE postgres", f"USAGE ON SCHEMA {postgres_schema}"):
            connection.execute(f"GRANT {right} TO {role}".encode())
            with pytest.raises(StoreError, match=r"lacks rights.*intents.*workspaces") as refused:
                await database(url, postgres_schema).open()
        statements = str(refused.value).partition("Its owner can run: ")[2]
        assert statements.count("GRANT") == 2
        connection.execute(statements.encode())
    async with database(url, postgres_schema) as opened:
        store = opened.workspace("shop")
        await store.open(WORKSPACE)
        await store.plan(planned("a"))
        await store.advance("a", send("att_1"), accept("look_1"))
        await store.aclose()


@pytest.mark.parametrize(
    ("setting", "match"),
    [("synchronous_commit = off", "synchronous_commit"), ("default_transaction_read_only = on", "read-only")],
)
async def test_settings_that_forget_or_forbid_are_refused(
    postgres: Server, postgres_schema: str, role: str, setting: str, match: str
) -> None:
    """A role whose commits may be forgotten, or whose transactions are read-only, is refused."""
    with postgres.connect() as connection:
        connection.execute(f"ALTER ROLE {role} SET {setting}")
    with pytest.raises(StoreError, match=match):
        await database(postgres.url.replace("://hoox@", f"://{role}@"), postgres_schema).open()


async def test_a_standby_is_refused(postgres_run: TestRun, own_postgres: Server) -> None:
    """A server in recovery, that is a copy with ``standby.signal``, is a `StoreError` that says so."""
    own_postgres.stop("fast")
    with postgres_run.copied_server(own_postgres) as standby:
        (standby.data / "standby.signal").touch()
        if os.geteuid() == 0:
            os.chown(standby.data / "standby.signal", 65534, 65534)
        standby.start()
        with pytest.raises(StoreError, match="standby or a read replica"):
            await PostgresDatabase(standby.url).open()


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        (ServerFacts(12_00_22, False, False, "on", "UTF8"), "PostgreSQL 12, and 13 is the oldest"),
        (ServerFacts(16_00_01, False, False, "on", "LATIN1"), "encoding is LATIN1"),
    ],
)
def test_servers_that_cannot_be_had_here_are_refused(facts: ServerFacts, match: str) -> None:
    """A server that is too old, or whose texts can't be any text, is a `StoreError`."""
    with pytest.raises(StoreError, match=match):
        facts.check("the database")


@pytest.mark.parametrize("synchronous_commit", ["on", "local", "remote_write", "remote_apply"])
def test_a_server_that_keeps_commits_is_taken(synchronous_commit: str) -> None:
    """Every level of `synchronous_commit` but off keeps what is committed over a crash of the server."""
    ServerFacts(13_00_00, False, False, synchronous_commit, "UTF8").check("the database")


async def test_a_full_disk_is_said_in_plain_words(
    postgres: Server, postgres_url: str, postgres_schema: str
) -> None:
    """SQLSTATE 53100 at a write is a `StoreError` that says that the disk is full; nothing was written."""
    async with database(postgres_url, postgres_schema) as opened:
        store = opened.workspace("shop")
        await store.open(WORKSPACE)
        with postgres.connect() as connection:
            connection.execute(
                f"CREATE FUNCTION {postgres_schema}.full() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
            )
            connection.execute(
                f"CREATE TRIGGER full_disk BEFORE INSERT ON {postgres_schema}.intents "
                f"FOR EACH ROW EXECUTE FUNCTION {postgres_schema}.full()"
            )
        with pytest.raises(StoreError, match=r"workspace 'shop'.*its disk is full"):
            await store.plan(planned("a"))
        assert await store.get(["a"]) == {}
        await store.aclose()


async def test_another_workspaces_key_is_refused_by_name(postgres_url: str, postgres_schema: str) -> None:
    """Another API key is a `StoreMismatch` that names host, database and workspace, and no key."""
    async with database(postgres_url, postgres_schema) as opened:
        store = opened.workspace("shop")
        await store.open(WORKSPACE)
        await store.plan(planned("a"))
        await store.advance("a", send("att_1"))
        await store.aclose()
        with pytest.raises(StoreMismatch, match=r"database 'postgres' on .*workspace 'shop'") as caught:
            await store.open(Workspace(WORKSPACE.base_url, "hx_live_other"))
    assert WORKSPACE.api_key not in str(caught.value)
    assert "hx_live_other" not in str(caught.value)


async def test_a_closed_database_says_so(postgres_url: str, postgres_schema: str) -> None:
    """A workspace of a database that is not open, or not open any more, is a `StoreError`."""
    opened = database(postgres_url, postgres_schema)
    store = opened.workspace("shop")
    with pytest.raises(StoreError, match="not open"):
        await store.open(WORKSPACE)
    async with opened:
        await store.open(WORKSPACE)
    with pytest.raises(StoreError, match="not open"):
        await store.get(["a"])
    await store.aclose()


async def test_a_damaged_record_is_not_read(
    postgres: Server, postgres_url: str, postgres_schema: str
) -> None:
    """A record that was changed behind the store's back is a `StoreError` that names its key."""
    async with database(postgres_url, postgres_schema) as opened:
        store = opened.workspace("shop")
        await store.open(WORKSPACE)
        await store.plan(planned("a"))
        with postgres.connect() as connection:
            connection.execute(f"UPDATE {postgres_schema}.intents SET record = record || ' '")
        with pytest.raises(StoreError, match="'a' is damaged"):
            await store.get(["a"])
        await store.aclose()


async def test_a_schema_is_migrated_once_by_several_hands(postgres_url: str, postgres_schema: str) -> None:
    """Migrations run one after the other: the second finds nothing to do."""
    newest = MIGRATIONS[-1].version
    several = (migrate_database(postgres_url, schema=postgres_schema) for _ in range(4))
    assert sorted(await asyncio.gather(*several)) == [(0, newest), *[(newest, newest)] * 3]


async def test_a_cancelled_migration_is_rolled_back(
    postgres: Server, postgres_url: str, postgres_schema: str
) -> None:
    """A process that is ended while it waits for its turn leaves no lock behind."""
    opened = Connections(DatabaseUrl.parse(postgres_url), 1)
    with postgres.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (migrations._LOCK, postgres_schema))
        waiting = asyncio.create_task(migrations.migrate(opened, postgres_schema))
        await asyncio.sleep(0.2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        holder.execute("COMMIT")
    await opened.aclose()
    assert await migrate_database(postgres_url, schema=postgres_schema) == (0, MIGRATIONS[-1].version)


async def test_opening_twice_is_refused(postgres_url: str, postgres_schema: str) -> None:
    """A database object is opened once at a time, and again after it was closed."""
    opened = database(postgres_url, postgres_schema)
    async with opened:
        with pytest.raises(StoreError, match="open already"):
            await opened.open()
    async with opened:
        pass
    with pytest.raises(ConfigurationError):
        opened.workspace("")
