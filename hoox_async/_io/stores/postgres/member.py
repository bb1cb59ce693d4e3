"""This process among those that share a database: its lease, its sweep, its feed of others' changes.

Each is one statement for all workspaces that the process has open, however many they are.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from ...._core.intents.budget import StoredBudget
from ...._core.intents.intent import Intent
from ...._core.intents.transitions import MarkUnknown
from ....errors import SessionClosed, StoreError
from ...clock import Clock
from ...logs import failures_logged
from ...protocols import Coordination, PollDuty
from ...tasks import TaskSet
from . import intent_rows
from .queries import IntentRow, IntentWrite, Queries, Written
from .recent_writes import RecentWrites

_FEED_INTERVAL = 1.0  # seconds
_BEGIN_AFTER = 0.05  # seconds between the opening of a workspace and the first agreement on who polls it
_MEASUREMENTS = 4  # of the database's clock
_DRIFT = 0.1  # seconds by which two measurements may differ besides
_NOTIFIED_WITHIN = 60.0  # seconds in which a process that lives notifies its hooks
_LATE_WRITES = 60.0  # seconds after which a write whose caller has given up is certainly over
_SESSION_HAS_ENDED = "the session ended while the request was being sent"
_PAUSE_AFTER_FAILOVER = 60.0  # seconds in which every process notices it and writes its own again
_AT_ONCE = 200  # rows
_CHANGES_AT_ONCE = 100  # rows: about 20 ms of work
_NOTIFIED_AT_ONCE = 5_000  # looks, of all workspaces together
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
        self._clock = Clock(asyncio.get_running_loop(), lambda: self.epoch)
        self._tasks = TaskSet()
        self._workspaces: dict[int, OnChange] = {}
        self._closed_at: dict[int, float] = {}  # workspaces that no session has open any more
        self._coordinated: dict[int, _Coordinated] = {}
        self._notified: set[tuple[int, str]] = set()  # not written yet: by workspace and key
        self._unnotified_since: dict[tuple[int, str], float] = {}  # by workspace and key
        self._kept_since: str | None = None
        self._coordinated_at = -math.inf
        self._is_beginning = False
        self._snapshot: str | None = None
        self._timeline: str | None = None
        self._recent = RecentWrites()
        self._restored_on: str | None = None  # the timeline that has everything this member has written
        self._sends_from = -math.inf
        self._measured: deque[tuple[float, datetime]] = deque(maxlen=_MEASUREMENTS)

    @property
    def epoch(self) -> datetime | None:
        """The datetime of this machine's boot time 0 by the database's clock.

        By the quickest of the last answers. None before the first.
        """
        return min(self._measured)[1] if self._measured else None

    def utc(self) -> datetime:
        """The time now by the database's clock."""
        return self._clock.utc()

    async def start(self) -> None:
        """Begin the lease, and the tasks that renew it, sweep, and read changes. Raises `StoreError`."""
        self._timeline = self._restored_on = (await self.queries.renew(None)).timeline
        await self.renew()  # again, with the connection made: this one measures the clock
        await self._read_changes()
        self._begin(self.renew, self._lease / 3, "renewing the lease")
        self._begin(self._sweep, self._lease / 3, "looking for dead processes")
        self._begin(self._read_changes, _FEED_INTERVAL, "reading other processes' changes")
        self._begin(self._restore, _FEED_INTERVAL, "comparing what was written before a failover")
        self._begin(self._coordinate, _FEED_INTERVAL, "agreeing on who polls")

    async def stop(self) -> None:
        """End the tasks. The lease runs out unless `Queries.leave` ends it."""
        await self._tasks.cancel()

    def open_workspace(self, workspace: int, on_change: OnChange) -> None:
        """Sweep this workspace too, and call ``on_change`` with what others change in it."""
        self._workspaces[workspace] = on_change
        self._closed_at.pop(workspace, None)

    async def close_workspace(self, workspace: int) -> None:
        """Leave this workspace alone from now on. Another process may poll it at once."""
        self._workspaces.pop(workspace, None)
        self._closed_at[workspace] = self._clock.now()
        coordinated = self._coordinated.pop(workspace, None)
        with suppress(StoreError):  # then that shows when the lease is over
            await self._write_notified()
            if coordinated is not None:
                await self.queries.resign((workspace,))

    def coordinate(self, workspace: int, part: Coordination) -> None:
        """Take part in what one process does for all in this workspace, until it is closed."""
        self._coordinated[workspace] = _Coordinated(part)
        if not self._is_beginning:  # one statement for all that are opened together
            self._is_beginning = True
            self.spawn(self._coordinate_now(), "hoox-coordinate")

    def confirm_notified(self, workspace: int, key: str) -> None:
        """Write soon that hooks were notified of the end of this intent's look."""
        self._notified.add((workspace, key))

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Run something that nobody waits for. Its failure is logged."""
        with suppress(SessionClosed):
            self._tasks.background(work, name)

    async def renew(self) -> None:
        """Renew the lease, and measure the database's clock. Raises `StoreError`."""
        began = self._clock.boot()
        renewed = await self.queries.renew(self._timeline)
        took = self._clock.boot() - began
        self._measure(took, renewed.moment - timedelta(seconds=began + took / 2))
        if renewed.timeline != self._timeline:
            await self._begin_timeline(renewed.timeline)

    def _measure(self, took: float, epoch: datetime) -> None:
        """Remember what an answer says of the epoch, and forget what contradicts it: the clock was set."""
        kept = [
            (seconds, other)
            for seconds, other in self._measured
            if abs((epoch - other).total_seconds()) <= (took + seconds) / 2 + _DRIFT
        ]
        self._measured = deque([*kept, (took, epoch)], _MEASUREMENTS)

    async def put(self, workspace: int, write: IntentWrite, *, if_sender_dead: bool = False) -> Written:
        """Write an intent by compare-and-set, and remember that for ten minutes. See `Queries.put`."""
        written = await self.queries.put(workspace, write, if_sender_dead=if_sender_dead)
        if written.outcome == "written":
            self._recent.add(self._clock.now(), workspace, write)
        return written

    async def open_budget(self, workspace: int, wanted: StoredBudget) -> StoredBudget:
        """Create a budget unless there is one of this name, and remember it for ten minutes."""
        stored, initial = await self.queries.open_budget(workspace, wanted)
        created = stored._replace(charged=initial)
        self._recent.add_budget(self._clock.now(), workspace, created)
        return stored

    # --- a failover

    @property
    def _is_restoring(self) -> bool:
        """Whether writes of this member may be missing on the server as it is now."""
        return self._restored_on != self._timeline

    def check_may_send(self, name: str) -> None:
        """Raise `StoreError` in the first minute after a failover: what others have paid may be missing."""
        seconds = self._sends_from - self._clock.now()
        if seconds > 0 or self._is_restoring:
            raise StoreError(
                f"{name}: another server has taken over, and may lack what was written last; nothing is sent "
                "for a minute, until every process has written its own again"
            )

    async def _begin_timeline(self, timeline: str) -> None:
        """Another server has taken over: send nothing for a while, and go by its timeline."""
        _log.warning(
            "the database has failed over (timeline %s, now %s): nothing is sent for a minute, and what this "
            "process has written in the last ten is compared",
            self._timeline,
            timeline,
        )
        self._sends_from = self._clock.now() + _PAUSE_AFTER_FAILOVER
        self._timeline = timeline
        await self.queries.renew(timeline)  # now this member is alive there

    async def _restore(self) -> None:
        """After a failover, write again what this member has written lately and is not there any more."""
        if not self._is_restoring:
            return
        timeline = self._timeline  # after another failover meanwhile all of it is compared again
        self._snapshot = await self.queries.earlier_snapshot()  # its numbers of transactions begin anew
        self._kept_since = None
        for workspace, created in self._recent.budgets(self._clock.now()):
            await self.open_budget(workspace, created)
        for workspace, writes in self._recent.by_workspace(self._clock.now()).items():
            keys = list(writes)
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                rows = {row.key: row for row in await self.queries.get(workspace, part)}
                for key in part:
                    await self._restore_one(workspace, key, rows.get(key))
        self._restored_on = timeline

    async def _restore_one(self, workspace: int, key: str, row: IntentRow | None) -> None:
        """Write one intent again if its write is lost."""
        while True:
            mine = self._recent.by_key(workspace, key)
            if mine is None or not mine.is_lost(row):
                return
            try:
                write = intent_rows.restoration(row, mine)
            except StoreError as error:  # the others are to be restored nevertheless
                _log.error("%s can't be restored: %s", key, error)
                return
            written = await self.queries.restore(workspace, write, mine.version)
            if written.outcome == "written":
                self._recent.renew(self._clock.now(), workspace, key)
            if written.outcome != "stale":
                _log.log(
                    logging.WARNING if written.outcome == "written" else logging.ERROR,
                    "%s was lost in the failover, and writing it again came to: %s", key, written.outcome,
                )  # fmt: skip
                return
            rows = await self.queries.get(workspace, (key,))
            row = rows[0] if rows else None

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
        await self._mark_left_sendings()
        if not self._workspaces:
            return
        for row in await self.queries.sent_by_dead_members(tuple(self._workspaces)):
            await self._mark_unknown(row)
        await self._notify_for_others()

    async def _mark_left_sendings(self) -> None:
        """Mark as UNKNOWN what this process has left SENDING in workspaces that it has closed.

        Their sessions do that when they close, unless the database fails then or the closing is cancelled;
        and a write of SENDING may still come late. The lease of this member goes on: nobody else does it.
        """
        closed = dict(self._closed_at)
        if not closed:
            return
        began = self._clock.now()
        for row in await self.queries.left_sending(tuple(closed)):
            if row.workspace not in self._workspaces:  # else its session has seen to it
                await self._mark_unknown(row, presumed=False)
        for workspace, closed_at in closed.items():
            if began - closed_at > _LATE_WRITES and self._closed_at.get(workspace) == closed_at:
                del self._closed_at[workspace]

    # --- what one process does for all

    async def _coordinate_now(self) -> None:
        await asyncio.sleep(_BEGIN_AFTER)
        self._is_beginning = False
        with suppress(StoreError):  # then the next turn does it
            await self._coordinate()

    async def _coordinate(self) -> None:
        """Agree with other members on who polls each workspace, and do a leader's part."""
        if self._coordinated:
            await self._agree_while_connected()
            await self._read_deliveries()
            await self._notify_for_earlier_sessions()
        await self._write_notified()

    async def _agree_while_connected(self) -> None:
        try:
            await self._agree_on_leaders()
        except StoreError:
            if self._clock.now() - self._coordinated_at > self._lease:  # others lead by now
                for coordinated in self._coordinated.values():
                    coordinated.set_duty(PollDuty.OTHERS)
            raise

    async def _notify_for_earlier_sessions(self) -> None:
        """Have hooks notified of what ended after an earlier session of this process was closed."""
        new = [number for number, each in self._coordinated.items() if not each.knows_earlier]
        if not new:
            return
        rows = await self.queries.own_unnotified(new)
        for workspace in new:
            if workspace in self._coordinated:
                self._coordinated[workspace].knows_earlier = True
        self._notify(rows)

    async def _agree_on_leaders(self) -> None:
        began = self._clock.now()
        all_of_them = dict(self._coordinated)
        candidates = [number for number, each in all_of_them.items() if each.part.may_lead()]
        watched = list(all_of_them.keys() - candidates)
        resigned = [number for number in watched if all_of_them[number].duty is PollDuty.ALL]
        if resigned:
            await self.queries.resign(resigned)
        leaders = await self.queries.lead(candidates, watched)
        self._coordinated_at = began
        for workspace, coordinated in all_of_them.items():
            if self._coordinated.get(workspace) is coordinated:
                coordinated.set_duty(_DUTIES[leaders.get(workspace)])

    async def _read_deliveries(self) -> None:
        """Pass on what other members have kept for the workspaces that this one leads."""
        led = self._led()
        is_new = any(not self._coordinated[workspace].has_read_deliveries for workspace in led)
        since = None if is_new else self._kept_since
        if not led:
            return
        found = await self.queries.deliveries(led, since)
        self._kept_since = found.snapshot
        for workspace in led:
            if workspace in self._coordinated:
                self._coordinated[workspace].has_read_deliveries = True
        for workspace, attempt_id in found.kept:
            coordinated = self._coordinated.get(workspace)
            if coordinated is not None:
                with failures_logged("passing on a kept delivery"):
                    coordinated.part.on_delivery(attempt_id)

    def _led(self) -> list[int]:
        return [number for number, each in self._coordinated.items() if each.duty is PollDuty.ALL]

    async def _notify_for_others(self) -> None:
        """Have hooks notified of ends that the sender's process does not notify its own hooks of.

        Its lease is over; or it lives, and has notified nobody for a while: its session was closed.
        """
        led = self._led()
        found = await self.queries.unnotified(led) if led else []
        now, known = self._clock.now(), self._unnotified_since
        since = {place: known.get(place, now) for (row, _) in found for place in [(row.workspace, row.key)]}
        self._unnotified_since = since
        self._notify(
            row
            for row, sender_lives in found
            if not sender_lives or now - since[row.workspace, row.key] >= _NOTIFIED_WITHIN
        )

    def _notify(self, rows: Iterable[IntentRow]) -> None:
        for row in rows:
            coordinated = self._coordinated.get(row.workspace)
            if coordinated is None or (row.workspace, row.key) in self._notified:
                continue
            with failures_logged(f"notifying hooks of the end of {row.key!r}"):
                coordinated.part.on_unnotified(intent_rows.read(row))

    async def _write_notified(self) -> None:
        waiting = list(self._notified)
        for start in range(0, len(waiting), _NOTIFIED_AT_ONCE):
            written = waiting[start : start + _NOTIFIED_AT_ONCE]
            await self.queries.confirm_notified(written)
            self._notified.difference_update(written)

    async def _mark_unknown(self, row: IntentRow, *, presumed: bool = True) -> None:
        """``presumed``: its sender is a member whose lease is over; else it is this one, and has given up."""
        reason = _SENDER_IS_DEAD if presumed else _SESSION_HAS_ENDED
        try:
            attempt_id = intent_rows.read(row).attempts[-1].id
            lost = MarkUnknown(reason, attempt_id, presumed=presumed)
            after, write = intent_rows.update(row, [lost])
        except StoreError as error:  # the others are to be swept nevertheless
            _log.error("what an ended process or session was sending can't be marked as unknown: %s", error)
            return
        written = await self.put(row.workspace, write, if_sender_dead=presumed)
        if written.outcome == "written":
            _log.warning("%s is unknown now: %s", row.key, reason)
            self._publish(row.workspace, after)

    async def _read_changes(self) -> None:
        """Read what other members have changed, in pages: the loop has a turn after each."""
        asked, since = tuple(self._workspaces), self._snapshot
        changes = await self.queries.changes(asked, since, None, _CHANGES_AT_ONCE)
        snapshot = changes.snapshot
        self._publish_all(changes.rows)
        while changes.read is not None:
            changes = await self.queries.changes(asked, since, changes.read, _CHANGES_AT_ONCE)
            self._publish_all(changes.rows)
        if self._workspaces.keys() <= set(asked) and self._snapshot is since:
            # else one was opened meanwhile, and was read before this snapshot: its changes come next time; or
            # a failover was noticed, from which they are read anew
            self._snapshot = snapshot

    def _publish_all(self, rows: Iterable[IntentRow]) -> None:
        for row in rows:
            with failures_logged(f"reading a change of {row.key!r}"):
                self._publish(row.workspace, intent_rows.read(row))

    def _publish(self, workspace: int, intent: Intent) -> None:
        on_change = self._workspaces.get(workspace)
        if on_change is not None:
            on_change(intent)


class _Coordinated:
    """A session's part in what one process does for all, and its duty as far as it is known."""

    def __init__(self, part: Coordination) -> None:
        self.part = part
        self.duty: PollDuty | None = None
        self.has_read_deliveries = False
        self.knows_earlier = False

    def set_duty(self, duty: PollDuty) -> None:
        """Give the session a duty that is new to it."""
        if duty is not self.duty:
            self.duty = duty
            self.has_read_deliveries = False
            with failures_logged("changing who polls"):
                self.part.on_duty(duty)


_DUTIES: Mapping[str | None, PollDuty] = {
    "self": PollDuty.ALL,
    "other": PollDuty.OTHERS,
    None: PollDuty.AWAITED,
}
