"""PostgreSQL as an engine of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .dialect import Dialect
from .postgres_connections import Connections, execute_message
from .postgres_errors import NoConnection
from .replay import Outdated, replay
from .transaction import LeaseOver, Question, Rows, Work

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_T = TypeVar("_T")

# columns that refuse outdated decisions
_GUARDED = frozenset({"version", "charged", "place", "record", "intent"})
_UNIQUE = frozenset({"intents_key", "intents_look"})
_NULL_VIOLATION = "23502"  # SQLSTATE
_UNIQUE_VIOLATION = "23505"
_ROLLED_BACK = "40"  # the class of SQLSTATE: a deadlock, or a conflict of serializable transactions


class PostgresEngine:
    """Runs the ledger's functions over connections to a PostgreSQL database.

    All that a function asks at once is one message, and all that it writes is another one. Each is one
    transaction: no lock is held between the two, so a process that is stopped there holds nobody up. What is
    written is guarded by what was read: a guard is a value that becomes NULL where that does not hold any
    more, which its column refuses. Then the function runs again, from new answers.

    ``instead``: what runs a function where the server refuses a connection for this one.
    """

    def __init__(
        self, connections: Connections, dialect: Dialect, *, instead: PostgresEngine | None = None
    ) -> None:
        self._connections = connections
        self._dialect = dialect
        self._instead = instead

    @property
    def name(self) -> str:
        """What messages call the database."""
        return self._connections.name

    def run(self, work: Work[_T], *, writes: bool = True) -> asyncio.Future[_T]:  # noqa: ARG002
        """Run the function in a transaction. It begins at once, and goes on if nobody awaits it."""
        return self._begin(work, self._connections.deadline)

    def _begin(self, work: Work[_T], deadline: float) -> asyncio.Future[_T]:
        def begin(connection: AsyncConnection[Any], ends_at: float) -> Awaitable[_T]:
            messages = _Messages(connection, ends_at, self._dialect, self.name)
            return replay(work, messages.execute, self.name)

        answer = self._connections.begin(begin, deadline=deadline)
        if self._instead is None:
            return answer
        return asyncio.ensure_future(self._or_instead(answer, self._instead._begin, work, deadline))

    async def _or_instead(
        self,
        answer: asyncio.Future[_T],
        begin: Callable[[Work[_T], float], asyncio.Future[_T]],
        work: Work[_T],
        deadline: float,
    ) -> _T:
        try:
            return await answer
        except NoConnection:
            return await begin(work, deadline)


class _Messages:
    """Executes a function's messages on a connection until the loop's time ``ends_at``.

    From then on it sends nothing: its caller was told that it failed, and may write again.
    """

    def __init__(self, connection: AsyncConnection[Any], ends_at: float, dialect: Dialect, name: str) -> None:
        self._connection = connection
        self._ends_at = ends_at
        self._dialect = dialect
        self._name = name

    async def execute(self, statements: Sequence[Question]) -> list[Rows]:
        from psycopg import Error

        if asyncio.get_running_loop().time() >= self._ends_at:
            raise TimeoutError
        try:
            return await execute_message(self._connection, [*map(self._compiled, statements)])
        except Error as error:
            if self._is_outdated(error):
                raise Outdated from error
            raise

    def _compiled(self, question: Question) -> tuple[bytes, Mapping[str, Any]]:
        return self._dialect.compile(question[0]).encode(), question[1]

    def _is_outdated(self, error: Any) -> bool:
        """Whether another write has come first. Raises `LeaseOver`."""
        if error.sqlstate == _NULL_VIOLATION:
            if error.diag.column_name == "sent_at":
                raise LeaseOver(
                    f"{self._name}: this process has lost its lease, and nothing is sent without one"
                ) from None
            return error.diag.column_name in _GUARDED
        if error.sqlstate == _UNIQUE_VIOLATION:
            return error.diag.constraint_name in _UNIQUE
        return bool((error.sqlstate or "").startswith(_ROLLED_BACK))
