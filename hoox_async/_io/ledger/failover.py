"""What a member does after a failover: it sends nothing for a minute, and writes again what was lost.

A replica that takes over may lack the last acknowledged writes. The server is on another timeline then.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from ..._core.intents.budget import StoredBudget
from ..._core.intents.records import load_intent
from ..._core.intents.transitions import LookTaken, claimed_look
from ...errors import StoreError
from ..clock import Clock
from . import intent_rows
from . import statements as sql
from .intent_rows import DamagedRecord, Place, Row, Written, changes_between, of_look, to_units
from .transaction import Engine, Transaction

KEPT_FOR = 600.0  # seconds
_MOST = 10_000  # writes
_PAUSE = 60.0  # seconds in which every process notices it and writes its own again

_log = logging.getLogger("hoox_async")


class RecentWrite(NamedTuple):
    """The latest acknowledged write of an intent by this member.

    ``at``: when it was acknowledged last, in the loop's time. ``teller``: who owed the news of its end.
    """

    at: float
    version: int
    record: str
    teller: str | None = None

    def is_lost(self, row: Row | None) -> bool:
        """Whether this row, which is stored now, shows that the write has not survived."""
        if row is None or row.version < self.version:
            return True
        return row.version == self.version and row.record != self.record


class RecentWrites:
    """The latest write of each intent, of the last ten minutes and 10,000 at most.

    And the budgets that were opened in that time, as they were when they were created.
    """

    def __init__(self) -> None:
        self._writes: OrderedDict[tuple[int, str], RecentWrite] = OrderedDict()  # the oldest first
        self._budgets: dict[tuple[int, str], tuple[float, StoredBudget]] = {}  # and when they were opened

    def add(
        self, at: float, workspace: int, key: str, version: int, record: str, teller: str | None = None
    ) -> None:
        """A write was acknowledged."""
        self._writes[workspace, key] = RecentWrite(at, version, record, teller)
        self._writes.move_to_end((workspace, key))
        self._forget(at)

    def add_budget(self, at: float, workspace: int, created: StoredBudget) -> None:
        """A budget was opened. ``created``: as it was when it was created, maybe by another process."""
        self._budgets[workspace, created.name] = (at, created)
        self._forget(at)

    def budgets(self, now: float) -> Sequence[tuple[int, StoredBudget]]:
        """The budgets that are kept, with their workspaces."""
        self._forget(now)
        return [(workspace, created) for (workspace, _), (_, created) in self._budgets.items()]

    def places(self, now: float) -> Sequence[tuple[int, str]]:
        """The workspaces and keys of the writes that are kept."""
        self._forget(now)
        return list(self._writes)

    def write(self, workspace: int, key: str) -> RecentWrite | None:
        """The write of this intent."""
        return self._writes.get((workspace, key))

    def _forget(self, now: float) -> None:
        self._budgets = {place: each for place, each in self._budgets.items() if each[0] > now - KEPT_FOR}
        while self._writes:
            oldest = next(iter(self._writes.values()))
            if len(self._writes) <= _MOST and oldest.at > now - KEPT_FOR:
                return
            self._writes.popitem(last=False)


class Failover:
    """The timelines that a member has seen, and whether all of its recent writes are there."""

    def __init__(self, engine: Engine, me: str, clock: Clock, recent: RecentWrites) -> None:
        self.timeline: str | None = None
        self._engine = engine
        self._me = me
        self._clock = clock
        self._recent = recent
        self._restored_on: str | None = None
        self._sends_from = 0.0

    def begin(self, timeline: str) -> None:
        """The member begins on this timeline."""
        self.timeline = self._restored_on = timeline

    def take_over(self, timeline: str) -> None:
        """Another server has taken over: send nothing for a while, and go by its timeline."""
        _log.warning(
            "the database has failed over (timeline %s, now %s): nothing is sent for a minute, and what this "
            "process has written in the last ten is compared",
            self.timeline,
            timeline,
        )
        self._sends_from = self._clock.now() + _PAUSE
        self.timeline = timeline

    @property
    def is_restoring(self) -> bool:
        """Whether writes of this member may be missing on the server as it is now."""
        return self._restored_on != self.timeline

    def check_may_send(self, name: str) -> None:
        """Raise `StoreError` in the first minute after a failover: what others have paid may be missing."""
        if self._sends_from > self._clock.now() or self.is_restoring:
            raise StoreError(
                f"{name}: another server has taken over, and may lack what was written last; nothing is sent "
                "for a minute, until every process has written its own again"
            )

    async def restore(self) -> None:
        """Write again what this member has written lately and is not there any more."""
        timeline = self.timeline  # after another failover meanwhile all of it is compared again
        for workspace, created in self._recent.budgets(self._clock.now()):
            values = {
                "workspace": workspace,
                "name": created.name,
                "cap": to_units(created.max_credits),
                "spent": to_units(created.charged),
            }
            await self._engine.run(partial(_write, sql.OPEN_BUDGET, values))
            self._recent.add_budget(self._clock.now(), workspace, created)
        for workspace, key in self._recent.places(self._clock.now()):
            await self._restore_one(workspace, key)
        self._restored_on = timeline

    async def _restore_one(self, workspace: int, key: str) -> None:
        mine = self._recent.write(workspace, key)
        if mine is None:
            return
        try:
            written = await self._engine.run(partial(restore, Place(workspace, self._me), key, mine))
        except (LookTaken, DamagedRecord) as error:  # the others are to be restored nevertheless
            _log.error("%s was lost in the failover, and can't be written again: %s", key, error)
            return
        if written is not None:  # the next failover may lose it too
            self._recent.add(self._clock.now(), workspace, key, mine.version, mine.record, mine.teller)
            _log.warning("%s was lost in the failover, and was written again", key)


def _write(statement: str, values: dict[str, object], tx: Transaction) -> None:
    tx.write(statement, values)


def restore(place: Place, key: str, lost: RecentWrite, tx: Transaction) -> Written | None:
    """Write again what a failover has lost, with its version; None where the row shows that it is there."""
    intent = load_intent(lost.record, newer=True)
    ref = claimed_look(intent)
    rows, owners = tx.ask(
        (sql.ROW, place.values(key=key)), (sql.OWNER, place.values(key=key, **of_look(ref)))
    )
    row = Row(*rows[0]) if rows else None
    if not lost.is_lost(row):
        return None
    if ref is not None and owners:
        raise LookTaken(ref, owners[0][0])
    before = row.read(newer=True) if row is not None else None
    changes = [changes_between(before, intent)]
    lost_write = intent_rows.LostWrite(lost.version, lost.teller)
    return intent_rows.put(tx, place, row, before, intent, lost.record, changes, lost=lost_write)
