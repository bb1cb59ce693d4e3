"""Connections to a real server: deadlines, cancellation, servers that restart, stand still or are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from postgres_kit import Proxy, Server

from hoox_async._io.stores.postgres.connections import Connections
from hoox_async._io.stores.postgres.url import DatabaseUrl
from hoox_async.errors import StoreError
from hoox_async.postgres import PostgresDatabase

PID = "SELECT pg_backend_pid()"


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


async def test_a_server_whose_processes_stand_still_is_noticed(own_postgres: Server) -> None:
    """A server that is stopped (SIGSTOP) keeps its connections open: the deadline ends the statement."""
    async with connections(own_postgres.url, deadline=0.5) as opened:
        await opened.fetch("SELECT 1")
        with own_postgres.standing_still(), pytest.raises(StoreError, match="did not answer"):
            await opened.fetch("SELECT 1")
        assert await opened.fetch("SELECT 1") == [(1,)]


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
    slow = asyncio.create_task(held[0].fetch("SELECT pg_sleep(1)"))
    await asyncio.sleep(0.1)
    closing = asyncio.create_task(database.aclose())
    while not held[0]._closed:
        await asyncio.sleep(0.01)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await slow
    while held[0]._running:
        await asyncio.sleep(0.01)
    with postgres.connect() as connection:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        for _ in range(100):  # the server ends a session a moment after its connection
            [(count,)] = connection.execute(sql, (name,)).fetchall()
            if not count:
                break
            await asyncio.sleep(0.05)
    assert count == 0
    assert all(not each._idle for each in held)
