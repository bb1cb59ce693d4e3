"""This process among those that share a database: its lease, and its sweep of what the dead were sending."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from ..._core.intents.intent import Intent
from ..._core.intents.records import rewrite
from ..._core.intents.transitions import IllegalTransition, MarkUnknown
from ...errors import SessionClosed, StoreError
from ..clock import Clock
from ..protocols import Coordination
from ..tasks import TaskSet, tried_until
from . import intent_rows, statements
from .change_feed import ChangeFeed, OnChange
from .failover import Failover, RecentWrites
from .intent_rows import DamagedRecord, Place, Row, Written, apply_transitions
from .leaders import Leaders
from .news import News, tell_owed, write_told
from .statements import COLUMNS, MAY_SWEEP, alive
from .transaction import Engine, Rows, Transaction

_FEED_INTERVAL = 1.0  # seconds
_BEGIN_AFTER = 0.05  # seconds between the opening of a workspace and the first agreement on who polls it
_MEASUREMENTS = 4  # of the database's clock
_DRIFT = 0.1  # seconds by which two measurements may differ besides
_LATE_WRITES = 60.0  # seconds after which a write whose caller has given up is certainly over
_SESSION_HAS_ENDED = "the session ended while the request was being sent"
_SENDER_IS_DEAD = "the process that was sending the request ended, or lost the database, for a whole lease"

_log = logging.getLogger("hoox_async")

FORGET_MEMBERS = (  # those that were killed long ago, also by a clock that was set
    "DELETE FROM hoox.members WHERE expires_at < (SELECT {now}) - 86400000000 "
    "OR expires_at > (SELECT {now}) + 2 * lease + 86400000000"
)
# In time is within half a lease, since it is renewed every third of one.
RENEW = (
    "INSERT INTO hoox.members (id, host, pid, lease, expires_at, steady_since, timeline) "
    "VALUES (:me, :host, :pid, :lease, (SELECT {now}) + :lease, (SELECT {now}), "
    "coalesce(:timeline, (SELECT {timeline}))) "
    "ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at, timeline = excluded.timeline, "
    "steady_since = CASE WHEN members.expires_at >= excluded.steady_since + :lease / 2 "
    "AND members.expires_at <= excluded.steady_since + 2 * :lease "
    "AND members.steady_since < excluded.steady_since AND members.timeline = excluded.timeline "
    "THEN members.steady_since ELSE excluded.steady_since END"
)
LEAVE = "DELETE FROM hoox.members WHERE id = :me"

_HAS_DEAD_SENDER = (
    "NOT EXISTS (SELECT 1 FROM hoox.members m "  # noqa: S608
    f"WHERE m.id = i.member AND {alive('m')})"
)
DEAD_SENDINGS = COLUMNS + (
    f"WHERE i.state = 'sending' AND i.workspace IN ({{workspaces}}) AND {_HAS_DEAD_SENDER} AND {MAY_SWEEP} "
    "ORDER BY i.seq"
)
LEFT_SENDING = COLUMNS + "WHERE i.state = 'sending' AND i.workspace IN ({workspaces}) AND i.member = :me"
IS_DEAD = (
    "SELECT 1 FROM hoox.intents i WHERE i.workspace = :workspace AND i.key = :key "  # noqa: S608
    f"AND i.state = 'sending' AND {_HAS_DEAD_SENDER} AND {MAY_SWEEP}"
)
STILL_DEAD = (  # a guard of its own: it changes nothing
    "UPDATE hoox.intents AS i SET version = CASE WHEN i.state = 'sending' AND "  # noqa: S608
    f"{_HAS_DEAD_SENDER} AND {MAY_SWEEP} THEN i.version END WHERE i.workspace = :workspace AND i.key = :key"
)


class Member:
    """One member of the database, from its first renewal to its last. ``lease`` is in seconds.

    A lease that is over is not the end: the next renewal revives the member. What it was sending meanwhile
    may have been marked as UNKNOWN by then; the answer still counts. ``for_lease`` is an engine that nothing
    else uses: a renewal must not wait behind other statements.
    """

    def __init__(self, engine: Engine, for_lease: Engine, me: str, lease: float) -> None:
        self.engine = engine
        self.id = me
        self.recent: RecentWrites = RecentWrites()
        self.clock: Clock = Clock(asyncio.get_running_loop(), lambda: self.epoch)
        self.failover: Failover = Failover(engine, me, self.clock, self.recent)
        self._for_lease = for_lease
        self._lease = lease
        self._held_since, self._held_until = -math.inf, math.inf
        self._tasks = TaskSet()
        self._listeners: dict[int, OnChange] = {}  # of the workspaces that are open
        self._opened_at: dict[int, datetime] = {}
        self._closed_at: dict[int, float] = {}  # for as long as a write may come late
        self._news: dict[int, News] = {}
        self._unwritten_closings: dict[int, News] = {}
        self._feed = ChangeFeed(engine, me, self._listeners)
        self._leaders = Leaders(engine, me, self.clock, lease)
        self._is_beginning = False
        self._measured: deque[tuple[float, datetime]] = deque(maxlen=_MEASUREMENTS)

    @property
    def epoch(self) -> datetime | None:
        """The datetime of this machine's boot time 0 by the database's clock.

        By the quickest of the last answers. None before the first.
        """
        return min(self._measured)[1] if self._measured else None

    async def start(self) -> None:
        """Begin the lease, and the tasks that renew it, sweep, and read changes. Raises `StoreError`."""
        await self.renew()
        await self.renew()  # again, with the connection made: this one measures the clock
        await self._feed.read()
        self._begin(self.renew, self._lease / 3, "renewing the lease")
        self._begin(self._sweep, self._lease / 3, "looking for dead processes")
        self._begin(self._feed.read, _FEED_INTERVAL, "reading other processes' changes")
        self._begin(self._restore, _FEED_INTERVAL, "comparing what was written before a failover")
        self._begin(self._leaders.coordinate, _FEED_INTERVAL, "agreeing on who polls")
        self._begin(self._write_told, _FEED_INTERVAL, "writing which looks hooks were told of")

    async def stop(self) -> None:
        """End the tasks. The lease runs out unless `leave` ends it."""
        await self._tasks.cancel()

    async def leave(self) -> None:
        """End the lease."""
        await self._for_lease.run(lambda tx: tx.write(LEAVE, {"me": self.id}))

    def open_workspace(self, workspace: int, on_change: OnChange) -> None:
        """Sweep this workspace too, and call ``on_change`` with what others change in it."""
        self._listeners[workspace] = on_change
        self._opened_at[workspace] = self.clock.utc()
        self._unwritten_closings.pop(workspace, None)

    async def close_workspace(self, workspace: int, until: float | None) -> None:
        """Leave this workspace alone from now on. Another process may poll it at once.

        ``until``: the loop's time after which what is not written is left to the sweep and the next turn.
        """
        self._listeners.pop(workspace, None)
        self._closed_at[workspace] = self.clock.now()
        news = self._news.pop(workspace, None)
        if news is not None:
            self._unwritten_closings[workspace] = news
            await tried_until(until, self._write_closings())
        await tried_until(until, self._leaders.leave(workspace))

    def coordinate(self, workspace: int, part: Coordination) -> None:
        """Take part in what one process does for all in this workspace, until it is closed."""
        self._leaders.add(workspace, part)
        if not self._is_beginning:  # one statement for all that are opened together
            self._is_beginning = True
            self.spawn(self._coordinate_soon(), "hoox-coordinate")

    def add_news(self, workspace: int, news: News) -> None:
        """See to it that what this workspace owes its hooks is told, and that this is written."""
        self._news[workspace] = news

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Run something that nobody waits for. Its failure is logged."""
        with suppress(SessionClosed):
            self._tasks.background(work, name)

    async def _coordinate_soon(self) -> None:
        await asyncio.sleep(_BEGIN_AFTER)
        self._is_beginning = False
        with suppress(StoreError):  # then the next turn does it
            await self._leaders.coordinate()

    # --- the lease

    async def renew(self) -> None:
        """Renew the lease, and measure the database's clock. Raises `StoreError`."""
        began = self.clock.boot()
        moment, timeline = await self._renew(self.failover.timeline)
        took = self.clock.boot() - began
        self._measure(took, moment - timedelta(seconds=began + took / 2))
        if self.failover.timeline is None:
            self.failover.begin(timeline)
        elif timeline != self.failover.timeline:
            self.failover.take_over(timeline)
            await self._renew(timeline)  # now this member is alive there
        renewed = self.clock.boot()
        if renewed >= self._held_until:
            self._held_since = renewed
        self._held_until = began + self._lease

    def held_since(self) -> float:
        """Since which boot time the lease has certainly not been over; infinity where it may be over now."""
        return self._held_since if self.clock.boot() < self._held_until else math.inf

    async def _renew(self, timeline: str | None) -> tuple[datetime, str]:
        values = {
            "me": self.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "lease": round(self._lease * 1_000_000),
            "timeline": timeline,
        }
        # it begins: rarely, so a good moment to forget those that were killed long ago
        forget = [(FORGET_MEMBERS, values)] if timeline is None else []
        *_, [(moment, its_timeline)] = await self._for_lease.run(
            lambda tx: tx.ask(*forget, (RENEW, values), (statements.MOMENT, values))
        )
        return intent_rows.from_microseconds(moment), its_timeline

    def _measure(self, took: float, epoch: datetime) -> None:
        """Remember what an answer says of the epoch, and forget what contradicts it: the clock was set."""
        kept = [
            (seconds, other)
            for seconds, other in self._measured
            if abs((epoch - other).total_seconds()) <= (took + seconds) / 2 + _DRIFT
        ]
        self._measured = deque([*kept, (took, epoch)], _MEASUREMENTS)

    async def _restore(self) -> None:
        if self.failover.is_restoring:
            await self._feed.read_lately_changed()
            self._leaders.read_all_deliveries()
            await self.failover.restore()

    # --- the sweep

    async def _sweep(self) -> None:
        """Mark as UNKNOWN what members were sending whose lease is over."""
        await self._mark_left_sendings()
        if self._listeners:
            for row in await self._rows(DEAD_SENDINGS, self._listeners):
                await self._mark_unknown(Row(*row), presumed=True)
        await self._write_closings()
        await tell_owed(self.engine, self.id, dict(self._news))

    async def _write_closings(self) -> None:
        """Have closed workspaces owe nothing any more, so that others may tell what is left."""
        for workspace, news in tuple(self._unwritten_closings.items()):
            await news.leave()
            if self._unwritten_closings.get(workspace) is news:
                del self._unwritten_closings[workspace]

    async def _write_told(self) -> None:
        await write_told(self.engine, self._news.values())

    async def _mark_left_sendings(self) -> None:
        """Mark as UNKNOWN what this process has left SENDING in workspaces that it has closed.

        Their sessions do that when they close, unless the database fails then or the closing is cancelled;
        and a write of SENDING may still come late. The lease of this member goes on: nobody else does it.
        """
        closed = dict(self._closed_at)
        if not closed:
            return
        began = self.clock.now()
        for row in map(Row._make, await self._rows(LEFT_SENDING, closed)):
            if not self._is_sent_by_open_session(row):
                await self._mark_unknown(row, presumed=False)
        for workspace, closed_at in closed.items():
            if began - closed_at > _LATE_WRITES and self._closed_at.get(workspace) == closed_at:
                del self._closed_at[workspace]

    def _is_sent_by_open_session(self, row: Row) -> bool:
        """Whether the session that has the row's workspace open now was open when it was sent."""
        if row.workspace not in self._listeners:
            return False
        try:
            sent_at = row.read(newer=True).sent_at
        except DamagedRecord:
            return False  # which is logged
        return sent_at is None or sent_at >= self._opened_at[row.workspace]

    async def _mark_unknown(self, row: Row, *, presumed: bool) -> None:
        """``presumed``: its sender is a member whose lease is over; else it is this one, and has given up."""
        reason = _SENDER_IS_DEAD if presumed else _SESSION_HAS_ENDED
        place = Place(row.workspace, self.id)
        try:
            lost = MarkUnknown(reason, row.read(newer=True).attempts[-1].id, presumed=presumed)
            lease = round(self._lease * 1_000_000)
            written = await self.engine.run(partial(mark_unknown, place, row, lost, lease))
        except (DamagedRecord, IllegalTransition) as error:  # the others are to be swept nevertheless
            _log.error("what an ended process or session was sending can't be marked as unknown: %s", error)
            return
        if written is None:
            return
        self.note(row.workspace, row.key, written)
        _log.warning("%s is unknown now: %s", row.key, reason)
        self._publish(row.workspace, written.intent)

    def note(self, workspace: int, key: str, written: Written) -> None:
        """A write was acknowledged: a failover may lose it."""
        if written.record is not None:
            self.recent.add(self.clock.now(), workspace, key, written.version, written.record, written.teller)

    def _publish(self, workspace: int, intent: Intent) -> None:
        on_change = self._listeners.get(workspace)
        if on_change is not None:
            on_change(intent, None)

    async def _rows(self, statement: str, workspaces: Iterable[int]) -> Rows:
        values = {"me": self.id, "lease": round(self._lease * 1_000_000)}
        question = (statements.of_workspaces(statement, workspaces), values)
        [rows] = await self.engine.run(lambda tx: tx.ask(question), writes=False)
        return rows

    # --- tasks

    def _begin(self, work: Callable[[], Awaitable[None]], interval: float, what: str) -> None:
        self._tasks.supervise(lambda: self._repeat(work, interval, what), f"hoox-member: {what}")

    async def _repeat(self, work: Callable[[], Awaitable[None]], interval: float, what: str) -> None:
        """Do the work once an interval, and sooner again where the database failed."""
        now, due, failing = self.clock.now, self.clock.now() + interval, False
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


def mark_unknown(place: Place, row: Row, lost: MarkUnknown, lease: int, tx: Transaction) -> Written | None:
    """Write that the sender is dead or has given up; None where the row, or that, is not so any more.

    ``lease`` is in microseconds.
    """
    values = place.values(key=row.key, lease=lease)
    rows, dead = tx.ask((statements.ROW, values), (IS_DEAD, values))
    if not rows or Row(*rows[0]).version != row.version or (lost.presumed and not dead):
        return None
    if lost.presumed:
        tx.write(STILL_DEAD, values)
    before = row.read(newer=True)
    after, changes = apply_transitions(before, [lost])
    return intent_rows.put(tx, place, row, before, after, rewrite(row.record, after), changes)
