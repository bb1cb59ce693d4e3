"""Connections to PostgreSQL, shared by all statements of a process.

Nothing depends on a connection's state, so any statement can use any of them, also behind PgBouncer in
transaction mode: each statement is a transaction of its own, and none is prepared. psycopg's own pool is not
used: a statement that waits in it learns neither at once nor why that no connection can be made.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ....errors import ConfigurationError, StoreError
from .error_translation import database_error
from .url import DatabaseUrl

if TYPE_CHECKING:
    from psycopg import AsyncConnection

DEADLINE = 10.0  # seconds
_KEPT_IDLE = 30.0  # seconds

_T = TypeVar("_T")
Row = tuple[Any, ...]


class Connections:
    """Up to ``limit`` connections, made when they are needed.

    Each statement runs in a task of its own and goes on if its caller is cancelled. One that is not done at
    its deadline loses its connection, and its caller gets a `StoreError`; the server may still execute it.
    They belong to the loop on which they are first used, and to the process.
    """

    def __init__(self, url: DatabaseUrl, limit: int) -> None:
        self._url = url
        self._free = asyncio.Semaphore(limit)
        self._idle: list[tuple[float, AsyncConnection[Row]]] = []  # the one that was used last at the end
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._pid = os.getpid()

    @property
    def name(self) -> str:
        """What messages call the database."""
        return self._url.name

    async def fetch(self, sql: str, values: Sequence[Any], *, deadline: float = DEADLINE) -> list[Row]:
        """Execute one statement and return its rows. ``deadline`` is in seconds from now.

        Raises `StoreError`. Then the statement may have been executed, or may still be.
        """
        return await self.run(lambda connection: _fetch(connection, sql, values), deadline=deadline)

    async def run(
        self, work: Callable[[AsyncConnection[Row]], Awaitable[_T]], *, deadline: float = DEADLINE
    ) -> _T:
        """Run ``work`` with one connection, to its end even if the caller is cancelled. See `fetch`."""
        self.require_own_process()
        if self._closed:
            raise StoreError(f"{self.name}: the store is closed")
        task = asyncio.get_running_loop().create_task(self._run(work, deadline), name="hoox-statement")
        self._running.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Wait for the statements that run, at most until their deadlines, and close all connections."""
        self._closed = True
        while self._running:
            await asyncio.wait(tuple(self._running))
        await self._close_idle(keep=0, older_than=0.0)

    async def trim(self, keep: int) -> None:
        """Close the connections beyond the first ``keep`` that were idle for a while."""
        await self._close_idle(keep, _KEPT_IDLE)

    def require_own_process(self) -> None:
        """Raise `ConfigurationError` in a process that was forked after the opening."""
        if os.getpid() != self._pid:
            raise ConfigurationError(
                f"{self.name}: the store belongs to process {self._pid}, from which this one was forked: "
                "a forked process needs its own database object, session and store"
            )

    async def _run(self, work: Callable[[AsyncConnection[Row]], Awaitable[_T]], deadline: float) -> _T:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + deadline
        try:
            async with asyncio.timeout_at(ends_at):
                await self._free.acquire()
        except TimeoutError:
            raise self._too_slow(deadline) from None
        try:
            connection = await self._connection(ends_at, deadline)
            cut = loop.call_at(ends_at, _cut, connection)
            try:
                result = await work(connection)
            except BaseException as error:
                await _close(connection)
                if loop.time() >= ends_at and isinstance(error, Exception):
                    raise self._too_slow(deadline) from None
                raise self._translated(error) from None
            finally:
                cut.cancel()
            self._idle.append((loop.time(), connection))
            return result
        finally:
            self._free.release()

    async def _connection(self, ends_at: float, deadline: float) -> AsyncConnection[Row]:
        while self._idle:
            _, connection = self._idle.pop()
            if _is_usable(connection):
                return connection
            await _close(connection)
        from psycopg import AsyncConnection

        try:
            async with asyncio.timeout_at(ends_at):
                return await AsyncConnection.connect(
                    autocommit=True, prepare_threshold=None, **self._url.parameters
                )
        except TimeoutError:
            raise self._too_slow(deadline) from None
        except Exception as error:
            raise self._translated(error) from None

    async def _close_idle(self, keep: int, older_than: float) -> None:
        until = asyncio.get_running_loop().time() - older_than
        while len(self._idle) > keep and self._idle[0][0] <= until:
            await _close(self._idle.pop(0)[1])

    def _too_slow(self, deadline: float) -> StoreError:
        return StoreError(f"{self.name}: it did not answer within {deadline:g} s")

    def _translated(self, error: BaseException) -> BaseException:
        from psycopg import Error

        if isinstance(error, StoreError) or not isinstance(error, Error | OSError | UnicodeError):
            return error
        return database_error(self.name, error, self._url.without_secrets(str(error)))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have been cancelled


async def _fetch(connection: AsyncConnection[Row], sql: str, values: Sequence[Any]) -> list[Row]:
    cursor = await connection.execute(sql.encode(), values)
    return await cursor.fetchall() if cursor.description is not None else []


def _is_usable(connection: AsyncConnection[Row]) -> bool:
    """Whether an idle connection is still open. Anything to be read there is its end, or announces it."""
    if connection.closed:
        return False
    if not hasattr(select, "poll"):  # Windows
        return True
    readable = select.poll()
    readable.register(connection.fileno(), select.POLLIN)
    return not readable.poll(0)


def _cut(connection: AsyncConnection[Row]) -> None:
    """End a connection under the statement that waits for its answer, which then fails.

    Cancelling the statement instead would ask the server to cancel it, which may hang as well.
    """
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


async def _close(connection: AsyncConnection[Row]) -> None:
    with suppress(Exception):
        await connection.close()
