"""This process among those that share a database: its lease, its sweep, its feed of others' changes.

Each is one statement for all workspaces that the process has open, however many they are.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any

from ...._core.intents.intent import Intent
from ...._core.intents.transitions import MarkUnknown
from ....errors import SessionClosed, StoreError
from ...clock import Clock
from ...logs import failures_logged
from ...tasks import TaskSet
from . import intent_rows
from .queries import IntentRow, Queries

_FEED_INTERVAL = 1.0  # seconds
_MEASUREMENTS = 4  # of the clock
_SENDER_IS_DEAD = "the process that was sending the request ended, or lost the database, for a whole lease"

_log = logging.getLogger("hoox_async")

OnChange = Callable[[Intent], None]


class Member:
    """One member of the database, from its first renewal to its last. ``lease`` is in seconds.

    A lease that is over is not the end: the next renewal revives the member. What it was sending meanwhile
    may have been marked as UNKNOWN by then; the answer still counts.
    """

    def __init__(self, queries: Queries, lease: float) -> None:
        self.queries = queries
        self._lease = lease
        self._clock = Clock(asyncio.get_running_loop())
        self._tasks = TaskSet()
        self._workspaces: dict[int, OnChange] = {}
        self._snapshot: str | None = None
        self._measured: deque[tuple[float, timedelta]] = deque([(math.inf, timedelta())], _MEASUREMENTS)

    @property
    def clock_offset(self) -> timedelta:
        """How far the database's clock is ahead of this machine's, by the quickest of the last answers."""
        return min(self._measured)[1]

    async def start(self) -> None:
        """Begin the lease, and the tasks that renew it, sweep, and read changes. Raises `StoreError`."""
        await self.queries.renew()
        await self.renew()  # again, with the connection made: this one measures the clock
        await self._read_changes()
        self._begin(self.renew, self._lease / 3, "renewing the lease")
        self._begin(self._sweep, self._lease / 3, "looking for dead processes")
        self._begin(self._read_changes, _FEED_INTERVAL, "reading other processes' changes")

    async def stop(self) -> None:
        """End the tasks. The lease runs out unless `Queries.leave` ends it."""
        await self._tasks.cancel()

    def open_workspace(self, workspace: int, on_change: OnChange) -> None:
        """Sweep this workspace too, and call ``on_change`` with what others change in it."""
        self._workspaces[workspace] = on_change

    def close_workspace(self, workspace: int) -> None:
        """Leave this workspace alone from now on."""
        self._workspaces.pop(workspace, None)

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Run something that nobody waits for. Its failure is logged."""
        with suppress(SessionClosed):
            self._tasks.background(work, name)

    async def renew(self) -> None:
        """Renew the lease, and measure the database's clock. Raises `StoreError`."""
        began, utc = self._clock.now(), self._clock.utc()
        at = await self.queries.renew()
        took = self._clock.now() - began
        self._measured.append((took, at - utc - timedelta(seconds=took / 2)))

    def _begin(self, work: Callable[[], Awaitable[None]], interval: float, what: str) -> None:
        self._tasks.supervise(lambda: self._repeat(work, interval, what), f"hoox-member: {what}")

    async def _repeat(self, work: Callable[[], Awaitable[None]], interval: float, what: str) -> None:
        """Do the work once an interval, and sooner again where the database failed."""
        now, due, failing = self._clock.now, self._clock.now() + interval, False
        while True:
            await asyncio.sleep(due - now())
            due = now() + interval
            try:
                await work()
            except StoreError as error:
                due = min(due, now() + min(interval, 1.0, self._lease / 10))
                if not failing:
                    _log.warning("%s: failing, and tried again until it works: %s", what, error)
                failing = True
            else:
                if failing:
                    _log.warning("%s: works again", what)
                failing = False

    async def _sweep(self) -> None:
        """Mark as UNKNOWN what members were sending whose lease is over."""
        if not self._workspaces:
            return
        for row in await self.queries.sent_by_the_dead(tuple(self._workspaces)):
            await self._mark_unknown(row)

    async def _mark_unknown(self, row: IntentRow) -> None:
        at = self._clock.utc() + self.clock_offset
        try:
            attempt_id = intent_rows.read(row).attempts[-1].id
            lost = MarkUnknown(_SENDER_IS_DEAD, at, attempt_id, presumed=True)
            after, write = intent_rows.update(row, [lost])
        except StoreError as error:  # the others are to be swept nevertheless
            _log.error("what a dead process was sending can't be marked as unknown: %s", error)
            return
        written = await self.queries.put(row.workspace, write, of_the_dead=True)
        if written.outcome == "written":
            _log.warning("%s is unknown now: %s", row.key, _SENDER_IS_DEAD)
            self._publish(row.workspace, after)

    async def _read_changes(self) -> None:
        changes = await self.queries.changes(tuple(self._workspaces), self._snapshot)
        self._snapshot = changes.snapshot
        for row in changes.rows:
            with failures_logged(f"reading a change of {row.key!r}"):
                self._publish(row.workspace, intent_rows.read(row))

    def _publish(self, workspace: int, intent: Intent) -> None:
        on_change = self._workspaces.get(workspace)
        if on_change is not None:
            on_change(intent)
