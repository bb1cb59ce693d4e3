"""What a member has written lately, to be written again after a failover that has lost it.

A replica that takes over may lack the last acknowledged writes. The server is on another timeline then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from ...._core.intents.budget import StoredBudget
from .queries import IntentRow, IntentWrite

KEPT_FOR = 600.0
"""Seconds for which a write is kept."""

_MOST = 10_000


class RecentWrite(NamedTuple):
    """The latest acknowledged write of an intent by this member.

    ``at``: when it was acknowledged last, in the loop's time.
    """

    at: float
    version: int
    record: str
    crc: int

    def is_lost(self, row: IntentRow | None) -> bool:
        """Whether this row, which is stored now, shows that the write has not survived."""
        if row is None or row.version < self.version:
            return True
        return row.version == self.version and row.crc != self.crc


class RecentWrites:
    """The latest write of each intent, of the last ten minutes and 10,000 at most.

    And the budgets that were opened in that time, as they were when they were created.
    """

    def __init__(self) -> None:
        self._writes: OrderedDict[tuple[int, str], RecentWrite] = OrderedDict()  # the oldest first
        self._budgets: dict[tuple[int, str], tuple[float, StoredBudget]] = {}  # and when they were opened

    def add(self, at: float, workspace: int, write: IntentWrite) -> None:
        """A write was acknowledged."""
        place = (workspace, write.key)
        self._writes[place] = RecentWrite(at, write.was + 1, write.record, write.crc)
        self._writes.move_to_end(place)
        self._forget(at)

    def renew(self, at: float, workspace: int, key: str) -> None:
        """The write of this intent was written again: the next failover may lose it too."""
        place = (workspace, key)
        if place in self._writes:
            self._writes[place] = self._writes[place]._replace(at=at)
            self._writes.move_to_end(place)

    def add_budget(self, at: float, workspace: int, created: StoredBudget) -> None:
        """A budget was opened. ``created``: as it was when it was created, maybe by another process."""
        self._budgets[workspace, created.name] = (at, created)
        self._forget_budgets(at)

    def budgets(self, now: float) -> list[tuple[int, StoredBudget]]:
        """The budgets that are kept, with their workspaces."""
        self._forget_budgets(now)
        return [(workspace, created) for (workspace, _), (_, created) in self._budgets.items()]

    def by_workspace(self, now: float) -> Mapping[int, Mapping[str, RecentWrite]]:
        """The writes that are kept, by workspace and key."""
        self._forget(now)
        found: dict[int, dict[str, RecentWrite]] = {}
        for (workspace, key), write in self._writes.items():
            found.setdefault(workspace, {})[key] = write
        return found

    def by_key(self, workspace: int, key: str) -> RecentWrite | None:
        """The write of this intent."""
        return self._writes.get((workspace, key))

    def _forget_budgets(self, now: float) -> None:
        kept = {place: kept for place, kept in self._budgets.items() if kept[0] > now - KEPT_FOR}
        self._budgets = kept

    def _forget(self, now: float) -> None:
        while self._writes:
            oldest = next(iter(self._writes.values()))
            if len(self._writes) <= _MOST and oldest.at > now - KEPT_FOR:
                return
            self._writes.popitem(last=False)
