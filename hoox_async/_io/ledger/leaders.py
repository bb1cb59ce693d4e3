"""What one process does for all: polling, and kept deliveries."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable
from typing import Any

from ...errors import StoreError
from ..clock import Clock
from ..logs import failures_logged
from ..protocols import Coordination, PollDuty
from .statements import alive, of_workspaces
from .transaction import Engine, Question, Transaction

_AT_ONCE = 50  # deliveries: each begins a task

# Two leaders for a moment cost requests, never truth.
LEAD = (
    "INSERT INTO hoox.leaders (workspace, member) SELECT w.id, m.id FROM hoox.workspaces w "  # noqa: S608
    f"JOIN hoox.members m ON m.id = :me AND {alive('m')} WHERE w.id IN ({{workspaces}}) AND NOT EXISTS "
    f"(SELECT 1 FROM hoox.leaders o JOIN hoox.members l ON l.id = o.member AND {alive('l')} "
    "WHERE o.workspace = w.id) ORDER BY w.id "
    "ON CONFLICT (workspace) DO UPDATE SET member = excluded.member WHERE NOT EXISTS "
    f"(SELECT 1 FROM hoox.members l WHERE l.id = leaders.member AND {alive('l')})"
)
LEADERS = (
    "SELECT o.workspace, o.member FROM hoox.leaders o JOIN hoox.members m ON m.id = o.member "  # noqa: S608
    f"WHERE o.workspace IN ({{workspaces}}) AND {alive('m')}"
)
IS_ALIVE = f"SELECT EXISTS (SELECT 1 FROM hoox.members m WHERE m.id = :me AND {alive('m')})"  # noqa: S608
RESIGN = "DELETE FROM hoox.leaders WHERE workspace IN ({workspaces}) AND member = :me"
WITHDRAW_LIMITS = "DELETE FROM hoox.stated_limits WHERE workspace IN ({workspaces}) AND member = :me"
SNAPSHOT = "SELECT pg_current_snapshot()::text"
_KEPT = (
    "SELECT d.workspace, d.attempt FROM hoox.deliveries d JOIN hoox.attempts a ON a.workspace = d.workspace "
    "AND a.id = d.attempt JOIN hoox.intents i ON i.seq = a.intent WHERE d.workspace IN ({workspaces}) "
    "AND i.state IN ('accepted', 'unknown', 'sending')"
)
ALL_KEPT = _KEPT
KEPT_SINCE = _KEPT + (
    " AND d.kept_by <> :me AND d.kept_in >= pg_snapshot_xmin(CAST(:since AS pg_snapshot)) "
    "AND d.kept_in < pg_snapshot_xmax(pg_current_snapshot()) "
    "AND NOT pg_visible_in_snapshot(d.kept_in, CAST(:since AS pg_snapshot))"
)


class Leaders:
    """Agrees with other members on who leads each workspace, and does a leader's part.

    ``lease`` is in seconds.
    """

    def __init__(self, engine: Engine, me: str, clock: Clock, lease: float) -> None:
        self._engine = engine
        self._me = me
        self._clock = clock
        self._lease = lease
        self._parts: dict[int, _Part] = {}
        self._left: set[int] = set()  # workspaces of which this member may still be written as the leader
        self._agreed_at = -math.inf
        self._kept_since: str | None = None

    def add(self, workspace: int, coordination: Coordination) -> None:
        """Take part in what one process does for all in this workspace."""
        self._parts[workspace] = _Part(coordination)
        self._left.discard(workspace)

    async def leave(self, workspace: int) -> None:
        """Take no part any more in this workspace. Another process may lead it at once.

        Raises `StoreError`; then `coordinate` writes it.
        """
        if self._parts.pop(workspace, None) is not None:
            self._left.add(workspace)
            await self._resign_left()

    def read_all_deliveries(self) -> None:
        """Read also the deliveries that were kept before: another server has taken over."""
        self._kept_since = None

    async def coordinate(self) -> None:
        """Agree on who leads, and pass on deliveries."""
        if self._parts:
            await self._agree_while_connected()
            await self._read_deliveries()
        await self._resign_left()

    async def _agree_while_connected(self) -> None:
        try:
            await self._agree()
        except StoreError:
            if self._clock.now() - self._agreed_at > self._lease:  # others lead by now
                for part in self._parts.values():
                    part.set_duty(PollDuty.OTHERS)
            raise

    async def _agree(self) -> None:
        began, parts = self._clock.now(), dict(self._parts)
        candidates = [number for number, part in parts.items() if part.coordination.may_lead()]
        resigned = [each for each in parts.keys() - candidates if parts[each].duty is PollDuty.ALL]
        if resigned:
            await self._resign(resigned)
        questions = [self._question(LEAD, candidates)] if candidates else []
        questions += [(IS_ALIVE, {"me": self._me}), self._question(LEADERS, parts)]
        *_, [(is_alive,)], rows = await self._engine.run(lambda tx: tx.ask(*questions))
        nobody = PollDuty.AWAITED if is_alive else PollDuty.UNCERTAIN
        leaders: dict[int, str] = dict(rows)
        self._agreed_at = began
        for workspace, part in parts.items():
            if self._parts.get(workspace) is part:
                leader = leaders.get(workspace)
                others = nobody if leader is None else PollDuty.OTHERS
                part.set_duty(PollDuty.ALL if leader == self._me else others)

    async def _resign_left(self) -> None:
        left = tuple(self._left)
        if left:
            await self._resign(left)
            self._left.difference_update(left)

    async def _resign(self, workspaces: Collection[int]) -> None:
        statements = [self._question(each, workspaces) for each in (WITHDRAW_LIMITS, RESIGN)]

        def resign(tx: Transaction) -> None:
            for statement in statements:
                tx.write(*statement)

        await self._engine.run(resign)

    def _led(self) -> list[int]:
        return [number for number, part in self._parts.items() if part.duty is PollDuty.ALL]

    async def _read_deliveries(self) -> None:
        """Pass on what other members have kept for the workspaces that this one leads."""
        led = self._led()
        if not led:
            return
        is_new = any(not self._parts[workspace].has_read_deliveries for workspace in led)
        since = None if is_new else self._kept_since
        statement = ALL_KEPT if since is None else KEPT_SINCE
        kept_question = self._question(statement, led, since=since)
        [(snapshot,)], kept = await self._engine.run(
            lambda tx: tx.ask((SNAPSHOT, {}), kept_question), writes=False
        )
        self._kept_since = snapshot
        for workspace in led:
            if workspace in self._parts:
                self._parts[workspace].has_read_deliveries = True
        for number, (workspace, attempt_id) in enumerate(kept, start=1):
            if workspace in self._parts:
                with failures_logged("passing on a kept delivery"):
                    self._parts[workspace].coordination.on_delivery(attempt_id)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _question(self, statement: str, workspaces: Iterable[int], **values: Any) -> Question:
        return of_workspaces(statement, workspaces), {"me": self._me, **values}


class _Part:
    """A session's part in what one process does for all, and its duty as far as it is known."""

    def __init__(self, coordination: Coordination) -> None:
        self.coordination = coordination
        self.duty: PollDuty | None = None
        self.has_read_deliveries = False

    def set_duty(self, duty: PollDuty) -> None:
        """Give the session a duty that is new to it."""
        if duty is not self.duty:
            self.duty = duty
            self.has_read_deliveries = False
            with failures_logged("changing who polls"):
                self.coordination.on_duty(duty)
