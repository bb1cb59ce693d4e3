"""Which looks are waited for and where each stands: the state that the watchlist works on."""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

from ..durations import DurationBook
from ..models import Look, LookRef
from ._failures import Failures
from ._groups import Entry, Group, Place
from ._ladder import Ladder, Unit
from ._merge import News, filled, is_complete
from ._worth import worth

_HIGH_YIELD = 0.5  # looks that an answer is expected to show done
_EXTRA_PATIENCE = 900.0  # seconds that a missing picture or reason waits while submissions do
_PRESSING = 1  # rungs above the price from which requests may take more slots than submissions leave them
_BUSY_SHARE = 0.5  # of the slots, while submissions wait and nothing presses
_IDLE_SHARE = 0.5  # of the slots, for requests that promise little
_BURST = 2
_AT_A_TIME = 64  # units brought up to date before looking whether that suffices
_GRAIN = 1e-3
_OVERDUE_SPREADS, _OVERDUE_MORE = 2.33, 5.0


class Choice(NamedTuple):
    """What to ask about, and from when on: a unit of the ladder, or a settled look's missing part."""

    at: float
    what: Unit | Entry | None = None


class Waiting:
    """The looks, the groups they stand in, and the order in which they are asked for."""

    def __init__(self, limit: int, price: float, idle_price: float) -> None:
        self.durations = DurationBook()
        self._slot = 60.0 / max(limit, 1)
        self._thrift_at = -math.inf
        self._entries: dict[LookRef, Entry] = {}
        self._groups: dict[str, Group] = {}
        self._ladder = Ladder(price, min(idle_price, price), self._slot)
        self._dirty: list[Group] = []
        self._overdue: list[tuple[float, Entry]] = []
        self._extras: list[tuple[float, Group]] = []
        self._extra_failures: dict[LookRef, int] = {}
        self._failures = Failures()
        self._left: list[News] = []

    def _admit(self, group: Group, entry: Entry, *, pushed: bool) -> None:
        if pushed:
            entry.place = Place.PUSHED
            group.pushed += 1
            late = entry.model.quantile(_OVERDUE_SPREADS) + _OVERDUE_MORE
            heapq.heappush(self._overdue, (entry.accepted + late, entry))
            return
        if group.lone:
            group.isolate([]).insert(entry, -math.inf)
        else:
            group.insert(entry)
            # An answer that came before it was watched told us nothing of it.
            group.told = min(group.told, entry.accepted)
        few = len(group.entries) <= 4
        if not group.dirty and (group.lone or few or len(group.entries) > 1.2 * group.placed):
            group.dirty = True
            self._dirty.append(group)

    def _take_out(self, group: Group, entry: Entry) -> None:
        if entry.place is Place.GROUPED:
            group.remove(entry)
        elif entry.place is Place.PUSHED:
            group.pushed -= 1
        elif entry.place is Place.SETTLED:
            if group.extras is not None:
                group.extras.pop(entry, None)
        elif group.strays is not None:
            group.strays.remove(entry)
            if not group.strays:
                self._ladder.remove(group.strays)
        if not group.entries:
            self._ladder.remove(group)

    def _remove(self, entry: Entry) -> None:
        group = self._groups[entry.ref.avatar_id]
        self._take_out(group, entry)
        del self._entries[entry.ref]
        self._failures.told(entry.ref)
        self._extra_failures.pop(entry.ref, None)
        self._forget_if_empty(group)

    def _forget_if_empty(self, group: Group) -> None:
        if group.empty and self._groups.get(group.avatar_id) is group:
            del self._groups[group.avatar_id]
            self._failures.forget(group.avatar_id)
            self._unplace(group)

    def _unplace(self, group: Group) -> None:
        self._ladder.remove(group)
        if group.strays is not None:
            self._ladder.remove(group.strays)
        group.extra_at = math.inf

    def _place(self, group: Group, now: float) -> None:
        group.dirty = False
        group.placed = len(group.entries)
        self._ladder.place(group, now)
        if group.strays is not None:
            self._ladder.place(group.strays, now)
        if group.extras and group.air is None:
            extra_at = max(next(iter(group.extras.values())), group.hushed)
            if extra_at != group.extra_at:
                group.extra_at = extra_at
                heapq.heappush(self._extras, (extra_at, group))
        self._forget_if_empty(group)

    def _decide(self, now: float, busy: bool) -> Choice:
        """What to ask about. At a great many looks not all is brought up to now where a part suffices."""
        while True:
            self._join_overdue(now)
            for _ in range(min(len(self._dirty), _AT_A_TIME)):
                group = self._dirty.pop()
                if group.dirty:
                    self._place(group, now)
            behind = self._ladder.advance(now, _AT_A_TIME, busy=busy) or bool(self._dirty)
            choice = self._choose(now, busy)
            if choice.at <= now or not behind:
                return choice

    def _join_overdue(self, now: float) -> None:
        overdue = self._overdue
        while overdue and overdue[0][0] <= now:
            _, entry = heapq.heappop(overdue)
            if self._is_pushed(entry):
                group = self._groups[entry.ref.avatar_id]
                group.pushed -= 1
                told = group.told
                self._admit(group, entry, pushed=False)
                if not group.lone:
                    group.told = told  # the avatar's answers told of it all along
                    self._mark(group)

    def _mark(self, group: Group) -> None:
        if not group.dirty:
            group.dirty = True
            self._dirty.append(group)

    def _is_pushed(self, entry: Entry) -> bool:
        return entry.place is Place.PUSHED and self._entries.get(entry.ref) is entry

    def _next_overdue(self) -> float:
        overdue = self._overdue
        while overdue and not self._is_pushed(overdue[0][1]):
            heapq.heappop(overdue)
        return overdue[0][0] if overdue else math.inf

    def _choose(self, now: float, busy: bool) -> Choice:
        if self._failures.paused > now:
            return Choice(self._failures.paused if self._entries else math.inf)
        top, ripe = self._ladder.top(), False
        if top is not None:
            above = top.rung - self._ladder.price_rung
            ripe = above >= 0
            if above >= _PRESSING or (ripe and (not busy or self._thrift_at <= now + _GRAIN)):
                return Choice(now, top)
        since, extra = self._next_extra()
        if busy:
            later = since + _EXTRA_PATIENCE
            if extra is not None and later <= now:
                return Choice(now, extra)
            ripe_at = self._thrift_at if ripe else max(self._ladder.next_ripe(), self._thrift_at)
            return Choice(min(ripe_at, self._next_overdue(), later))
        if top is not None and (self._thrift_at <= now or self._yields(top, now)):
            return Choice(now, top)
        if extra is not None and since <= now:
            return Choice(now, extra)
        later = min(self._ladder.next_change(), self._next_overdue(), since)
        return Choice(later if top is None else min(later, self._thrift_at))

    def _next_extra(self) -> tuple[float, Entry | None]:
        """The settled look whose missing part is asked for next, and from when on."""
        heap = self._extras
        while heap:
            at, group = heap[0]
            if group.extras and group.extra_at == at:
                return at, next(iter(group.extras))
            heapq.heappop(heap)
        return math.inf, None

    def _spend(self, now: float, busy: bool) -> None:
        """A request took one of the slots that are shared with others: so many of the quota, no more."""
        gap = self._slot / (_BUSY_SHARE if busy else _IDLE_SHARE)
        self._thrift_at = max(self._thrift_at, now - _BURST * gap) + gap

    def _yields(self, unit: Unit, now: float) -> bool:
        return worth(unit.terms(now), now)[1] >= _HIGH_YIELD

    def _tell(self, group: Group, entry: Entry, look: Look, not_yet: float, at: float) -> News | None:
        """Merge what was told of a look. ``not_yet``: when it was last known to be unfinished."""
        if entry.look is not None:
            more = filled(entry.look, look)
            if more is None:
                return None
            entry.look = more
            if is_complete(more):
                self._remove(entry)
            return News(more, is_complete(more))
        if not look.status.settled:
            changed, entry.status = look.status is not entry.status, look.status
            return News(look, False) if changed else None
        self.durations.observe(entry.model, not_yet - entry.accepted, at - entry.accepted)
        complete = is_complete(look)
        if complete:
            self._remove(entry)
        else:
            self._take_out(group, entry)
            entry.look, entry.place = look, Place.SETTLED
            if group.extras is None:
                group.extras = {}
            group.extras[entry] = at
            self._mark(group)
        return News(look, complete)

    def _give_up_on_extra(self, entry: Entry) -> News:
        self._remove(entry)
        assert entry.look is not None
        return News(entry.look, True)
