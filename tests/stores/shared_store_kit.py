"""Several "processes" on one shared database, real or in memory, whose clock the tests set forward."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Protocol

from postgres_kit import Server
from shared_memory_kit import MemoryDatabase, SharedMemory
from store_kit import WORKSPACE

from hoox_async._io.ledger.intent_rows import Row
from hoox_async._io.ledger.leaders import Leaders
from hoox_async._io.ledger.member import Member
from hoox_async._io.ledger.shared_ledger import SharedLedger
from hoox_async._io.ledger.statements import ROW
from hoox_async.postgres import PostgresDatabase

LEASE = 10.0


class World(Protocol):
    """One shared database and the processes that use it. Background work is done by hand: see `Process`."""

    async def process(self) -> Process:
        """Another process that has the workspace "shop" open."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Set the database's clock forward. No background task runs meanwhile."""


class Process:
    """One process: its database object and its store. The tests call what its tasks would do."""

    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database
        self.store: SharedLedger = database.workspace("shop")

    @property
    def member(self) -> Member:
        member = self.database._member
        assert member is not None
        return member

    @property
    def leaders(self) -> Leaders:
        """Who agrees with other processes on who polls."""
        return self.member._leaders

    @property
    def workspace(self) -> int:
        """The number of the workspace in the database."""
        return self.store._place.workspace

    async def open(self) -> None:
        await self.database.open()
        await self.member._tasks.cancel()
        await self.store.open(WORKSPACE)

    async def close(self) -> None:
        await self.store.aclose()
        await self.database.aclose()

    async def renew(self) -> None:
        await self.member.renew()

    async def sweep(self) -> None:
        await self.member._sweep()

    async def restore(self) -> None:
        """Write again what a failover has lost."""
        await self.member._restore()

    async def read_changes(self) -> None:
        await self.member._feed.read()

    async def row(self, key: str) -> Row:
        """The row of an intent."""
        [row] = await self.store._rows(ROW, key=key)
        return Row(*row)


class MemoryWorld:
    """A `World` in memory."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.memory = SharedMemory()

    async def process(self) -> Process:
        process = Process(MemoryDatabase(self.memory, lease=LEASE))
        await process.open()
        self._stack.push_async_callback(process.close)
        return process

    async def pass_time(self, seconds: float) -> None:
        self.memory.clock_shift += timedelta(seconds=seconds)


class PostgresWorld:
    """A `World` in a schema of a real server, whose function ``now_1`` is replaced."""

    def __init__(self, stack: AsyncExitStack, server: Server, url: str, schema: str) -> None:
        self._stack = stack
        self._server = server
        self.url = url
        self.schema = schema
        self._shift = 0.0

    async def process(self) -> Process:
        process = Process(PostgresDatabase(self.url, schema=self.schema, lease=LEASE))
        await process.open()
        self._stack.push_async_callback(process.close)
        return process

    async def pass_time(self, seconds: float) -> None:
        self._shift += seconds
        self.execute(
            f'CREATE OR REPLACE FUNCTION "{self.schema}".now_1() RETURNS timestamptz LANGUAGE sql VOLATILE '
            f"AS 'SELECT clock_timestamp() + make_interval(secs => {self._shift})'"
        )

    def execute(self, sql: str) -> list[Any]:
        """Execute SQL on a connection of its own."""
        with self._server.connect() as connection:
            cursor = connection.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
