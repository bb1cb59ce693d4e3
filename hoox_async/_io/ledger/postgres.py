"""PostgreSQL as an engine of the ledger: a database that is a round trip away.

A function of the ledger is run with one message to ask and one to write. What it asks ends its run where the
answer is not there yet. The answer is fetched, and the function runs again from the beginning. So no
transaction is open, and no lock is held, while it decides.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import StoreError
from .postgres_connections import Connections, NoConnection, execute_message
from .statements import Dialect
from .transaction import LeaseOver, Question, Rows, Values, Work

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_T = TypeVar("_T")

# columns that refuse outdated decisions
_GUARDED = frozenset({"version", "charged", "place", "record", "intent"})
_UNIQUE = frozenset({"intents_key", "intents_look"})
_NULL_VIOLATION = "23502"  # SQLSTATE
_UNIQUE_VIOLATION = "23505"
_ROLLED_BACK = "40"  # the class of SQLSTATE: a deadlock, or a conflict of serializable transactions
_TRIES = 200  # each fails only because another write has come first
_LONGEST_PAUSE = 0.02  # seconds between two tries


class PostgresEngine:
    """Runs the ledger's functions over connections to a PostgreSQL database.

    Each message is one transaction, so a process that is stopped between two of them holds nobody up. What is
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


Execute = Callable[[Sequence[Question]], Awaitable[list[Rows]]]
"""Executes statements as one message, which is one transaction. Raises `Outdated`."""


class Outdated(Exception):
    """Another write has come first: a guard has refused what was decided from what was read."""


async def replay(work: Work[_T], execute: Execute, name: str) -> _T:
    """Run a function, again wherever another write has come first. Raises what the function raises."""
    for number in range(_TRIES):
        try:
            return await _try(work, execute, may_guess=number == 0)
        except Outdated:
            pass
        await asyncio.sleep(random.uniform(0, min(number * 0.002, _LONGEST_PAUSE)))  # noqa: S311
    raise StoreError(f"{name}: other writes have come first too often")


async def _try(work: Work[_T], execute: Execute, *, may_guess: bool) -> _T:
    answers: list[list[Rows]] = []
    while True:
        transaction = _Transaction(answers, may_guess=may_guess)
        try:
            result = work(transaction)
        except _Unanswered as unanswered:
            answers.append(await execute(unanswered.questions))
            continue
        except Exception:
            if may_guess and not answers:  # what it has guessed may be why
                may_guess = False
                continue
            raise
        if transaction.writes:
            await execute(transaction.writes)
        return result


class _Unanswered(BaseException):
    """Ends a function that has asked what is not answered yet."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self.questions = questions


class _Transaction:
    """One run of a function, with the answers to what earlier runs have asked."""

    def __init__(self, answers: Sequence[list[Rows]], *, may_guess: bool) -> None:
        self.may_guess = may_guess
        self.writes: list[Question] = []
        self._answers = answers
        self._asked = 0

    def ask(self, *questions: Question) -> list[Rows]:
        self._asked += 1
        if self._asked > len(self._answers):
            raise _Unanswered(questions)
        return self._answers[self._asked - 1]

    def write(self, statement: str, values: Values) -> None:
        self.writes.append((statement, values))
