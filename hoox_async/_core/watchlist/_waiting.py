"""Which looks are waited for and where each stands: the state that the watchlist works on."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from ..durations import DurationBook, Durations
from ..models import Look, LookRef
from ._agenda import Agenda
from ._entries import Entry, Place
from ._failures import Failures
from ._groups import Extras, Group
from ._ladder import Ladder, Unit
from ._losses import Losses
from ._merge import News, filled, is_complete
from ._worth import worth

_HIGH_YIELD = 0.5  # looks that an answer is expected to show done
_EXTRA_PATIENCE = 900.0  # seconds that a missing picture or reason waits while submissions do
_LONG_BACKLOG = 1_000  # submissions, that is ten minutes; from there on a request delays so many that …
_DEAREST = 2.0  # … it costs up to so many prices
_PRESSING = 1.4  # prices; what is worth that may take more slots than submissions leave it
_BUSY_SHARE = 0.5  # of the slots, while submissions wait and nothing presses
_IDLE_SHARE = 0.5  # of the slots, for requests that promise little
_BURST = 2
_AT_A_TIME, _BREATH = 32, 5e-3  # units brought up to date in one decision; seconds until the next few
_GRAIN = 1e-3


class Choice(NamedTuple):
    """What to ask about, and from when on: a unit of the ladder, or a settled look's missing part."""

    at: float
    what: Unit | Entry | None = None


class Waiting:
    """The looks, the groups they stand in, and the order in which they are asked for."""

    def __init__(self, limit: int, price: float, idle_price: float) -> None:
        self.durations: DurationBook = DurationBook()
        self._slot = self._pace = 60.0 / max(limit, 1)
        self.backlog = 0
        """How many submissions wait whose looks one request will tell of together with others."""
        self._price = price
        self._thrift_at = -math.inf
        self._entries: dict[LookRef, Entry] = {}
        self._groups: dict[str, Group] = {}
        self._ladder = Ladder(price, min(idle_price, price), self._slot)
        self._losses = Losses()
        self._outdated: deque[str] = deque()  # avatars that were placed by what was known earlier
        self._extras: Agenda[Extras] = Agenda("at", "place")
        self._extra_failures: dict[LookRef, int] = {}
        self._failures = Failures()
        self._left: list[News] = []

    def _admit(self, group: Group, entry: Entry, now: float) -> None:
        if group.lone:
            group.isolate([]).insert(entry, -math.inf)
        else:
            group.insert(entry)
            # An answer that came before it was watched told us nothing of it.
            group.told = min(group.told, entry.accepted)
        looks = len(group.entries)
        if group.lone or looks % (1 << max(looks.bit_length() - 4, 0)) == 0:
            self._place(group, now)  # each time that an eighth or less has come: it costs a look little

    def _take_out(self, group: Group, entry: Entry) -> None:
        if entry.place is Place.GROUPED:
            group.remove(entry)
        elif entry.place is Place.SETTLED:
            self._lacks_nothing(group, entry)
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
        self._await_extra(group)

    def _place(self, group: Group, now: float) -> None:
        self._ladder.place(group, now)
        if group.strays is not None:
            self._ladder.place(group.strays, now)
        self._await_extra(group)
        self._forget_if_empty(group)

    def _await_extra(self, group: Group) -> None:
        """Note from when on a missing picture or reason of the avatar's looks can be asked for."""
        if group.extras is not None:
            at = max(group.extras.next()[0], group.hushed) if group.air is None else math.inf
            self._extras.set(group.extras, at)

    def _lacks(self, group: Group, entry: Entry, now: float) -> None:
        """The look is settled, and its picture or its reason is to be asked for, after the others'."""
        if group.extras is None:
            group.extras = Extras(group)
        group.extras.since.pop(entry, None)
        group.extras.since[entry] = now
        self._await_extra(group)

    def _lacks_nothing(self, group: Group, entry: Entry) -> None:
        if group.extras is None or group.extras.since.pop(entry, None) is None:
            return
        if group.extras.since:
            self._await_extra(group)
        else:
            self._extras.call_off(group.extras)
            group.extras = None

    def _decide(self, now: float, busy: bool) -> Choice:
        """What to ask about, of what is known when a few more of those that are due are brought up to now.

        The rest comes in a moment: a process that wakes to 100,000 looks should not hold up its loop.
        """
        self._place_outdated(now)
        self._ladder.advance(now, _AT_A_TIME)
        choice = self._choose(now, busy)
        if choice.at <= now:
            return choice
        later = now if self._outdated else self._ladder.next_change()
        return Choice(min(choice.at, max(later, now + _BREATH)))

    def _place_outdated(self, now: float) -> None:
        """Place a few avatars anew, by what has been learned since they were placed."""
        for _ in range(min(_AT_A_TIME, len(self._outdated))):
            group = self._groups.get(self._outdated.popleft())
            if group is not None and group.air is None:
                self._place(group, now)

    def _learned(self, model: Durations) -> None:
        """Where much has been learned, all avatars are to be placed anew."""
        moved = model.moved()
        if self._losses.moved() or moved:
            self._outdated = deque(self._groups)

    def _keep_pace(self, seconds: float | None) -> None:
        """Slots are dearer where others leave us fewer of them."""
        self._pace = max(seconds or 0.0, self._slot)

    def _choose(self, now: float, busy: bool) -> Choice:
        if self._failures.paused > now:
            return Choice(self._failures.paused if self._entries else math.inf)
        top, ripe = self._ladder.top(), False
        if top is not None:
            prices = worth(top.terms(now), now)[0] / self._price_now(busy)
            ripe = prices >= 0.999  # when it reaches a rung is known about so well
            if prices >= _PRESSING or (ripe and (not busy or self._thrift_at <= now + _GRAIN)):
                return Choice(now, top)
        since, extra = self._next_extra()
        if busy:
            later = since + _EXTRA_PATIENCE
            if extra is not None and later <= now:
                return Choice(now, extra)
            return Choice(min(self._thrift_at, later) if ripe else later)
        if top is not None and (self._thrift_at <= now or self._yields(top, now)):
            return Choice(now, top)
        if extra is not None and since <= now:
            return Choice(now, extra)
        return Choice(since if top is None else min(since, self._thrift_at))

    def _price_now(self, busy: bool) -> float:
        """What a request must be worth: more where others leave us fewer slots, or where many wait."""
        price = self._price * self._pace / self._slot
        return price * min(max(self.backlog / _LONG_BACKLOG, 1.0), _DEAREST) if busy else price

    def _next_extra(self) -> tuple[float, Entry | None]:
        """The settled look whose missing part is asked for next, and from when on."""
        first = self._extras.first
        return (math.inf, None) if first is None else (first.at, first.next()[1])

    def _spend(self, now: float, busy: bool) -> None:
        """A request took one of the slots that are shared with others: so many of the quota, no more."""
        gap = self._pace / (_BUSY_SHARE if busy else _IDLE_SHARE)
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
        self._learned(entry.model)
        complete = is_complete(look)
        if complete:
            self._remove(entry)
        else:
            self._take_out(group, entry)
            entry.look, entry.place = look, Place.SETTLED
            self._lacks(group, entry, at)
        return News(look, complete)

    def _give_up_on_extra(self, entry: Entry) -> News:
        self._remove(entry)
        assert entry.look is not None
        return News(entry.look, True)
