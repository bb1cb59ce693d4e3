"""An in-memory twin of the PostgreSQL database: several "processes" on one loop, with a clock that may jump.

`PostgresStore`, its member and its feed are the real ones; only the statements are executed here, on plain
dictionaries. A fault may delay, fail or lose the answer of each statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeVar

import attrs
from shared_permits_kit import MemoryPermits, MemoryQuota

from hoox_async._api.models import LookRef
from hoox_async._api.requests import FREE
from hoox_async._core.intents.budget import StoredBudget
from hoox_async._core.intents.copies import KnownAvatar
from hoox_async._core.intents.intent import Intent, IntentState
from hoox_async._core.intents.records import text_of_source
from hoox_async._io.clock import Clock
from hoox_async._io.stores.postgres import intent_rows
from hoox_async._io.stores.postgres.queries import (
    BudgetRow,
    Changes,
    ChangesRead,
    IntentRow,
    IntentWrite,
    KeptDeliveries,
    Renewed,
    Unnotified,
    WorkspaceRow,
    Written,
)
from hoox_async._io.stores.postgres.shared_database import SharedDatabase
from hoox_async._io.stores.postgres.store import PostgresStore
from hoox_async._io.stores.workspace_binding import Binding
from hoox_async.errors import StoreError
from hoox_async.webhooks import WebhookHub

_T = TypeVar("_T")
_SETTLED = (IntentState.READY, IntentState.FAILED)
_UNSETTLED = (IntentState.SENDING, IntentState.ACCEPTED, IntentState.UNKNOWN)

Fault = Callable[[Literal["before", "after"], str], Awaitable[None]]
"""Awaited before and after each statement, with its name. What it raises, the caller of the statement gets:
after it, the statement took place nevertheless."""


async def no_fault(_: Literal["before", "after"], __: str) -> None:
    """Let the statement be executed."""
    await asyncio.sleep(0)


@attrs.define
class _Intent:
    row: IntentRow
    state: IntentState
    member: str | None
    claimed: LookRef | None
    changed_in: int
    changed_by: str


@attrs.define
class _Member:
    expires_at: datetime
    steady_since: datetime
    timeline: str
    lease: timedelta

    def is_in_time(self, now: datetime) -> bool:
        """Whether it has renewed within half a lease."""
        return self.lease / 2 <= self.expires_at - now <= 2 * self.lease


class SharedMemory:
    """What one database holds. ``clock_shift`` is how far its clock is ahead of the loop's."""

    def __init__(self) -> None:
        self.clock_shift = timedelta()
        self.timeline = "1"
        self.commits = 0
        self.workspaces: dict[str, WorkspaceRow] = {}
        self.members: dict[str, _Member] = {}
        self.intents: dict[tuple[int, str], _Intent] = {}  # in the order of the plan
        self.attempts: dict[tuple[int, str], tuple[str, datetime]] = {}
        self.claimed: dict[tuple[int, str], set[str]] = {}
        self.budgets: dict[tuple[int, str], StoredBudget] = {}
        self.initial_charges: dict[tuple[int, str], Decimal] = {}  # of budgets that somebody has opened
        self.deliveries: dict[tuple[int, str], tuple[str, str, int]] = {}  # record, who kept it, commit
        self.leaders: dict[int, str] = {}
        self.unnotified: set[tuple[int, str]] = set()
        self.quotas: dict[int, MemoryQuota] = {}
        self._members_made = 0
        self._planned = 0

    def now(self) -> datetime:
        """The database's time."""
        return Clock(asyncio.get_running_loop()).utc() + self.clock_shift

    def workspace(self, name: str) -> WorkspaceRow | None:
        """The workspace of this name, with the number of its quota."""
        if name not in self.workspaces:
            return None
        same = {name}
        for _ in self.workspaces:
            keys = {binding for each in same for binding in self.workspaces[each].bindings}
            same |= {each for each, row in self.workspaces.items() if keys.intersection(row.bindings)}
        return self.workspaces[name]._replace(quota=min(self.workspaces[each].id for each in same))

    def new_member(self) -> str:
        """An id that no member had before."""
        self._members_made += 1
        return f"member {self._members_made}"

    def is_alive(self, member: str | None) -> bool:
        """Whether the member's lease is not over."""
        found, now = self.members.get(member or ""), self.now()
        if found is None or found.timeline != self.timeline:
            return False
        return now < found.expires_at <= now + 2 * found.lease

    def may_sweep(self, member: str, lease: timedelta) -> bool:
        """Whether the member has renewed in time for one lease."""
        found, now = self.members.get(member), self.now()
        if found is None or found.timeline != self.timeline:
            return False
        return found.is_in_time(now) and found.steady_since + lease <= now

    def put(
        self,
        me: str,
        workspace: int,
        write: IntentWrite,
        sweep: timedelta | None,
        lost_version: int | None = None,
    ) -> Written:
        """Do what the function ``put_1`` does."""
        for claim in {*write.claims, *([write.claimed] if write.claimed else [])}:
            for (where, key), other in self.intents.items():
                if where == workspace and key != write.key and other.claimed == claim:
                    return Written("taken", key, claim)
        if write.state is IntentState.SENDING and write.attempts and not self.is_alive(me):
            return Written("not_alive")
        stored = self.intents.get((workspace, write.key))
        if (stored.row.version if stored else 0) != write.was:
            return Written("stale" if sweep is None else "alive")
        refused = self._refusal(me, workspace, write, stored) if write.attempts else None
        if refused is not None and (refused.budget is None or lost_version is None):
            return refused
        if sweep is not None and not self._is_dead(stored, me, sweep):
            return Written("alive")
        if any((workspace, attempt.id) in self.attempts for attempt in write.attempts):
            raise StoreError("the database: it holds something else under the same id already")
        self._write(me, workspace, write, stored, lost_version or write.was + 1)
        return Written("written")

    def _refusal(self, me: str, workspace: int, write: IntentWrite, stored: _Intent | None) -> Written | None:
        planned = stored if stored is not None and stored.state is IntentState.PLANNED else None
        if write.replaces and planned is not None and planned.member != me and self.is_alive(planned.member):
            return Written("held")
        for name, change in write.charges:
            budget = self.budgets.get((workspace, name)) or StoredBudget(name, FREE, FREE)
            if change > 0 and budget.charged + change > budget.max_credits:
                return Written("over", budget=budget, change=change)
        return None

    def _is_dead(self, stored: _Intent | None, me: str, lease: timedelta) -> bool:
        sends = stored is not None and stored.state is IntentState.SENDING
        return stored is not None and sends and self.may_sweep(me, lease) and not self.is_alive(stored.member)

    def _write(
        self, me: str, workspace: int, write: IntentWrite, stored: _Intent | None, version: int
    ) -> None:
        self.commits += 1
        if stored is None:
            self._planned += 1
        seq = self._planned if stored is None else stored.row.seq
        was_settled = stored is not None and stored.state in _SETTLED
        if write.state in _SETTLED and not was_settled:
            self.unnotified.add((workspace, write.key))
        row = IntentRow(workspace, seq, write.key, version, write.record, write.crc)
        member = me if write.attempts else stored.member if stored else None
        written = _Intent(row, write.state, member, write.claimed, self.commits, me)
        self.intents[workspace, write.key] = written
        for name, change in write.charges:
            budget = self.budgets.get((workspace, name)) or StoredBudget(name, FREE, FREE)
            self.budgets[workspace, name] = budget._replace(charged=budget.charged + change)
        for attempt in write.attempts:
            self.attempts[workspace, attempt.id] = (write.key, attempt.sent_at)
        for claim in (*write.claims, *write.extra):
            self.claimed.setdefault((workspace, claim.avatar_id), set()).add(claim.look_id)


class MemoryQueries:
    """Implements `Queries` for one member. A statement goes on if its caller is cancelled, as a real one."""

    def __init__(self, memory: SharedMemory, lease: float, fault: Fault) -> None:
        self.member = memory.new_member()
        self.fault = fault
        self._memory = memory
        self._lease = timedelta(seconds=lease)
        self._running: set[asyncio.Task[Any]] = set()
        self._lease_turn = asyncio.Lock()  # they use one connection

    @property
    def name(self) -> str:
        """What messages call the database."""
        return "the shared memory"

    async def workspace(self, name: str) -> WorkspaceRow | None:
        return await self._ask("workspace", lambda: self._memory.workspace(name))

    async def key_salt(self) -> bytes:
        return b"salt"

    async def add_workspace(self, name: str, binding: Binding) -> None:
        known = self._memory.workspaces
        row = WorkspaceRow(len(known) + 1, 0, (binding,), False)
        await self._ask("add_workspace", lambda: known.setdefault(name, row))

    async def replace_keys(self, workspace: int, old: Sequence[Binding], new: Sequence[Binding]) -> None:
        def replace(row: WorkspaceRow) -> WorkspaceRow:
            return WorkspaceRow(row.id, 0, tuple(new), False) if row.bindings == tuple(old) else row

        await self._ask("replace_keys", lambda: self._change_workspace(workspace, replace))

    async def confirm_key(self, workspace: int, binding: Binding) -> None:
        def confirm(row: WorkspaceRow) -> WorkspaceRow:
            return row._replace(key_confirmed=row.key_confirmed or row.bindings[0] == binding)

        await self._ask("confirm_key", lambda: self._change_workspace(workspace, confirm))

    async def get(self, workspace: int, keys: Collection[str]) -> list[IntentRow]:
        intents = self._memory.intents
        return await self._ask(
            "get", lambda: [intents[workspace, key].row for key in keys if (workspace, key) in intents]
        )

    async def put(self, workspace: int, write: IntentWrite, *, if_sender_dead: bool = False) -> Written:
        sweep = self._lease if if_sender_dead else None
        return await self._ask("put", lambda: self._memory.put(self.member, workspace, write, sweep))

    async def release(self, workspace: int, key: str | None) -> None:
        def release() -> None:
            for each in self._all(workspace):
                ours = each.member == self.member and each.state is IntentState.PLANNED
                if ours and key in (None, each.row.key):
                    each.member = None

        await self._ask("release", release)

    async def open_budget(self, workspace: int, budget: StoredBudget) -> BudgetRow:
        def open_budget() -> BudgetRow:
            memory, place = self._memory, (workspace, budget.name)
            if place not in memory.initial_charges:
                memory.initial_charges[place] = budget.charged
                restored = memory.budgets[place].charged if place in memory.budgets else FREE
                memory.budgets[place] = budget._replace(charged=budget.charged + restored)
            return BudgetRow(memory.budgets[place], memory.initial_charges[place])

        return await self._ask("open_budget", open_budget)

    async def budget(self, workspace: int, name: str) -> StoredBudget | None:
        def find() -> StoredBudget | None:
            is_open = (workspace, name) in self._memory.initial_charges
            return self._memory.budgets.get((workspace, name)) if is_open else None

        return await self._ask("budget", find)

    async def set_cap(self, workspace: int, name: str, max_credits: Decimal) -> None:
        def change() -> None:
            budgets = self._memory.budgets
            budgets[workspace, name] = budgets[workspace, name]._replace(max_credits=max_credits)

        await self._ask("set_cap", change)

    async def by_attempt(self, workspace: int, attempt_id: str) -> IntentRow | None:
        def find() -> IntentRow | None:
            found = self._memory.attempts.get((workspace, attempt_id))
            return self._memory.intents[workspace, found[0]].row if found else None

        return await self._ask("by_attempt", find)

    async def by_ref(self, workspace: int, ref: LookRef) -> IntentRow | None:
        def find() -> IntentRow | None:
            return next((each.row for each in self._all(workspace) if each.claimed == ref), None)

        return await self._ask("by_ref", find)

    async def page(
        self,
        workspace: int,
        states: Collection[IntentState] | None,
        *,
        own: bool = False,
        after: int = 0,
        size: int | None = None,
    ) -> list[IntentRow]:
        def find() -> list[IntentRow]:
            found = [
                each.row
                for each in self._all(workspace)
                if each.row.seq > after
                and (states is None or each.state in states)
                and (not own or each.member == self.member)
            ]
            return found[:size]

        return await self._ask("page", find)

    async def last_settled(self, workspace: int, count: int) -> list[IntentRow]:
        return await self._ask(
            "last_settled",
            lambda: [each.row for each in self._all(workspace) if each.state in _SETTLED][::-1][:count],
        )

    async def count_open(self, workspace: int) -> tuple[int, int]:
        def count() -> tuple[int, int]:
            states = [each.state for each in self._all(workspace)]
            return states.count(IntentState.UNKNOWN), states.count(IntentState.ACCEPTED)

        return await self._ask("count_open", count)

    async def claimed_looks(self, workspace: int, avatar_id: str) -> frozenset[str]:
        def find() -> frozenset[str]:
            return frozenset(self._memory.claimed.get((workspace, avatar_id), ()))

        return await self._ask("claimed_looks", find)

    async def known_avatar(self, workspace: int, avatar_id: str) -> KnownAvatar:
        def find() -> KnownAvatar:
            found = {
                each.claimed.avatar_id
                for each in self._all(workspace)
                if each.claimed is not None
                and (each.claimed.avatar_id == avatar_id)
                == (text_of_source(avatar_id) not in each.row.record)
            }
            if avatar_id in found:
                return KnownAvatar(created=True)
            return KnownAvatar(copies=frozenset(found))

        return await self._ask("known_avatar", find)

    async def claim_look(self, workspace: int, ref: LookRef) -> None:
        def add() -> None:
            self._memory.claimed.setdefault((workspace, ref.avatar_id), set()).add(ref.look_id)

        await self._ask("claim_look", add)

    async def keep_delivery(
        self, workspace: int, attempt_id: str, record: str, *, for_leader: bool = False
    ) -> None:
        def keep() -> None:
            if (workspace, attempt_id) in self._memory.attempts:
                self._memory.commits += 1
                kept = (record, "" if for_leader else self.member, self._memory.commits)
                self._memory.deliveries.setdefault((workspace, attempt_id), kept)

        await self._ask("keep_delivery", keep)

    async def kept_delivery(self, workspace: int, attempt_id: str) -> str | None:
        def find() -> str | None:
            found = self._memory.deliveries.get((workspace, attempt_id))
            return found[0] if found else None

        return await self._ask("kept_delivery", find)

    async def delivered(self, workspace: int, after: tuple[int, str], size: int) -> list[tuple[int, str]]:
        def find() -> list[tuple[int, str]]:
            memory, found = self._memory, list[tuple[int, str]]()
            for where, attempt_id in memory.deliveries:
                if where == workspace:
                    intent = memory.intents[workspace, memory.attempts[workspace, attempt_id][0]]
                    if intent.state in (IntentState.ACCEPTED, IntentState.UNKNOWN):
                        found.append((intent.row.seq, attempt_id))
            return sorted(each for each in found if each > after)[:size]

        return await self._ask("delivered", find)

    def permits(self, quota: int, workspace: int, minute: float) -> MemoryPermits:
        memory = self._memory
        if quota not in memory.quotas:
            memory.quotas[quota] = MemoryQuota(
                lambda: memory.now().timestamp(), lambda: memory.timeline, minute=minute
            )
        return MemoryPermits(memory.quotas[quota], f"{self.member} {workspace}", self._ask)

    async def recent_attempts(self, workspace: int, since: datetime) -> list[datetime]:
        return await self._ask(
            "recent_attempts",
            lambda: sorted(
                sent_at
                for (where, _), (_, sent_at) in self._memory.attempts.items()
                if where == workspace and sent_at > since
            ),
        )

    async def restore(self, workspace: int, write: IntentWrite, version: int) -> Written:
        return await self._ask(
            "restore", lambda: self._memory.put(self.member, workspace, write, None, version)
        )

    async def renew(self, timeline: str | None) -> Renewed:
        def renew() -> Renewed:
            members, now = self._memory.members, self._memory.now()
            known, there = members.get(self.member), self._memory.timeline
            goes_by = timeline or there
            is_steady = known is not None and known.is_in_time(now) and known.timeline == goes_by
            steady_since = min(known.steady_since, now) if known is not None and is_steady else now
            members[self.member] = _Member(now + self._lease, steady_since, goes_by, self._lease)
            return Renewed(now, there)

        return await self._ask("renew", renew)

    async def leave(self) -> None:
        await self._ask("leave", lambda: self._memory.members.pop(self.member, None))

    async def lead(
        self, candidates: Collection[int], watched: Collection[int]
    ) -> Mapping[int, Literal["self", "other"] | None]:
        def lead() -> dict[int, Literal["self", "other"] | None]:
            memory, found = self._memory, dict[int, Literal["self", "other"] | None]()
            for workspace in (*candidates, *watched):
                leader = memory.leaders.get(workspace)
                if not memory.is_alive(leader):
                    leader = None
                    if workspace in candidates and memory.is_alive(self.member):
                        leader = memory.leaders[workspace] = self.member
                found[workspace] = None if leader is None else "self" if leader == self.member else "other"
            return found

        return await self._ask("lead", lead)

    async def resign(self, workspaces: Collection[int]) -> None:
        def resign() -> None:
            for workspace in workspaces:
                if self._memory.leaders.get(workspace) == self.member:
                    del self._memory.leaders[workspace]
                for quota in self._memory.quotas.values():
                    quota.stated.pop(f"{self.member} {workspace}", None)

        await self._ask("resign", resign)

    async def confirm_notified(self, looks: Collection[tuple[int, str]]) -> None:
        await self._ask("confirm_notified", lambda: self._memory.unnotified.difference_update(looks))

    async def unnotified(self, workspaces: Collection[int]) -> list[Unnotified]:
        def find() -> list[Unnotified]:
            memory = self._memory
            found = [memory.intents[place] for place in memory.unnotified if place[0] in workspaces]
            return [Unnotified(each.row, memory.is_alive(each.member)) for each in found]

        return await self._ask("unnotified", find)

    async def own_unnotified(self, workspaces: Collection[int]) -> list[IntentRow]:
        def find() -> list[IntentRow]:
            memory = self._memory
            found = [memory.intents[place] for place in memory.unnotified if place[0] in workspaces]
            return [each.row for each in found if each.member == self.member]

        return await self._ask("own_unnotified", find)

    async def deliveries(self, workspaces: Collection[int], since: str | None) -> KeptDeliveries:
        def find() -> KeptDeliveries:
            memory, kept = self._memory, list[tuple[int, str]]()
            for (workspace, attempt_id), (_, kept_by, commit) in memory.deliveries.items():
                intent = memory.intents[workspace, memory.attempts[workspace, attempt_id][0]]
                is_new = since is None or (kept_by != self.member and commit > int(since))
                if workspace in workspaces and is_new and intent.state in _UNSETTLED:
                    kept.append((workspace, attempt_id))
            return KeptDeliveries(str(memory.commits), kept)

        return await self._ask("deliveries", find)

    async def attempt_anywhere(self, attempt_id: str) -> IntentRow | None:
        def find() -> IntentRow | None:
            found = [
                self._memory.intents[workspace, key].row
                for (workspace, other), (key, _) in self._memory.attempts.items()
                if other == attempt_id
            ]
            return found[0] if found else None

        return await self._ask("attempt_anywhere", find)

    async def sent_by_dead_members(self, workspaces: Collection[int]) -> list[IntentRow]:
        def find() -> list[IntentRow]:
            memory = self._memory
            if not memory.may_sweep(self.member, self._lease):
                return []
            return [
                each.row
                for each in memory.intents.values()
                if each.row.workspace in workspaces
                and each.state is IntentState.SENDING
                and not memory.is_alive(each.member)
            ]

        return await self._ask("sent_by_dead_members", find)

    async def left_sending(self, workspaces: Collection[int]) -> list[IntentRow]:
        def find() -> list[IntentRow]:
            return [
                each.row
                for each in self._memory.intents.values()
                if each.row.workspace in workspaces
                and each.state is IntentState.SENDING
                and each.member == self.member
            ]

        return await self._ask("left_sending", find)

    async def earlier_snapshot(self) -> str:
        return await self._ask("earlier_snapshot", lambda: str(max(0, self._memory.commits - 1000)))

    async def changes(
        self, workspaces: Collection[int], since: str | None, read: ChangesRead | None, size: int
    ) -> Changes:
        def find() -> Changes:
            until = str(self._memory.commits) if read is None else read.until
            after = read.transaction if read is not None else since
            found = [
                each
                for each in self._memory.intents.values()
                if after is not None
                and each.row.workspace in workspaces
                and int(after) < each.changed_in <= int(until)
                and each.changed_by != self.member
            ]
            page = sorted(found, key=lambda each: each.changed_in)[:size]
            more = ChangesRead(until, str(page[-1].changed_in), 0) if len(page) == size else None
            return Changes(until, [each.row for each in page], more)

        return await self._ask("changes", find)

    async def end(self) -> None:
        """Wait for the statements that are still executed."""
        while self._running:
            await asyncio.wait(tuple(self._running))

    def _all(self, workspace: int) -> list[_Intent]:
        return [each for (where, _), each in self._memory.intents.items() if where == workspace]

    def _change_workspace(self, number: int, change: Callable[[WorkspaceRow], WorkspaceRow]) -> None:
        for name, row in self._memory.workspaces.items():
            if row.id == number:
                self._memory.workspaces[name] = change(row)

    async def _ask(self, name: str, statement: Callable[[], _T]) -> _T:
        async def execute() -> _T:
            async with self._lease_turn if name in ("renew", "leave") else nullcontext():
                await self.fault("before", name)
                result = statement()
                await self.fault("after", name)
                return result

        task = asyncio.get_running_loop().create_task(execute(), name=f"statement {name}")
        self._running.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()


class MemoryDatabase(SharedDatabase):
    """One process's view of a `SharedMemory`. ``fault`` can be replaced at any time."""

    def __init__(
        self,
        memory: SharedMemory | None = None,
        *,
        lease: float = 10.0,
        fault: Fault = no_fault,
        webhooks: WebhookHub | None = None,
    ) -> None:
        super().__init__("the shared memory", lease, webhooks)
        self.memory = memory if memory is not None else SharedMemory()
        self.queries: MemoryQueries | None = None
        self._fault = fault

    @property
    def fault(self) -> Fault:
        """What is awaited before and after each statement."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        if self.queries is not None:
            self.queries.fault = fault

    def default_workspace(self) -> PostgresStore:
        """The workspace "default", which opens and closes this database, as a URL does."""
        return PostgresStore(self, "default", owns_database=True)

    async def kill(self) -> None:
        """End as a process that is killed: the lease runs out, and nothing more is written."""
        member = self._member
        if member is not None:
            self._member = None
            await member.stop()

    async def read_workspace(self, name: str) -> AsyncIterator[Intent]:
        row = self.memory.workspaces.get(name)
        for (workspace, _), each in self.memory.intents.items():
            if row is not None and workspace == row.id:
                yield intent_rows.read(each.row)

    async def _connect(self) -> MemoryQueries:
        self.queries = MemoryQueries(self.memory, self._lease, self._fault)
        return self.queries

    async def _disconnect(self) -> None:
        if self.queries is not None:
            await self.queries.end()
