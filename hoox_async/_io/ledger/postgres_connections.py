"""Connections to PostgreSQL, shared by all statements of a process.

Nothing depends on a connection's state, so any statement can use any of them, also behind PgBouncer in
transaction mode: each statement is a transaction of its own, and none is prepared. psycopg's own pool is not
used: where no connection can be made, a statement waits in it until its whole deadline is over, whatever its
`reconnect_timeout` is, also if the connection class remembers why. Here it fails at once and says why.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import select
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..._core.intents.transitions import IllegalTransition
from ...errors import HooxError, StoreError
from .postgres_url import DatabaseUrl
from .transaction import ignore_error

if TYPE_CHECKING:
    from psycopg import AsyncConnection, AsyncCursor
    from psycopg.errors import Diagnostic

_DEADLINE = 10.0  # seconds
_KEPT_IDLE = 30.0  # seconds
_CONNECT_AGAIN = 1.0  # seconds after a refusal, while others are in use
_LONGEST_ENDING = 60.0  # seconds
_ROLLED_BACK = ("40001", "40P01")  # SQLSTATE of a serialization failure, and of a deadlock
_WAITS_FOR_STANDBY = "SyncRepWaitForLSN"  # the server's function that warns where it does not wait any more
_TRIES = 10

_T = TypeVar("_T")
_Error = TypeVar("_Error", bound="DatabaseError")
Row = tuple[Any, ...]


class _Statement(Generic[_T]):
    """Something that is to be done with a connection until the loop's time ``ends_at``, and its outcome."""

    def __init__(self, work: Callable[[AsyncConnection[Row]], Awaitable[_T]], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.work = work
        self.seconds = seconds
        self.ends_at: float = loop.time() + seconds
        self.answer: asyncio.Future[_T] = loop.create_future()
        self.connection: AsyncConnection[Row] | None = None  # while it has one
        self.refusal: StoreError | None = None  # why no connection could be made for it
        self.ending: asyncio.Task[None] | None = None  # once it is late

    def fail(self, error: Exception) -> None:
        """Tell the caller, unless it has its answer."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Connections:
    """Up to ``limit`` connections, made when they are needed.

    Each statement runs in a task of its own and goes on if its caller is cancelled. Where one is not done
    ``deadline`` seconds after it was asked for, its caller gets a `StoreError`, and the server is asked to
    cancel it. Its connection counts until the server has answered: so the server never sees more than
    ``limit``. One that does not answer is given up after ``deadline`` seconds more, and after twice as many
    each time that this happens again, a minute at most.

    Where the server refuses a connection, a statement waits for one of those that are in use here.

    They belong to the process and to the loop on which they are first used; `PostgresDatabase` sees to that.
    """

    def __init__(self, url: DatabaseUrl, limit: int, *, deadline: float = _DEADLINE) -> None:
        self._url = url
        self._deadline = deadline
        self._free = asyncio.Semaphore(limit)
        self._idle: list[tuple[float, AsyncConnection[Row]]] = []  # the one that was used last at the end
        self._in_use = 0
        self._put_back = asyncio.Event()  # set once, when a connection is not in use any more
        self._connect_from = -math.inf  # while others are in use: not before, as one was refused just now
        self._given_up = 0  # connections, since the last statement that was answered in time
        self._running: dict[asyncio.Task[None], _Statement[Any]] = {}
        self._closing = asyncio.Event()
        self.kept_idle: float = _KEPT_IDLE
        """Seconds after which a connection that is not used is closed, but for the last one."""

    @property
    def name(self) -> str:
        """What messages call the database."""
        return self._url.name

    @property
    def deadline(self) -> float:
        """Seconds after which a statement has failed."""
        return self._deadline

    async def fetch(
        self, sql: str, values: Sequence[Any] = (), *, deadline: float | None = None
    ) -> list[Row]:
        """Execute one statement and return its rows. See `run`.

        Raises `StoreError`. Then the statement may have been executed, or may still be.
        """
        return await self.run(lambda connection: _fetch(connection, sql, values), deadline=deadline)

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
        statement, task = self._begin(work, deadline or self._deadline)
        try:
            return await statement.answer
        except asyncio.CancelledError:
            if not survives:
                task.cancel()
            raise

    def begin(
        self, work: Callable[[AsyncConnection[Row], float], Awaitable[_T]], *, deadline: float | None = None
    ) -> asyncio.Future[_T]:
        """Begin to run ``work`` with one connection, and return its result to come. See `fetch`.

        It goes on if the result is cancelled, and nobody needs to await it. Its second argument is the loop's
        time from which the caller was told that it failed.
        """
        seconds = deadline or self._deadline
        ends_at = asyncio.get_running_loop().time() + seconds
        answer = self._begin(lambda connection: work(connection, ends_at), seconds)[0].answer
        answer.add_done_callback(ignore_error)
        return answer

    def _begin(
        self, work: Callable[[AsyncConnection[Row]], Awaitable[_T]], seconds: float
    ) -> tuple[_Statement[_T], asyncio.Task[None]]:
        if self._closing.is_set():
            raise StoreError(f"{self.name}: the store is closed")
        statement = _Statement(work, seconds)
        task = asyncio.get_running_loop().create_task(self._run(statement), name="hoox-statement")
        self._running[task] = statement
        task.add_done_callback(self._running.pop)
        return statement, task

    async def aclose(self, until: float | None = None) -> None:
        """Wait for the statements that run, at most until their deadlines, and close all connections.

        ``until``: the loop's time at which those that still run are cut; None: never.
        """
        self._closing.set()
        try:
            try:
                async with asyncio.timeout_at(until):
                    await self._ended()
            except TimeoutError:
                self._end_all()
                await self._ended()
        finally:  # cancelled, the statements that still run close their connections themselves
            await self._close_idle(keep=0, older_than=0.0)

    async def _ended(self) -> None:
        while self._running:
            await asyncio.wait(tuple(self._running))

    def _end_all(self) -> None:
        """Have the statements that run fail, without waiting for the server."""
        for task, statement in tuple(self._running.items()):
            statement.fail(StoreError(f"{self.name}: the store is closed"))
            if statement.connection is None:
                task.cancel()
            else:
                _cut(statement.connection)  # cancelled, psycopg would wait for the server

    async def _run(self, statement: _Statement[_T]) -> None:
        """Execute a statement and tell its caller, also when the time for that is over."""
        late = asyncio.get_running_loop().call_at(
            statement.ends_at, lambda: statement.fail(statement.refusal or self._too_slow(statement))
        )
        failure: Exception | None = None
        try:
            result = await self._execute(statement)
            if not statement.answer.done():
                statement.answer.set_result(result)
        except TimeoutError:
            failure = statement.refusal or self._too_slow(statement)
        except Exception as error:
            failure = self._translated(error)
        finally:
            late.cancel()
            if failure is None:
                statement.answer.cancel()  # where this task was cancelled
        if failure is not None:
            statement.fail(failure)  # here: as its context, libpq's error would show a secret

    async def _execute(self, statement: _Statement[_T]) -> _T:
        async with asyncio.timeout_at(statement.ends_at):
            await self._free.acquire()
        try:
            connection = statement.connection = await self._connection(statement)
            self._in_use += 1
            late = asyncio.get_running_loop().call_at(
                statement.ends_at, self._begin_ending, connection, statement
            )
            try:
                return await statement.work(connection)
            finally:
                late.cancel()
                await self._end_use(connection, statement)
        finally:
            self._free.release()

    async def _end_use(self, connection: AsyncConnection[Row], statement: _Statement[_T]) -> None:
        """Keep the connection for the next statement, unless it was cut, is within one, or all close.

        Nor is one kept on which the server was asked to cancel a statement: that could hit the next one.
        Those that were idle for a while are closed, but for one.
        """
        try:
            is_late = statement.ending is not None and statement.ending.cancel()
            is_broken = connection.closed or connection.info.transaction_status.name != "IDLE"
            if self._closing.is_set() or statement.ending is not None or is_broken:
                await _close_at_server(connection)
            else:
                self._idle.append((asyncio.get_running_loop().time(), connection))
            if not is_late and not is_broken:
                self._given_up = 0
        finally:
            self._in_use -= 1
            self._put_back.set()
            self._put_back = asyncio.Event()
        await self._close_idle(keep=1, older_than=self.kept_idle)

    async def _connection(self, statement: _Statement[_T]) -> AsyncConnection[Row]:
        """An idle connection, or a new one. Where it is refused, the next one that is not in use any more.

        Raises `TimeoutError`, and `NoConnection` where none is in use here.
        """
        now = asyncio.get_running_loop().time
        while True:
            while self._idle:
                _, connection = self._idle.pop()
                if _is_usable(connection):
                    return connection
                await _close(connection)
            if not self._in_use or now() >= self._connect_from:
                try:
                    async with asyncio.timeout_at(statement.ends_at):
                        return await self._connect()
                except NoConnection as refusal:
                    if not self._in_use and not self._idle:
                        raise
                    statement.refusal = refusal
                    self._connect_from = now() + _CONNECT_AGAIN
            if now() >= statement.ends_at:
                raise TimeoutError
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(statement.ends_at, self._connect_from)):
                    await self._put_back.wait()

    async def _connect(self) -> AsyncConnection[Row]:
        from psycopg import AsyncConnection

        try:
            return await AsyncConnection.connect(
                autocommit=True, prepare_threshold=None, **self._url.parameters
            )
        except Exception as error:
            failure = no_connection(self.name, error, self._url.without_secrets(str(error)))
        raise failure  # here: see `_run`

    def _begin_ending(self, connection: AsyncConnection[Row], statement: _Statement[_T]) -> None:
        ending = self._end(connection, statement.seconds)
        statement.ending = asyncio.get_running_loop().create_task(ending, name="hoox-cancel-statement")

    async def _end(self, connection: AsyncConnection[Row], seconds: float) -> None:
        """Have the server cancel a statement, and cut its connection where that has not ended it."""
        longest = max(seconds, _LONGEST_ENDING)
        until = asyncio.get_running_loop().time() + min(seconds * 2.0**self._given_up, longest)
        with suppress(Exception):
            await _cancel(connection, seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._closing.wait()
        self._given_up += 1
        _cut(connection)

    async def _close_idle(self, keep: int, older_than: float) -> None:
        until = asyncio.get_running_loop().time() - older_than
        while len(self._idle) > keep and self._idle[0][0] <= until:
            await _close(self._idle.pop(0)[1])

    def _too_slow(self, statement: _Statement[_T]) -> StoreError:
        return StoreError(f"{self.name}: it did not answer within {statement.seconds:g} s")

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, HooxError | IllegalTransition):  # what a function of the ledger has decided
            return error
        return database_error(self.name, error, self._url.without_secrets(str(error)))


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
    with _requiring_replication(connection):
        # binary: as text, times depend on the role's DateStyle
        cursor = await connection.execute(sql.encode(), values, binary=True)
    return await _rows(cursor)


async def execute_message(
    connection: AsyncConnection[Row], statements: Sequence[tuple[bytes, Mapping[str, Any]]]
) -> list[list[Row]]:
    """Execute statements as one message of the simple protocol, which is one transaction. Their rows.

    A process that is stopped has sent all of it, or nothing that the server executes: of a pipeline it could
    have sent a half, and the server would keep the locks of that half for as long as the process stands.
    """
    from psycopg import AsyncClientCursor

    async with AsyncClientCursor(connection) as cursor:
        message = ";\n".join(cursor.mogrify(text, values) for text, values in statements)
        with _requiring_replication(connection):
            await cursor.execute(message.encode())
        answers = [await _rows(cursor)]
        while cursor.nextset():
            answers.append(await _rows(cursor))
        return answers


async def _rows(cursor: AsyncCursor[Row]) -> list[Row]:
    return await cursor.fetchall() if cursor.description is not None else []


@contextmanager
def _requiring_replication(connection: AsyncConnection[Row]) -> Iterator[None]:
    """Raise `NotReplicated` where the server stops waiting for its standby meanwhile."""
    is_replicated = True

    def note(diagnostic: Diagnostic) -> None:
        nonlocal is_replicated
        is_replicated &= diagnostic.source_function != _WAITS_FOR_STANDBY

    connection.add_notice_handler(note)
    try:
        yield
    finally:
        connection.remove_notice_handler(note)
    if not is_replicated:
        raise NotReplicated("the wait for the standby was cancelled")


def _is_usable(connection: AsyncConnection[Row]) -> bool:
    """Whether an idle connection is still open. Anything to be read there is its end, or announces it."""
    if connection.closed:
        return False
    if not hasattr(select, "poll"):  # Windows
        return True
    readable = select.poll()
    readable.register(connection.fileno(), select.POLLIN)
    return not readable.poll(0)


async def _cancel(connection: AsyncConnection[Row], seconds: float) -> None:
    """Ask the server to cancel what it executes, on a connection of its own. That may hang as well."""
    from psycopg import capabilities

    if capabilities.has_cancel_safe():  # else psycopg would have to wait for it in a thread
        await connection.cancel_safe(timeout=seconds)


def _cut(connection: AsyncConnection[Row]) -> None:
    """End a connection under the statement that waits for its answer, which then fails."""
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


async def _close_at_server(connection: AsyncConnection[Row]) -> None:
    """Close a connection, and wait until the server has ended its process, for a second at most."""
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.setblocking(False)
        await connection.close()
        async with asyncio.timeout(1.0):
            while await asyncio.get_running_loop().sock_recv(wire, 4096):
                pass
    await _close(connection)


async def _close(connection: AsyncConnection[Row]) -> None:
    with suppress(Exception):
        await connection.close()


# --- errors: no exception of psycopg or the network leaves the store

# By SQLSTATE, or by its class, which is its first two characters.
_MEANING = {
    "01000": "it has committed a write without its synchronous standby, and may forget it in a failover",
    "08": "the connection failed",
    "23": "it holds something else under the same id already",
    "25006": "it is read-only: a standby, a replica or a read-only role can't be the store",
    "28": "it refused the login",
    "28P01": "it refused the login: the password is wrong, or missing",
    "3D000": "there is no such database: correct the last part of its URL, or create it",
    "3F000": "its tables are missing: another release's schema was dropped, or never made",
    "42501": "the role lacks rights that the store needs",
    "42P01": "its tables are missing: another release's schema was dropped, or never made",
    "42883": "its functions are missing: another release's schema was dropped, or never made",
    "53100": "its disk is full: nothing can be written",
    "53300": "it has too many connections: raise its max_connections, or lower ours",
    "53": "it is out of resources",
    "54": "a value is too long for it",
    "55P03": "another transaction keeps a table locked",
    "57P03": "it is starting or being stopped",
    "57014": "it cancelled a statement, after this role's or database's statement_timeout, or for somebody",
    "57": "it was stopped, or ended the connection",
    "58": "its machine failed to read or write",
    "XX": "it is damaged, or has a bug",
}


class DatabaseError(StoreError):
    """A `StoreError` with the server's SQLSTATE."""

    sqlstate: str | None = None


class NotReplicated(Exception):
    """The server has committed a write, and was stopped from waiting until its standby has it too."""

    sqlstate = "01000"


class NoConnection(DatabaseError):
    """No connection to the database could be made."""


# libpq tells no SQLSTATE of why a connection could not be made, only the server's text.
_REFUSALS = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "SASL authentication failed": "28P01",  # PgBouncer
    "no pg_hba.conf entry": "28000",
    "is not permitted to log in": "28000",
    "too many clients": "53300",
    "remaining connection slots": "53300",
    "too many connections": "53300",
    "no more connections allowed": "53300",  # PgBouncer
    "database system is": "57P03",
    "no such database": "3D000",  # PgBouncer
}
_NAMES_NOBODY = {"database": "3D000", "role": "28000"}


def no_connection(name: str, error: BaseException, detail: str) -> NoConnection:
    """The error that says why no connection could be made. See `database_error`."""
    found = re.search(rf"FATAL:\s+({'|'.join(_NAMES_NOBODY)}) \".*\" does not exist", detail)
    sqlstate = _NAMES_NOBODY[found[1]] if found else None
    for text, meant in _REFUSALS.items():
        if text in detail:
            sqlstate = meant
    return _filled(NoConnection, name, error, detail, sqlstate)


def database_error(name: str, error: BaseException, detail: str) -> DatabaseError:
    """The `StoreError` that says what this error means and names the database.

    ``detail`` is the text of the error, without secrets.
    """
    return _filled(DatabaseError, name, error, detail, getattr(error, "sqlstate", None))


def _filled(kind: type[_Error], name: str, error: BaseException, detail: str, sqlstate: str | None) -> _Error:
    if sqlstate is None:
        meaning = "the connection failed" if _is_of_network(error) else "it failed"
    else:
        meaning = _MEANING.get(sqlstate) or _MEANING.get(sqlstate[:2]) or "it failed"
    failure = kind(f"{name}: {meaning} ({' '.join(detail.split()) or type(error).__name__})")
    failure.sqlstate = sqlstate
    return failure


def _is_of_network(error: BaseException) -> bool:
    from psycopg import InterfaceError, OperationalError

    return isinstance(error, OSError | OperationalError | InterfaceError)
