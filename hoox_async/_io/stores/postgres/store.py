"""One workspace of a shared database as a session sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from ...._api.models import LookRef
from ...._api.webhook_payloads import Delivery
from ...._core.intents.budget import StoredBudget
from ...._core.intents.copies import KnownAvatar
from ...._core.intents.intent import Intent, IntentState
from ...._core.intents.records import dump_delivery, load_delivery
from ...._core.intents.transitions import IllegalTransition, LookTaken, Transition, recovery_transitions
from ....errors import KeyConflict, StoreError
from ...logs import failures_logged
from ...protocols import Coordination, SharedPermits, StoreGauges, Workspace
from ..workspace_binding import Binding
from . import intent_rows
from .binding import bind
from .member import Member
from .queries import IntentRow, IntentWrite, Queries

if TYPE_CHECKING:
    from .shared_database import SharedDatabase

_PAGE = 500

_T = TypeVar("_T")


class PostgresStore:
    """A `Store` in a database that other processes use too, for one session of this process at a time.

    A write reads the intent, applies the transitions, and writes it if it has still the version that was
    read; else it reads again. No lock is held meanwhile.

    ``owns_database``: opening the store opens the database, and closing it closes the database.
    """

    def __init__(self, database: SharedDatabase, workspace: str, *, owns_database: bool = False) -> None:
        self._database = database
        self._workspace = workspace
        self._owns_database = owns_database
        self._member: Member | None = None
        self._id = self._quota = 0
        self._binding: Binding | None = None
        self._key_confirmed = False
        self._listeners: list[Callable[[Intent], None]] = []

    def __repr__(self) -> str:
        return f"<PostgresStore: {self.name}>"

    @property
    def name(self) -> str:
        """What messages call the workspace."""
        return f"{self._database.name}, workspace {self._workspace!r}"

    @property
    def is_open(self) -> bool:
        """Whether a session has it open."""
        return self._member is not None

    @property
    def is_shared(self) -> bool:
        """True: other processes may have the workspace open at the same time."""
        return True

    @property
    def epoch(self) -> datetime | None:
        """The datetime of this machine's boot time 0 by the database's clock; None while it is not open."""
        return self._member.epoch if self._member is not None else None

    @property
    def shared_permits(self) -> SharedPermits | None:
        """The quota's permits, which all processes take from the database."""
        return self._queries.permits(self._quota, self._id, self._database.quota_window)

    def on_changed_elsewhere(self, listener: Callable[[Intent], None]) -> Callable[[], None]:
        """Call ``listener`` with each intent that another process has changed, about a second later."""
        self._listeners.append(listener)

        def end() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def coordinate(self, coordination: Coordination) -> None:
        """Take part in what one process does for all, until the store is closed."""
        self._require_member().coordinate(self._id, coordination)

    def confirm_notified(self, key: str) -> None:
        """Hooks were notified that the look of this intent is settled. It is written soon."""
        if self._member is not None:
            self._member.confirm_notified(self._id, key)

    def read_unopened(self) -> AsyncIterator[Intent]:
        """Every intent of the workspace; none where the database does not have it (yet)."""
        return self._database.read_workspace(self._workspace)

    async def open(self, workspace: Workspace) -> None:
        """Bind the workspace, and begin to read what others change in it.

        Raises `StoreLocked` where another session has it open by the same database object, `StoreMismatch`
        where it belongs to another base URL or API key, and `StoreError`.
        """
        self._database.reserve(self._workspace, self)
        try:
            if self._owns_database:
                await self._database.open()
            member = self._database.require_member()
            row, self._binding = await bind(member.queries, self._workspace, workspace, self.name)
            self._id, self._quota = row.id, row.quota
            await self._mark_own_as_unknown(member)
            member.open_workspace(self._id, self._publish)
            self._key_confirmed = False
            self._member = member
        except BaseException:
            await self._release()
            raise

    async def aclose(self) -> None:
        """Close the workspace. It can be called at any time, and again. In a forked child it does nothing."""
        member = self._member
        if member is None or not self._database.is_in_own_process:
            return
        self._member = None
        try:
            await member.close_workspace(self._id)
            with suppress(StoreError):  # then the sweep does it, once this member is gone
                await self._mark_own_as_unknown(member)
                await member.queries.release(self._id, None)
        finally:
            await self._release()

    async def _release(self) -> None:
        try:
            if self._owns_database:
                await self._database.aclose()
        finally:
            self._database.release(self._workspace, self)

    async def _mark_own_as_unknown(self, member: Member) -> None:
        """Mark as UNKNOWN what this member was sending here: no session of it has the workspace open."""
        for row in await member.queries.page(self._id, [IntentState.SENDING], own=True):
            with suppress(IllegalTransition):
                await self._advance(member, row.key, recovery_transitions(intent_rows.read(row)))

    def confirm_key(self) -> None:
        """Bind the workspace to its API key for good. Returns at once; it is written in the background."""
        member, binding = self._member, self._binding
        if not self._key_confirmed and member is not None and binding is not None:
            self._key_confirmed = True  # if the write fails, the next session does it again
            member.spawn(member.queries.confirm_key(self._id, binding), "hoox-confirm-key")

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents of these keys, those that are known."""
        found = {row.key: row for row in await self._ask(self._queries.get(self._id, tuple(keys)))}
        return {key: self._read(found[key]) for key in keys if key in found}

    async def plan(self, intent: Intent) -> Intent:
        """Insert a new intent. Where its key exists already, change nothing and return the stored intent."""
        member = self._require_member()
        while not await self._put(member, intent_rows.insertion(intent)):
            stored = (await self.get((intent.key,))).get(intent.key)
            if stored is not None:
                return stored
        return intent

    async def advance(self, key: str, *transitions: Transition) -> Intent:
        """Apply the transitions, all or none. Raises `IllegalTransition`; `StoreError` for an unknown key.

        The row is written and gets the next version even where the transitions change nothing: that settles
        an earlier write whose answer was lost.
        """
        return await self._advance(self._require_member(), key, transitions)

    async def _advance(self, member: Member, key: str, transitions: Sequence[Transition]) -> Intent:
        while True:
            rows = await self._ask(member.queries.get(self._id, (key,)))
            if not rows:
                raise StoreError(f"{self.name}: it has no intent under the key {key!r}")
            after, write = intent_rows.update(rows[0], transitions)
            if await self._put(member, write):
                return after

    async def _put(self, member: Member, write: IntentWrite) -> bool:
        """Write it; False where the row has another version.

        Raises `LookTaken`, `BudgetExceeded` and `KeyConflict`: then nothing is written.
        """
        if write.state is IntentState.SENDING and write.attempts:
            member.check_may_send(self.name)
        written = await self._ask(member.put(self._id, write))
        if written.outcome == "not_alive":  # this process was stopped, or without the database, for a lease
            await self._ask(member.renew())
            member.check_may_send(self.name)
            written = await self._ask(member.put(self._id, write))
        if written.outcome == "not_alive":
            raise StoreError(f"{self.name}: this process has lost its lease, and nothing is sent without one")
        if written.outcome == "held":
            raise KeyConflict(write.key)
        if written.budget is not None:
            raise written.budget.exceeded_by(written.change)
        if written.taken is not None:
            raise LookTaken(written.taken, written.owner)
        return written.outcome == "written"

    async def open_budget(self, name: str, max_credits: Decimal, spent: Decimal) -> StoredBudget:
        """Create the budget, unless there is one of this name. Returns what is stored."""
        wanted = StoredBudget(name, max_credits, spent)
        return await self._ask(self._require_member().open_budget(self._id, wanted))

    async def budget(self, name: str) -> StoredBudget | None:
        """The budget of this name."""
        return await self._ask(self._queries.budget(self._id, name))

    async def by_attempt(self, attempt_id: str) -> Intent | None:
        """The intent that has this attempt, the latest or an earlier one."""
        return self._read_one(await self._ask(self._queries.by_attempt(self._id, attempt_id)))

    async def by_ref(self, ref: LookRef) -> Intent | None:
        """The intent that has this look."""
        return self._read_one(await self._ask(self._queries.by_ref(self._id, ref)))

    async def in_states(self, states: Collection[IntentState], *, own: bool = False) -> list[Intent]:
        """All intents in these states, in the order in which they were planned."""
        rows = await self._ask(self._queries.page(self._id, tuple(states), own=own))
        return [self._read(row) for row in rows]

    async def stream(self) -> AsyncIterator[Intent]:
        """Every intent, in the order in which they were planned, with a few hundred in memory at a time.

        One that another process plans meanwhile may be missing.
        """
        async for intent in self._stream(None):
            yield intent

    async def stream_accepted(self) -> AsyncIterator[Intent]:
        """Every intent that is ACCEPTED, in the order of the plan, with a few hundred in memory at a time."""
        async for intent in self._stream((IntentState.ACCEPTED,)):
            yield intent

    async def _stream(self, states: Collection[IntentState] | None) -> AsyncIterator[Intent]:
        after, more = 0, True
        while more:
            page = self._queries.page(self._id, states, after=after, size=_PAGE)
            rows = await self._ask(page)
            for row in rows:
                yield self._read(row)
            more = len(rows) == _PAGE
            after = rows[-1].seq if rows else after

    async def recently_settled(self, count: int) -> list[Intent]:
        """Up to ``count`` settled intents, those that were planned last."""
        return [self._read(row) for row in await self._ask(self._queries.last_settled(self._id, count))]

    async def gauges(self) -> StoreGauges:
        """Counts of the workspace's open intents."""
        unknowns, unsettled = await self._ask(self._queries.count_open(self._id))
        first = await self._ask(self._queries.page(self._id, (IntentState.ACCEPTED,), size=1))
        return StoreGauges(unknowns, unsettled, self._read(first[0]) if first else None)

    async def release(self, key: str) -> None:
        """Let other processes give the key's planned intent other content."""
        await self._ask(self._queries.release(self._id, key))

    async def forget(self, key: str) -> None:  # noqa: ARG002 -- the protocol's signature
        """Do nothing: all intents are kept."""
        self._require_member()

    async def claimed_looks(self, avatar_id: str) -> frozenset[str]:
        """The ids of an avatar's looks that were made for an intent."""
        return await self._ask(self._queries.claimed_looks(self._id, avatar_id))

    async def known_avatar(self, avatar_id: str) -> KnownAvatar:
        """What the workspace's intents tell of an avatar."""
        return await self._ask(self._queries.known_avatar(self._id, avatar_id))

    async def claim_look(self, ref: LookRef) -> None:
        """Write that this look was made for an intent."""
        await self._ask(self._queries.claim_look(self._id, ref))

    async def keep_delivery(self, attempt_id: str, delivery: Delivery) -> None:
        """Keep the first delivery of an attempt. One of an unknown attempt is not kept."""
        await self._ask(self._queries.keep_delivery(self._id, attempt_id, dump_delivery(delivery)))

    async def kept_delivery(self, attempt_id: str) -> Delivery | None:
        """The delivery that was kept for this attempt."""
        record = await self._ask(self._queries.kept_delivery(self._id, attempt_id))
        return load_delivery(record) if record is not None else None

    async def stream_delivered(self) -> AsyncIterator[str]:
        """The ids of attempts for which a delivery was kept, of intents that are ACCEPTED or UNKNOWN."""
        after, more = (0, ""), True
        while more:
            found = await self._ask(self._queries.delivered(self._id, after, _PAGE))
            for _, attempt_id in found:
                yield attempt_id
            more = len(found) == _PAGE
            after = found[-1] if found else after

    def note_sends(self, sent_at: Sequence[datetime]) -> Awaitable[None]:  # noqa: ARG002
        """Do nothing: a write for each GET would cost more than the few that a restart forgets."""
        self._require_member()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def recent_sends(self, since: datetime) -> list[datetime]:
        """When any process has sent attempts after ``since``, oldest first."""
        return await self._ask(self._queries.recent_attempts(self._id, since))

    @property
    def _queries(self) -> Queries:
        return self._require_member().queries

    def _require_member(self) -> Member:
        if self._member is None:
            raise StoreError(f"{self.name}: the store is not open")
        return self._database.require_member()

    async def _ask(self, answer: Awaitable[_T]) -> _T:
        """Await the database's answer. Its errors get the name of the workspace."""
        try:
            return await answer
        except StoreError as error:
            if self.name in str(error) or not str(error).startswith(self._database.name):
                raise
            detail = str(error).removeprefix(self._database.name)
            raise StoreError(f"{self.name}{detail}") from error

    def _read(self, row: IntentRow) -> Intent:
        try:
            return intent_rows.read(row)
        except StoreError as error:
            raise StoreError(f"{self.name}: {error}") from None

    def _read_one(self, row: IntentRow | None) -> Intent | None:
        return self._read(row) if row is not None else None

    def _publish(self, intent: Intent) -> None:
        for listener in tuple(self._listeners):
            with failures_logged("hearing of another process's change"):
                listener(intent)
