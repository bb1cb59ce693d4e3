"""Connections to PostgreSQL, shared by all statements of a process.

Nothing depends on a connection's state, so any statement can use any of them, also behind PgBouncer in
transaction mode: each statement is a transaction of its own, and none is prepared. psycopg's own pool is not
used: where no connection can be made, a statement waits in it until its whole deadline is over, whatever its
`reconnect_timeout` is, also if the connection class remembers why. Here it fails at once and says why.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ....errors import HooxError, StoreError
from .error_translation import database_error
from .url import DatabaseUrl

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_DEADLINE = 10.0  # seconds
_KEPT_IDLE = 30.0  # seconds
_ROLLED_BACK = ("40001", "40P01")  # SQLSTATE of a serialization failure, and of a deadlock
_TRIES = 10

_T = TypeVar("_T")
Row = tuple[Any, ...]


class Connections:
    """Up to ``limit`` connections, made when they are needed.

    Each statement runs in a task of its own and goes on if its caller is cancelled. One that is not done
    ``deadline`` seconds after it was asked for loses its connection, and its caller gets a `StoreError`; the
    server may still execute it. They belong to the process and to the loop on which they are first used;
    `SharedDatabase` sees to that.
    """

    def __init__(self, url: DatabaseUrl, limit: int, *, deadline: float = _DEADLINE) -> None:
        self._url = url
        self._deadline = deadline
        self._free = asyncio.Semaphore(limit)
        self._idle: list[tuple[float, AsyncConnection[Row]]] = []  # the one that was used last at the end
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.kept_idle: float = _KEPT_IDLE
        """Seconds after which a connection that is not used is closed, but for the last one."""

    @property
    def name(self) -> str:
        """What messages call the database."""
        return self._url.name

    async def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Execute one statement and return its rows.

        Raises `StoreError`. Then the statement may have been executed, or may still be.
        """
        return await self.run(lambda connection: _fetch(connection, sql, values))

    async def run(
        self,
        work: Callable[[AsyncConnection[Row]], Awaitable[_T]],
        *,
        deadline: float | None = None,
        survives: bool = True,
    ) -> _T:
        """Run ``work`` with one connection. See `fetch`.

        ``deadline``: seconds from now, instead of that of all statements.
        ``survives``: it goes on if the caller is cancelled. Else it is cancelled too, and rolled back.
        """
        if self._closed:
            raise StoreError(f"{self.name}: the store is closed")
        task = asyncio.get_running_loop().create_task(
            self._run(work, deadline or self._deadline), name="hoox-statement"
        )
        self._running.add(task)
        task.add_done_callback(self._done)
        return await (asyncio.shield(task) if survives else task)

    async def aclose(self) -> None:
        """Wait for the statements that run, at most until their deadlines, and close all connections."""
        self._closed = True
        try:
            while self._running:
                await asyncio.wait(tuple(self._running))
        finally:  # cancelled, the statements that still run close their connections themselves
            await self._close_idle(keep=0, older_than=0.0)

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
                return await work(connection)
            except Exception as error:
                is_late = loop.time() >= ends_at
                failure = self._too_slow(deadline) if is_late else self._translated(error)
            finally:
                cut.cancel()
                await self._put_back(connection)
            raise failure  # here: as its context, libpq's error would show a secret to whoever looks at that
        finally:
            self._free.release()

    async def _put_back(self, connection: AsyncConnection[Row]) -> None:
        """Keep the connection for the next statement, unless it was cut, is within one, or all close.

        Those that were idle for a while are closed, but for one.
        """
        if self._closed or connection.closed or connection.info.transaction_status.name != "IDLE":
            await _close(connection)
        else:
            self._idle.append((asyncio.get_running_loop().time(), connection))
        await self._close_idle(keep=1, older_than=self.kept_idle)

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
            failure: Exception = self._too_slow(deadline)
        except Exception as error:
            failure = self._translated(error)
        raise failure

    async def _close_idle(self, keep: int, older_than: float) -> None:
        until = asyncio.get_running_loop().time() - older_than
        while len(self._idle) > keep and self._idle[0][0] <= until:
            await _close(self._idle.pop(0)[1])

    def _too_slow(self, deadline: float) -> StoreError:
        return StoreError(f"{self.name}: it did not answer within {deadline:g} s")

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, HooxError):
            return error
        return database_error(self.name, error, self._url.without_secrets(str(error)))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have been cancelled


async def _fetch(connection: AsyncConnection[Row], sql: str, values: Sequence[Any]) -> list[Row]:
    """Execute a statement, again where the server has rolled it back for the sake of another one.

    That is after a deadlock, and where the role's transactions are serializable by default.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            return await _execute(connection, sql, values)
        except Exception as error:
            if not tries_left or getattr(error, "sqlstate", None) not in _ROLLED_BACK:
                raise
    raise AssertionError("the last try returns or raises")


async def _execute(connection: AsyncConnection[Row], sql: str, values: Sequence[Any]) -> list[Row]:
    # binary: as text, times depend on the role's DateStyle
    cursor = await connection.execute(sql.encode(), values, binary=True)
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
