"""The servers that the tests of the PostgreSQL store use: shared, crashed, stopped, behind a proxy."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from postgres_kit import Proxy, Server, TestRun, process_state, server_binaries, wait_until

TESTS = Path(__file__).parent
OWNER = """
import sys, time
from postgres_kit import TestRun
with TestRun.owned() as run:
    print(run.folder, run.shared_server().postmaster, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
async def proxy(postgres: Server) -> AsyncIterator[Proxy]:
    """A proxy in front of the shared server."""
    async with Proxy(postgres.socket) as proxy:
        yield proxy


def test_commits_are_durable_for_the_server(postgres_url: str) -> None:
    """The server acknowledges a commit when it is written: the store refuses one that does not."""
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


@pytest.mark.parametrize("turn", [1, 2])
def test_a_schema_a_test(postgres: Server, postgres_schema: str, turn: int) -> None:
    """Each test gets a schema that does not exist yet, and what it makes in it is gone afterwards."""
    with postgres.connect() as connection:
        connection.execute(f'CREATE SCHEMA "{postgres_schema}"')
        connection.execute(f'CREATE TABLE "{postgres_schema}".kept AS SELECT 1')


def test_a_schema_is_dropped(postgres: Server) -> None:
    """At the end of the fixture the schema is dropped with all that is in it."""
    with postgres.schema() as name, postgres.connect() as connection:
        connection.execute(f'CREATE SCHEMA "{name}"')
    with postgres.connect() as connection:
        assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,)).fetchone() is None


def test_connections_are_ended_by_the_server(postgres: Server, postgres_database: str) -> None:
    """`terminate` ends the connections to one database and no others."""
    database = postgres_database.split("?")[0].rsplit("/", 1)[1]
    with psycopg.connect(postgres_database) as victim, postgres.connect() as other:
        assert postgres.terminate(database) == 1
        with pytest.raises(psycopg.OperationalError):
            victim.execute("SELECT 1")
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_a_crash_keeps_what_was_committed(own_postgres: Server) -> None:
    """A server that crashes and starts again is at the same place, and has what was committed."""
    with own_postgres.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    own_postgres.restart()
    with own_postgres.connect() as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (7,)


@pytest.mark.slow
async def test_a_server_that_stands_still_goes_on(own_postgres: Server) -> None:
    """Nobody gets an answer of a server that stands still, and the open connections work afterwards."""
    async with await psycopg.AsyncConnection.connect(own_postgres.url, autocommit=True) as connection:
        with own_postgres.standing_still():
            assert process_state(connection.info.backend_pid) == "T"
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


def test_a_standby_is_a_copy(postgres_run: TestRun, own_postgres: Server) -> None:
    """A copy of a stopped server's data with ``standby.signal`` starts as a standby."""
    own_postgres.stop("fast")
    with postgres_run.copied_server(own_postgres) as standby:
        (standby.data / "standby.signal").touch()
        standby.start()
        with standby.connect() as connection:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    own_postgres.start()


async def test_the_proxy_passes_holds_and_cuts(proxy: Proxy) -> None:
    """A connection through the proxy works, waits while it holds, goes on, and ends when it is cut."""
    async with await psycopg.AsyncConnection.connect(proxy.url, autocommit=True) as connection:
        proxy.hold()
        answer = connection.execute("SELECT 1")
        proxy.release()
        assert await (await answer).fetchone() == (1,)
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT 1")


async def test_an_answer_is_dropped_and_the_statement_executed(
    postgres: Server, postgres_schema: str, proxy: Proxy
) -> None:
    """With ``drop_answers`` a statement is executed, and its client never hears so."""
    async with await psycopg.AsyncConnection.connect(proxy.url, autocommit=True) as connection:
        proxy.drop_answers = True
        task = asyncio.ensure_future(connection.execute(f'CREATE SCHEMA "{postgres_schema}"'))
        with postgres.connect() as observer:
            query = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
            async with asyncio.timeout(30):
                while observer.execute(query, (postgres_schema,)).fetchone() is None:
                    await asyncio.sleep(0.01)
        assert not task.done()
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            await task


@pytest.mark.pgbouncer
def test_the_pooler_is_in_transaction_mode(pgbouncer_url: str) -> None:
    """Behind the pooler two clients that take turns share one connection to the server."""
    connect = partial(psycopg.connect, pgbouncer_url, autocommit=True)
    with connect() as first, connect() as second:
        pids = {client.execute("SELECT pg_backend_pid()").fetchone() for client in (first, second)}
    assert len(pids) == 1


@pytest.mark.pgbouncer
def test_a_new_database_is_reached_through_the_pooler(postgres: Server, postgres_run: TestRun) -> None:
    """The URL of a database of one's own can lead through the pooler: clients share its connection too."""
    with postgres.database(postgres_run.pooler()) as url:
        connect = partial(psycopg.connect, url, autocommit=True)
        statement = "SELECT current_database(), pg_backend_pid()"
        with connect() as first, connect() as second:
            found = {client.execute(statement).fetchone() for client in (first, second)}
    (row,) = found
    assert row is not None
    assert f"/{row[0]}?" in url


@pytest.mark.slow
@pytest.mark.skipif(server_binaries() is None, reason="there is no PostgreSQL")
def test_nothing_is_left_of_a_run_that_is_killed() -> None:
    """When the owner of a test run is killed, its servers are stopped and its folder is deleted."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner:
        folder, postmaster = owner.stdout.readline().split()
        assert (Path(folder) / "keeper").exists()
        owner.kill()
    wait_until(lambda: not Path(folder).exists())
    assert process_state(int(postmaster)) in "ZX"  # a zombie is left where nobody reaps it
