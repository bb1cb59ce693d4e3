"""The ledger of one workspace of a database that other processes use too, as a session sees it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from ..._core.intents.budget import StoredBudget
from ..._core.intents.intent import Intent, IntentState
from ..._core.intents.transitions import IllegalTransition, Send, Transition, recovery_transitions
from ...errors import StoreError
from ..logs import failures_logged
from ..protocols import Coordination, SharedPermits, Workspace
from ..tasks import tried_until
from . import statements as sql
from .binding import bind
from .intent_rows import Place, Row, Written, from_units
from .ledger import Ledger
from .member import Member
from .news import OnOwed
from .transaction import LeaseOver, Work

if TYPE_CHECKING:
    from .database import PostgresDatabase

_T = TypeVar("_T")


class SharedLedger(Ledger):
    """A `Ledger` that other processes use too, for one session of this process at a time.

    ``owns_database``: opening it opens the database, and closing it closes the database.
    """

    def __init__(self, database: PostgresDatabase, workspace: str, *, owns_database: bool = False) -> None:
        super().__init__(newer=True)
        self._database = database
        self._workspace = workspace
        self._owns_database = owns_database
        self._member: Member | None = None
        self._quota = 0
        self._listeners: list[Callable[[Intent], None]] = []

    def __repr__(self) -> str:
        return f"<SharedLedger: {self.name}>"

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
        return self._database.permits(self._require_member(), self._quota, self._place.workspace)

    def on_changed_elsewhere(self, listener: Callable[[Intent], None]) -> Callable[[], None]:
        """Call ``listener`` with each intent that another process has changed, about a second later."""
        self._listeners.append(listener)

        def end() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def coordinate(self, coordination: Coordination) -> None:
        """Take part in what one process does for all, until the ledger is closed."""
        self._require_member().coordinate(self._place.workspace, coordination)

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
            self.begin(member.engine, Place(0, member.id), workspace.hooks)
            self._member = member
            row, self._binding = await bind(
                member.engine, self._workspace, workspace, self.name, self._is_free
            )
            self._place, self._quota = Place(row.id, member.id, workspace.hooks == "hooks"), row.quota
            await self._mark_own_as_unknown()
            member.open_workspace(row.id, self._publish)
        except BaseException:
            self._member = None
            await self._release(None)
            raise

    async def aclose(self, until: float | None = None) -> None:
        """Close the workspace. It can be called at any time, and again. In a forked child it does nothing."""
        member = self._member
        if member is None or not self._database.is_in_own_process:
            return
        try:
            await member.close_workspace(self._place.workspace, until)
            await tried_until(until, self._leave_nothing())  # else the sweep does it
        finally:
            self._member = None
            await self._release(until)

    async def _leave_nothing(self) -> None:
        await self._mark_own_as_unknown()
        await self.release(None)

    async def _release(self, until: float | None) -> None:
        try:
            if self._owns_database:
                await self._database.close_by(until)
        finally:
            self._database.release(self._workspace, self)

    async def _is_free(self, workspace: int) -> bool:
        """Whether nothing was or may have been paid in the workspace."""
        self._place = self._place._replace(workspace=workspace)
        async for intent in self.stream():
            if not intent.never_charged:
                return False
        return True

    async def _mark_own_as_unknown(self) -> None:
        """Mark as UNKNOWN what this member was sending here: no session of it has the workspace open."""
        for intent in await self.in_states([IntentState.SENDING], own=True):
            with suppress(IllegalTransition):
                await self.advance(intent.key, *recovery_transitions(intent))

    def confirm_key(self) -> None:
        """Bind the workspace to its API key for good. Returns at once; it is written in the background."""
        member, binding = self._member, self._binding
        if not self._key_confirmed and member is not None and binding is not None:
            self._key_confirmed = True  # if the write fails, the next session does it again
            fingerprint = binding.fingerprint.hex()
            write = self._write(sql.CONFIRM_KEY, fingerprint=fingerprint)
            member.spawn(write, "hoox-confirm-key")

    async def plan(self, intent: Intent) -> Intent:
        """Insert a new intent. Where its key exists already, change nothing and return the stored intent."""
        if intent.state is IntentState.SENDING:
            self._require_member().failover.check_may_send(self.name)
        return await super().plan(intent)

    async def advance(self, key: str, *transitions: Transition) -> Intent:
        """Apply the transitions, all or none. Nothing is sent in the first minute after a failover."""
        if any(isinstance(step, Send) for step in transitions):
            self._require_member().failover.check_may_send(self.name)
        return await super().advance(key, *transitions)

    async def _change(self, key: str, work: Work[Written]) -> Written:
        member = self._require_member()
        try:
            written = await super()._change(key, work)
        except LeaseOver:  # this process was stopped, or without the database, for a lease
            await self._named(member.renew())
            member.failover.check_may_send(self.name)
            written = await super()._change(key, work)
        member.note(self._place.workspace, key, written)
        return written

    async def open_budget(self, name: str, max_credits: Decimal, spent: Decimal) -> StoredBudget:
        """Create the budget, unless there is one of this name, and remember it for ten minutes."""
        member = self._require_member()
        stored = await super().open_budget(name, max_credits, spent)
        [(_, _, _, initial)] = await self._rows(sql.BUDGET, name=name)
        created = stored._replace(charged=from_units(initial))
        member.recent.add_budget(member.clock.now(), self._place.workspace, created)
        return stored

    def tell_by(self, on_owed: OnOwed, has_room: Callable[[], bool]) -> None:
        """Call ``on_owed`` with each intent whose end this session is to tell its hooks of."""
        super().tell_by(on_owed, has_room)
        if self._news is not None:
            self._require_member().add_news(self._place.workspace, self._news)

    def _held_since(self) -> float:
        return self._member.held_since() if self._member is not None else math.inf

    def _publish(self, intent: Intent, row: Row | None) -> None:
        for listener in tuple(self._listeners):
            with failures_logged("hearing of another process's change"):
                listener(intent)
        if row is not None and self._news is not None:
            self._news.found(row, intent)

    def _require_member(self) -> Member:
        if self._member is None:
            raise StoreError(f"{self.name}: the store is not open")
        self._database.require_member()
        return self._member

    async def _run(self, work: Work[_T], *, writes: bool = True) -> _T:
        self._require_member()
        return await self._named(super()._run(work, writes=writes))

    async def _named(self, answer: Awaitable[_T]) -> _T:
        """The answer. An error of the database names the workspace, where it names only the database."""
        try:
            return await answer
        except StoreError as error:
            text: Any = str(error)
            if isinstance(error, LeaseOver) or self.name in text or not text.startswith(self._database.name):
                raise
            raise StoreError(f"{self.name}{text.removeprefix(self._database.name)}") from error
