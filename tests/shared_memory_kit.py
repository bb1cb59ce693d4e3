"""One SQLite database in memory that several "processes" on one loop share, with a clock that may jump.

The ledger, its statements, its members and their feed are the real ones. A message is executed at once, as
one transaction; a fault may delay it, fail, or lose its answer. The quota's permits are those of
`shared_permits_kit`.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar

from shared_permits_kit import MemoryPermits, MemoryQuota

from hoox_async._core.intents.budget import StoredBudget
from hoox_async._core.intents.intent import Intent
from hoox_async._io.clock import Clock
from hoox_async._io.ledger import change_feed, leaders, member, news, statements
from hoox_async._io.ledger.binding import find_workspace
from hoox_async._io.ledger.intent_rows import Place, Row, read_budget, to_microseconds
from hoox_async._io.ledger.ledger import Ledger
from hoox_async._io.ledger.member import Member
from hoox_async._io.ledger.postgres import Outdated, replay
from hoox_async._io.ledger.schema import SHARED_TABLES, TABLES
from hoox_async._io.ledger.shared_ledger import SharedLedger
from hoox_async._io.ledger.statements import SQLITE
from hoox_async._io.ledger.transaction import LeaseOver, Question, Rows, Values, Work, ignore_error
from hoox_async._io.protocols import SharedPermits
from hoox_async.errors import StoreError
from hoox_async.postgres import PostgresDatabase
from hoox_async.webhooks import WebhookHub

_T = TypeVar("_T")

Fault = Callable[[Literal["before", "after"], str], Awaitable[None]]
"""Awaited before and after each message, with its name. What it raises, the caller gets: after it, the
message was executed nevertheless. The name is "put" where it writes an intent, else that of its first
statement."""

_NAME = "the shared memory"
_DIALECT = SQLITE._replace(now="database_clock()", timeline="database_timeline()", xid="this_commit()")
_OUTDATED = re.compile(
    r"NOT NULL constraint failed: (intents\.version|budgets\.charged|deliveries\.record)"
    r"|UNIQUE constraint failed: intents\."
)

# The feed goes by PostgreSQL's snapshots. Here a snapshot is the number of the last commit.
_PAGE_OF_CHANGES = (
    "SELECT until, i.workspace, i.seq, i.key, i.version, i.record, i.crc, i.teller, i.notified, i.changed_in "
    "FROM (SELECT coalesce(CAST(:until AS bigint), this_commit()) AS until) LEFT JOIN (SELECT * FROM "
    "intents WHERE workspace IN ({workspaces}) AND changed_by <> :me AND changed_in > CAST(:since AS bigint) "
    "AND changed_in <= coalesce(CAST(:until AS bigint), this_commit()) "
    "AND (changed_in, seq) > (CAST(:transaction AS bigint), CAST(:seq AS bigint)) "
    "ORDER BY changed_in, seq LIMIT :size) i ON true"
)
_IN_SQLITE = {
    change_feed.CHANGES: _PAGE_OF_CHANGES,
    leaders.SNAPSHOT: "SELECT CAST(this_commit() AS text)",
    change_feed.EARLIER_SNAPSHOT: "SELECT max(this_commit() - :transactions, 0)",
    leaders.KEPT_SINCE: leaders.ALL_KEPT + " AND d.kept_by <> :me AND d.kept_in > CAST(:since AS bigint)",
}
_NAMES = {
    text: name.lower()
    for module in (statements, member, leaders, change_feed, news)
    for name, text in vars(module).items()
    if isinstance(text, str) and name.isupper()
}
_PUTS = {statements.INSERT, statements.UPDATE, member.STILL_DEAD}


async def no_fault(_: Literal["before", "after"], __: str) -> None:
    """Let the message be executed."""
    await asyncio.sleep(0)


class Copy(NamedTuple):
    """What a replica has at a moment."""

    data: bytes
    commits: int


class SharedMemory:
    """What one database holds. ``clock_shift`` is how far its clock is ahead of the loop's."""

    def __init__(self) -> None:
        self.clock_shift = timedelta()
        self.timeline = "1"
        self.quotas: dict[int, MemoryQuota] = {}
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self._commits = 0
        self._members_made = 0
        self.db.create_function("database_clock", 0, lambda: to_microseconds(self.now()))
        self.db.create_function("database_timeline", 0, lambda: self.timeline)
        self.db.create_function("this_commit", 0, lambda: self._commits)
        for statement in (*TABLES, *SHARED_TABLES):
            self.db.execute(_DIALECT.compile(statement))
        self.execute((statements.ADD_KEY_SALT, {"salt": "5a17"}))

    def now(self) -> Any:
        """The database's time."""
        return Clock(asyncio.get_running_loop()).utc() + self.clock_shift

    def new_member(self) -> str:
        """An id that no member had before."""
        self._members_made += 1
        return f"member {self._members_made}"

    def execute(self, *questions: Question) -> list[Rows]:
        """Execute statements as one transaction. Raises `Outdated`, `LeaseOver` and `StoreError`."""
        self._commits += 1
        self.db.execute("BEGIN")
        try:
            answers = [self._execute(*question) for question in questions]
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            self.db.execute("ROLLBACK")
            raise _translated(error) from error
        return answers

    def _execute(self, statement: str, values: Values) -> Rows:
        generic, workspaces = _generic(statement)
        if generic == leaders.WITHDRAW_LIMITS:
            self._withdraw_limits(values["me"], workspaces)
            return []
        text = _IN_SQLITE.get(generic, generic).replace("{workspaces}", workspaces)
        return self.db.execute(_DIALECT.compile(text), values).fetchall()

    def _withdraw_limits(self, member: str, workspaces: str) -> None:
        for quota in self.quotas.values():
            for workspace in workspaces.split(", "):
                quota.stated.pop(f"{member} {workspace}", None)

    def copy(self) -> Copy:
        """What a replica has at this moment."""
        return Copy(self.db.serialize(), self._commits)

    def fail_over(self, copy: Copy) -> None:
        """From now on the database is this copy, on another timeline."""
        self.db.deserialize(copy.data)
        self._commits = copy.commits
        self.timeline += "'"

    # --- what tests look at

    def ask(self, statement: str, **values: Any) -> Rows:
        """The rows of a statement."""
        [rows] = self.execute((statement, values))
        return rows

    def row(self, key: str, workspace: int = 1) -> Row | None:
        """The row of an intent."""
        rows = self.ask(statements.ROW, workspace=workspace, key=key)
        return Row(*rows[0]) if rows else None

    def intent(self, key: str, workspace: int = 1) -> Intent | None:
        """An intent."""
        row = self.row(key, workspace)
        return row.read(newer=True) if row is not None else None

    def is_alive(self, member: str) -> bool:
        """Whether the member's lease is not over."""
        alive = f"SELECT 1 FROM hoox.members m WHERE m.id = :id AND {statements.alive('m')}"
        return bool(self.ask(alive, id=member))

    @property
    def states(self) -> list[str]:
        """The states of all intents."""
        return [row[0] for row in self.ask("SELECT state FROM hoox.intents ORDER BY seq")]

    @property
    def budgets(self) -> list[StoredBudget]:
        """The budgets of all workspaces."""
        return [read_budget(row) for row in self.ask("SELECT name, max_credits, charged FROM hoox.budgets")]


_NUMBERS = re.compile(r"(workspace|id) IN \(([\d, ]+)\)")


@cache
def _generic(statement: str) -> tuple[str, str]:
    """The statement for any workspaces, and the workspaces."""
    found = _NUMBERS.search(statement)
    return _NUMBERS.sub(r"\1 IN ({workspaces})", statement), found[2] if found else ""


def name_of(questions: Sequence[Question]) -> str:
    """What faults call a message."""
    generic = [_generic(statement)[0] for statement, _ in questions]
    return "put" if _PUTS.intersection(generic) else _NAMES.get(generic[0], "page")


def _translated(error: sqlite3.Error) -> Exception:
    text = str(error)
    if "attempts.sent_at" in text and "NOT NULL" in text:
        return LeaseOver(f"{_NAME}: this process has lost its lease, and nothing is sent without one")
    if _OUTDATED.match(text):
        return Outdated(text)
    if "constraint" in text:
        return StoreError(f"{_NAME}: it holds something else under the same id already ({text})")
    return AssertionError(f"{text}: a statement that SQLite does not execute")


class MemoryEngine:
    """An engine of a `SharedMemory` for one member. A message goes on if its caller is cancelled.

    ``in_turn``: one message at a time, as on one connection.
    """

    def __init__(self, memory: SharedMemory, fault: Fault, *, in_turn: bool = False) -> None:
        self.fault = fault
        self._memory = memory
        self._running: set[asyncio.Task[Any]] = set()
        self._turn = asyncio.Lock() if in_turn else nullcontext()

    @property
    def name(self) -> str:
        return _NAME

    def run(self, work: Work[_T], *, writes: bool = True) -> asyncio.Future[_T]:
        return self._begin(replay(work, self._execute, self.name))

    def call(self, name: str, work: Callable[[], _T]) -> asyncio.Future[_T]:
        """Call what is a statement of this name on a server."""

        async def execute() -> _T:
            await self.fault("before", name)
            result = work()
            await self.fault("after", name)
            return result

        return self._begin(execute())

    async def end(self) -> None:
        """Wait until nothing is executed any more."""
        while self._running:
            await asyncio.wait(tuple(self._running))

    def _begin(self, work: Any) -> asyncio.Future[Any]:
        task = asyncio.get_running_loop().create_task(work, name="statement")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        answer = asyncio.shield(task)
        answer.add_done_callback(ignore_error)
        task.add_done_callback(ignore_error)
        return answer

    async def _execute(self, questions: Sequence[Question]) -> list[Rows]:
        name = name_of(questions)
        async with self._turn:
            await self.fault("before", name)
            answers = self._memory.execute(*questions)
            await self.fault("after", name)
            return answers


class MemoryDatabase(PostgresDatabase):
    """One process's view of a `SharedMemory`. ``fault`` can be replaced at any time."""

    def __init__(
        self,
        memory: SharedMemory | None = None,
        *,
        lease: float = 10.0,
        fault: Fault = no_fault,
        webhooks: WebhookHub | None = None,
    ) -> None:
        super().__init__("postgresql://nowhere.example/looks", lease=lease, webhooks=webhooks)
        self._name = _NAME
        self.memory = memory if memory is not None else SharedMemory()
        self._fault = fault
        self._engines: list[MemoryEngine] = []

    def __repr__(self) -> str:
        return f"<MemoryDatabase: {_NAME}>"

    @property
    def fault(self) -> Fault:
        """What is awaited before and after each message."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        for engine in self._engines:
            engine.fault = fault

    def default_workspace(self) -> SharedLedger:
        """The workspace "default", which opens and closes this database, as a URL does."""
        return SharedLedger(self, "default", owns_database=True)

    async def kill(self) -> None:
        """End as a process that is killed: the lease runs out, and nothing more is written."""
        member = self._member
        if member is not None:
            self._member = None
            await member.stop()

    async def read_workspace(self, name: str) -> AsyncIterator[Intent]:
        engine = MemoryEngine(self.memory, no_fault)
        row, _ = await find_workspace(engine, name)
        if row is not None:
            ledger = Ledger(newer=True)
            ledger.begin(engine, Place(row.id, ""))
            async for intent in ledger.stream():
                yield intent

    def permits(self, member: Member, quota: int, workspace: int) -> SharedPermits:
        memory = self.memory
        if quota not in memory.quotas:
            memory.quotas[quota] = MemoryQuota(
                lambda: memory.now().timestamp(), lambda: memory.timeline, minute=self.quota_window
            )
        return MemoryPermits(memory.quotas[quota], f"{member.id} {workspace}", self._engines[0].call)

    async def _connect(self) -> Member:
        general = MemoryEngine(self.memory, self._fault)
        for_lease = MemoryEngine(self.memory, self._fault, in_turn=True)
        self._engines = [general, for_lease]
        return Member(general, for_lease, self.memory.new_member(), self._lease)

    async def _disconnect(self, until: float | None) -> None:
        for engine in self._engines:
            await engine.end()
