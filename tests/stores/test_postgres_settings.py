"""Settings of a role or a database that change how statements run, and what is read and written."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo
from urllib.parse import quote

import pytest
from internals_kit import MIGRATIONS, Connections, DatabaseUrl, IntentState, Migration
from postgres_kit import Server
from store_kit import NOW, WORKSPACE, accept, after, planned, send

from hoox_async import HooxSession, LookEdit
from hoox_async.errors import StoreError
from hoox_async.postgres import PostgresDatabase
from hoox_async.sandbox import InProcessTransport, Space


def url_with(server: Server, setting: str) -> str:
    """The server's URL for connections that have this setting, as those of a role have that was altered."""
    return f"{server.url}&options={quote(f'-c {setting}')}"


@pytest.mark.parametrize(
    "setting",
    [
        "DateStyle=German",
        "TimeZone=Asia/Kolkata",
        "standard_conforming_strings=off",
        "bytea_output=escape",
        "default_transaction_isolation=serializable",
        "search_path=nowhere",
    ],
)
async def test_no_setting_changes_what_is_stored(
    postgres: Server, postgres_schema: str, setting: str
) -> None:
    """A process with that setting and one without read the same intents, times and API key."""
    for url in (url_with(postgres, setting), postgres.url, url_with(postgres, setting)):
        async with PostgresDatabase(url, schema=postgres_schema) as database:
            store = database.workspace("shop")
            await store.open(WORKSPACE)
            store.confirm_key()
            if await store.plan(planned("a")) == planned("a"):
                await store.advance("a", send("att_1"), accept("look_1"))
            found = (await store.get(["a"]))["a"]
            assert (found.state, found.sent_at) == (IntentState.ACCEPTED, NOW)
            assert await store.recent_sends(after(-1)) == [NOW]
            assert abs(database.require_member().clock.utc() - datetime.now(UTC)) < timedelta(minutes=1)
            await store.aclose()


async def test_the_clock_of_a_process_is_used_for_nothing_that_others_read(
    postgres: Server, postgres_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine's UTC is set by an hour while its process runs: what it writes goes by the database's."""

    class AnHourLater(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=1)

    space = Space(requests_per_minute=None)
    transport = InProcessTransport(space)
    async with PostgresDatabase(postgres.url, schema=postgres_schema) as database:
        store = database.workspace("shop")
        async with HooxSession(space.api_key, transport=transport, store=store) as session:
            monkeypatch.setattr("hoox_async._io.clock.datetime", AnHourLater)
            await session.submit(LookEdit("avtr_public_ada:look_public_ada", "podcast"), key="a")
            [stored] = (await store.get(["a"])).values()
            [attempt] = stored.attempts
            for moment in (stored.planned_at, attempt.sent_at, stored.accepted_at):
                assert moment is not None
                assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)


async def test_what_the_server_has_rolled_back_for_others_is_tried_again(
    postgres: Server, postgres_schema: str
) -> None:
    """Two statements change one row, in transactions that are repeatable reads by default: both succeed."""
    repeatable = r"default_transaction_isolation=repeatable\ read"
    connections = Connections(DatabaseUrl.parse(url_with(postgres, repeatable)), 2)
    add = f"UPDATE {postgres_schema}.counts SET count = count + 1 RETURNING count"
    with postgres.connect() as other:
        other.execute(f"CREATE SCHEMA {postgres_schema}")
        other.execute(f"CREATE TABLE {postgres_schema}.counts AS SELECT 0 AS count")
        other.execute("BEGIN")
        other.execute(add)
        adding = asyncio.create_task(connections.fetch(add))
        waiting = (
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid"
        )
        async with asyncio.timeout(60):
            while other.execute(waiting).fetchone()[0] == 0:
                await asyncio.sleep(0.01)
        other.execute("COMMIT")
        assert await adding == [(2,)]
    await connections.aclose()


async def test_a_statement_timeout_is_named_and_holds_up_no_migration(
    postgres: Server, postgres_schema: str
) -> None:
    """A statement that a role's statement_timeout ends says so; a migration goes by its own deadline."""
    connections = Connections(DatabaseUrl.parse(url_with(postgres, "statement_timeout=10ms")), 1)
    with pytest.raises(StoreError, match="role's or database's statement_timeout"):
        await connections.fetch("SELECT pg_sleep(1)")
    await connections.aclose()
    told = "CREATE TABLE hoox.told AS SELECT current_setting('statement_timeout') AS timeout"
    database = PostgresDatabase(url_with(postgres, "statement_timeout=59s"), schema=postgres_schema)
    database._migrations = [*MIGRATIONS, Migration(MIGRATIONS[-1].version + 1, [told])]
    async with database:
        pass
    with postgres.connect() as connection:
        assert connection.execute(f"SELECT timeout FROM {postgres_schema}.told").fetchone() == ("2min",)


async def test_members_that_were_killed_long_ago_are_forgotten(
    postgres: Server, postgres_schema: str
) -> None:
    """A process that begins deletes the rows of members whose lease has been over for a day."""
    async with PostgresDatabase(postgres.url, schema=postgres_schema):
        with postgres.connect() as connection:
            for name, hours in {"long ago": 25, "lately": 1}.items():
                connection.execute(
                    f"INSERT INTO {postgres_schema}.members "
                    f"SELECT '{name}', 'host', 1, 10000000, moment, moment, '' "
                    f"FROM (SELECT extract(epoch FROM {postgres_schema}.now_1() - interval '{hours} hours') "
                    "* 1000000) AS one (moment)"
                )
            async with PostgresDatabase(postgres.url, schema=postgres_schema):
                left = connection.execute(f"SELECT id FROM {postgres_schema}.members").fetchall()
    assert len(left) == 3
    assert ("lately",) in left


async def test_a_schema_may_have_any_name(postgres: Server) -> None:
    """The name of the schema is taken as it is, whatever of the statements' own notation is in it."""
    schema = 'A "shop": :me {now} hoox.x'
    try:
        async with PostgresDatabase(postgres.url, schema=schema) as database:
            store = database.workspace("shop")
            await store.open(WORKSPACE)
            await store.plan(planned("a"))
            await store.advance("a", send("att_1"), accept("look_1"))
            assert [intent.state async for intent in store.read_unopened()] == [IntentState.ACCEPTED]
            await store.aclose()
    finally:
        with postgres.connect() as connection:
            connection.execute('DROP SCHEMA IF EXISTS "A ""shop"": :me {now} hoox.x" CASCADE')
