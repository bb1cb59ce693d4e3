"""Connections to a real server: deadlines, cancellation, servers that restart, stand still or are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from internals_kit import Connections, DatabaseUrl, PostgresEngine, SharedLedger, Transaction, postgres
from postgres_kit import USER, Proxy, Server
from store_kit import WORKSPACE, planned

from hoox_async.errors import StoreError
from hoox_async.postgres import PostgresDatabase

PID = "SELECT pg_backend_pid()"
WAITING_FOR_STANDBY = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@asynccontextmanager
async def connections(url: str, limit: int = 2, deadline: float = 10.0) -> AsyncIterator[Connections]:
    """Connections that are closed at the end."""
    opened = Connections(DatabaseUrl.parse(url), limit, deadline=deadline)
    try:
        yield opened
    finally:
        await opened.aclose()


async def test_a_statement_that_hangs_ends_at_its_deadline(postgres_url: str) -> None:
    """The caller gets a `StoreError` that says how long it waited, and the next statement works."""
    async with connections(postgres_url, limit=1, deadline=0.5) as opened:
        with pytest.raises(StoreError, match=r"did not answer within 0\.5 s"):
            await opened.fetch("SELECT pg_sleep(60)")
        assert await opened.fetch("SELECT 1") == [(1,)]


async def test_waiting_for_a_connection_counts(postgres_url: str) -> None:
    """A statement that gets no connection until its deadline is a `StoreError` as well."""
    async with connections(postgres_url, limit=1, deadline=0.5) as opened:
        ends = await asyncio.gather(
            *(opened.fetch("SELECT pg_sleep(60)") for _ in range(3)), return_exceptions=True
        )
    assert [type(end) for end in ends] == [StoreError] * 3


async def test_a_network_that_stands_still_is_noticed(postgres: Server) -> None:
    """Nothing passes in either direction, while a statement runs and while a connection is made."""
    async with Proxy(postgres.socket) as proxy, connections(proxy.url, deadline=0.5) as opened:
        assert await opened.fetch("SELECT 1") == [(1,)]
        proxy.hold()
        for _ in range(2):
            with pytest.raises(StoreError, match="did not answer"):
                await opened.fetch("SELECT 2")
        proxy.release()
        assert await opened.fetch("SELECT 3") == [(3,)]


async def test_a_cancelled_caller_leaves_its_statement_to_end(
    postgres: Server, postgres_schema: str, postgres_url: str
) -> None:
    """The statement takes place, and its connection is used again."""
    with postgres.connect() as connection:
        connection.execute(f"CREATE SCHEMA {postgres_schema}")
        connection.execute(f"CREATE TABLE {postgres_schema}.t (n int)")
    async with connections(postgres_url, limit=1) as opened:
        [(before,)] = await opened.fetch(PID)
        insert = f"INSERT INTO {postgres_schema}.t SELECT 1 FROM pg_sleep(0.3)"
        writing = asyncio.create_task(opened.fetch(insert))
        await asyncio.sleep(0.05)
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        [(after,)] = await opened.fetch(PID)
        assert await opened.fetch(f"SELECT n FROM {postgres_schema}.t") == [(1,)]
    assert before == after


async def test_no_more_connections_than_allowed_are_made(postgres: Server) -> None:
    """Twenty statements at once use two connections, one after the other."""
    async with Proxy(postgres.socket) as proxy, connections(proxy.url, limit=2) as opened:
        rows = await asyncio.gather(*(opened.fetch("SELECT 1 FROM pg_sleep(0.01)") for _ in range(20)))
        assert rows == [[(1,)]] * 20
        assert proxy.connections == 2


async def test_where_the_server_refuses_a_connection_one_of_its_own_is_waited_for(
    postgres: Server, postgres_schema: str
) -> None:
    """Four processes want six connections each of a server that allows ten: no statement fails."""
    role = f"role_{postgres_schema}"
    with postgres.connect() as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 10")
        url = postgres.url.replace(f"//{USER}@", f"//{role}@")
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(connections(url, limit=6)) for _ in range(4)]
            for each in opened:
                await each.fetch("SELECT 1")
            rows = await asyncio.gather(
                *(each.fetch("SELECT 1 FROM pg_sleep(0.02)") for each in opened for _ in range(50))
            )
            assert rows == [[(1,)]] * 200
        admin.execute(f"DROP ROLE {role}")


async def test_a_process_goes_on_with_a_single_connection(postgres: Server, postgres_schema: str) -> None:
    """Where the server allows it no second one, it opens, renews its lease and writes with the first."""
    role = f"role_{postgres_schema}"
    with postgres.connect() as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
        admin.execute(f"CREATE SCHEMA {postgres_schema} AUTHORIZATION {role}")
        url = postgres.url.replace(f"//{USER}@", f"//{role}@")
        async with PostgresDatabase(url, schema=postgres_schema) as database:
            store = database.workspace("shop")
            await store.open(WORKSPACE)
            await asyncio.gather(*(store.plan(planned(f"k{n}")) for n in range(20)))
            await database.require_member().renew()
            await store.aclose()
        admin.execute(f"DROP OWNED BY {role} CASCADE")
        admin.execute(f"DROP ROLE {role}")


async def test_what_refuses_a_connection_is_said_in_words(own_postgres: Server) -> None:
    """A wrong password, none, a missing database or role, too many connections: the message names each."""
    folder = own_postgres.folder
    with own_postgres.connect() as admin:
        admin.execute("CREATE ROLE clerk LOGIN PASSWORD 'right'")
        admin.execute("CREATE ROLE many LOGIN CONNECTION LIMIT 0")
        hba = own_postgres.data / "pg_hba.conf"
        hba.write_text(f"local all clerk scram-sha-256\n{hba.read_text()}")
        admin.execute("SELECT pg_reload_conf()")
    wanted = {
        f"postgresql://clerk:wrong@/postgres?host={folder}": "the password is wrong, or missing",
        f"postgresql://clerk@/postgres?host={folder}": "the password is wrong, or missing",
        f"postgresql://{USER}@/nowhere?host={folder}": "there is no such database",
        f"postgresql://nobody@/postgres?host={folder}": "it refused the login",
        f"postgresql://many@/postgres?host={folder}": "it has too many connections: raise",
    }
    for url, words in wanted.items():
        with pytest.raises(StoreError, match=words) as caught:
            await PostgresDatabase(url).open()
        assert "wrong@" not in str(caught.value)


@pytest.mark.slow
async def test_commits_that_hang_use_no_more_connections_than_allowed(own_postgres: Server) -> None:
    """The synchronous standby is gone: each commit hangs, and is cancelled once it is late.

    The server sees ``max_connections`` at most, however long that lasts. Once commits are quick again, writes
    succeed at once.
    """
    name, counts = "hanging", list[int]()
    url = f"{own_postgres.url}&application_name={name}"
    with own_postgres.connect() as admin:

        def set_standby(names: str) -> None:
            admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
            admin.execute("SELECT pg_reload_conf()")

        async with PostgresDatabase(url, max_connections=4, lease=4.5) as database:
            store = database.workspace("shop")
            await store.open(WORKSPACE)
            general, _ = database._connections
            general._deadline = 1.5
            keys = [f"k{n}" for n in range(8)]
            await asyncio.gather(*(store.plan(planned(key)) for key in keys))
            set_standby("gone")
            # The server has not read its settings yet. Renewing the lease is the first commit that hangs.
            while not admin.execute(WAITING_FOR_STANDBY).fetchall():
                await asyncio.sleep(0.01)
            writes = [asyncio.create_task(write_until_done(store, key)) for key in keys]
            for _ in range(100):
                await asyncio.sleep(0.05)
                sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
                counts += [row[0] for row in admin.execute(sql, (name,)).fetchall()]
            assert max(counts) == 4
            assert not any(write.done() for write in writes)
            set_standby("")
            await asyncio.gather(*writes)
            await store.aclose()


@pytest.mark.parametrize("way", ["statement", "message"])
async def test_a_commit_that_the_standby_may_lack_is_not_acknowledged(own_postgres: Server, way: str) -> None:
    """An operator cancels a write that waits for its standby: it is committed, and a `StoreError`."""
    async with connections(own_postgres.url) as opened:
        engine, insert = PostgresEngine(opened, postgres("public")), "INSERT INTO t VALUES (1)"

        def twice(tx: Transaction) -> None:
            tx.write(insert, {})
            tx.write(insert, {})

        def write() -> asyncio.Future[Any]:
            return engine.run(twice) if way == "message" else asyncio.ensure_future(opened.fetch(insert))

        await opened.fetch("CREATE TABLE t (n int)")
        with own_postgres.connect() as admin:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'gone'")
            admin.execute("SELECT pg_reload_conf()")
            cancel = f"SELECT pg_cancel_backend(pid) FROM ({WAITING_FOR_STANDBY}) w"
            writing = write()
            while not admin.execute(cancel).fetchall():
                await asyncio.sleep(0.01)
                if writing.done():  # the server has not read its settings yet
                    writing = write()
            with pytest.raises(StoreError, match="without its synchronous standby"):
                await writing
        assert (await opened.fetch("SELECT count(*) > 0 FROM t")) == [(True,)]


async def write_until_done(store: SharedLedger, key: str) -> None:
    while True:
        with suppress(StoreError):
            await store.advance(key)
            return
        await asyncio.sleep(0.01)


async def test_an_error_of_a_statement_keeps_its_connection(postgres_url: str) -> None:
    """A statement that the server refuses is a `StoreError`, and its connection is used again."""
    async with connections(postgres_url, limit=1) as opened:
        before = await opened.fetch(PID)
        with pytest.raises(StoreError, match="division by zero"):
            await opened.fetch("SELECT 1 / 0")
        assert await opened.fetch(PID) == before


async def test_a_server_that_restarted_is_not_noticed_between_statements(own_postgres: Server) -> None:
    """Connections that ended while they were idle are replaced: no statement fails because of them."""
    async with connections(own_postgres.url) as opened:
        await asyncio.gather(*(opened.fetch("SELECT pg_sleep(0.05)") for _ in range(2)))
        own_postgres.restart()
        assert await asyncio.gather(*(opened.fetch("SELECT 1") for _ in range(4))) == [[(1,)]] * 4
        own_postgres.terminate("postgres")
        with own_postgres.connect() as connection:  # the server only sends a signal to their processes
            left = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'hoox-async'"
            while connection.execute(left).fetchall():
                await asyncio.sleep(0.01)
        assert await opened.fetch("SELECT 2") == [(2,)]


async def test_a_server_that_is_back_is_used_at_once(own_postgres: Server) -> None:
    """While it is gone each statement says why at once, and the first one after that works."""
    async with connections(own_postgres.url) as opened:
        await opened.fetch("SELECT 1")
        own_postgres.stop()
        for _ in range(5):
            with pytest.raises(StoreError, match="the connection failed"):
                await opened.fetch("SELECT 1")
        own_postgres.start()
        assert await opened.fetch("SELECT 1") == [(1,)]


@pytest.mark.slow
async def test_a_server_whose_processes_stand_still_is_noticed(own_postgres: Server) -> None:
    """A server that is stopped (SIGSTOP) keeps its connections open: the deadline ends the statement."""
    async with connections(own_postgres.url, deadline=0.5) as opened:
        await opened.fetch("SELECT 1")
        with own_postgres.standing_still(), pytest.raises(StoreError, match="did not answer"):
            await opened.fetch("SELECT 1")
        assert await opened.fetch("SELECT 1") == [(1,)]


@pytest.mark.slow
async def test_closing_does_not_wait_for_a_server_that_stands_still(own_postgres: Server) -> None:
    """What still runs at the time that is given fails: with a connection, or while it waits for one."""
    opened = Connections(DatabaseUrl.parse(own_postgres.url), 1, deadline=1000.0)
    await opened.fetch("SELECT 1")
    with own_postgres.standing_still():
        running = [asyncio.create_task(opened.fetch("SELECT 1")) for _ in range(2)]
        await asyncio.sleep(0.1)
        await opened.aclose(asyncio.get_running_loop().time() + 0.2)
        for each in running:
            with pytest.raises(StoreError, match="closed"):
                await each
    assert not opened._running


async def test_a_statement_whose_connection_is_cut_fails(postgres: Server) -> None:
    """A connection that is reset while a statement runs is a `StoreError`; the next one is new."""
    async with Proxy(postgres.socket) as proxy, connections(proxy.url) as opened:
        running = asyncio.create_task(opened.fetch("SELECT pg_sleep(60)"))
        while not proxy.connections:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        proxy.cut()
        with pytest.raises(StoreError, match="the connection failed"):
            await running
        assert await opened.fetch("SELECT 1") == [(1,)]


async def test_connections_that_are_not_used_are_closed(postgres: Server) -> None:
    """After a burst the connections that were idle for a while are closed, but for the one in use."""
    async with Proxy(postgres.socket) as proxy, connections(proxy.url, limit=4) as opened:
        await asyncio.gather(*(opened.fetch("SELECT pg_sleep(0.05)") for _ in range(4)))
        assert (proxy.connections, len(opened._idle)) == (4, 4)
        opened.kept_idle = 0.0
        await opened.fetch("SELECT 1")
        assert len(opened._idle) == 1
        await opened.fetch("SELECT 1")
        assert proxy.connections == 4


async def test_closed_connections_execute_nothing(postgres_url: str) -> None:
    """Closing waits for what runs; afterwards a statement is a `StoreError`."""
    opened = Connections(DatabaseUrl.parse(postgres_url), 2)
    running = asyncio.create_task(opened.fetch("SELECT 1 FROM pg_sleep(0.2)"))
    await asyncio.sleep(0.05)
    await opened.aclose()
    assert await running == [(1,)]
    with pytest.raises(StoreError, match="closed"):
        await opened.fetch("SELECT 1")


async def test_a_cancelled_closing_leaves_no_connection_open(
    postgres: Server, postgres_url: str, postgres_schema: str
) -> None:
    """Where the closing is cancelled, each connection is closed when its statement has ended."""
    name = f"test-{postgres_schema}"
    mark = "&" if "?" in postgres_url else "?"
    database = PostgresDatabase(f"{postgres_url}{mark}application_name={name}", schema=postgres_schema)
    await database.open()
    held = list(database._connections)
    with postgres.connect() as admin:
        lock = f"SELECT pg_advisory_xact_lock(hashtext('{name}'))"
        admin.execute("BEGIN")
        admin.execute(lock)
        waiting = asyncio.create_task(held[0].fetch(lock))
        await asyncio.sleep(0.1)
        closing = asyncio.create_task(database.aclose())
        while not held[0]._closing.is_set():
            await asyncio.sleep(0.01)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        admin.execute("COMMIT")
        await waiting
        while held[0]._running:
            await asyncio.sleep(0.01)
        left = "SELECT FROM pg_stat_activity WHERE application_name = %s"
        while admin.execute(left, (name,)).fetchall():  # a session ends a moment after its connection
            await asyncio.sleep(0.01)
    assert all(not each._idle for each in held)
