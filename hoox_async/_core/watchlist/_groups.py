"""The looks of one avatar: those that one request tells of, and those that must be asked for one by one."""

from __future__ import annotations

import heapq
import math
from enum import Enum
from typing import NamedTuple

from ..durations import Durations
from ..models import Look, LookRef, LookStatus
from ._ladder import Unit
from ._worth import Term, term

_NEVER = -math.inf  # one float for all: it is kept per avatar
_FEW = 6  # looks that are cheaper to take one by one than by age
_MOST_BINS = 64
_FINE, _COARSE = 3.0, 0.2  # width of an age bin: seconds while young, share of the age later
_CURIOUS = 8  # answers after which a kind's durations count as known
_THRIFTY, _SOON = (
    1.7,
    2.0,
)  # slots of the quota: between two requests, and until the first of a kind not known


class AskKind(Enum):
    """GROUP is ``GET /avatar/{id}``, STATUS is ``GET /avatar/status``."""

    GROUP = "group"
    STATUS = "status"


class Ask(NamedTuple):
    """A status request to send. ``look_id`` is None for GROUP."""

    kind: AskKind
    avatar_id: str
    look_id: str | None


class Place(Enum):
    """Where an entry of the list stands."""

    GROUPED = 0
    PUSHED = 1  # a webhook will tell; joins the group when that is overdue
    STRAY = 2  # its avatar's answer fails or lacks it: asked for alone
    SETTLED = 3  # known to be settled; its picture or reason is missing


class Entry:
    """A look that somebody waits for."""

    __slots__ = ("accepted", "index", "look", "model", "place", "ref", "status")

    def __init__(self, ref: LookRef, model: Durations, accepted: float) -> None:
        self.ref = ref
        self.model = model
        self.accepted = accepted
        self.place = Place.PUSHED
        self.index = -1
        self.status = LookStatus.PENDING
        self.look: Look | None = None

    def __lt__(self, other: Entry) -> bool:
        return self.ref < other.ref


class Bins:
    """Looks counted by age, so that a group's worth takes few steps however large the group is."""

    __slots__ = ("bins", "size")

    def __init__(self, entries: list[Entry], now: float) -> None:
        by_age: dict[tuple[int, int], list[float]] = {}
        models: dict[int, Durations] = {}
        for entry in entries:
            age = now - entry.accepted
            if age < _FINE / _COARSE:
                bin_ = int(max(age, 0.0) / _FINE)
            else:
                bin_ = 5 + int(math.log(age * _COARSE / _FINE) / _COARSE)
            model = entry.model
            models[id(model)] = model
            counted = by_age.setdefault((id(model), bin_), [0.0, 0.0])
            counted[0] += 1
            counted[1] += entry.accepted
        # [count, sum of accepted, model], oldest first
        self.bins: list[tuple[list[float], Durations]] = [
            (counted, models[key]) for (key, _), counted in sorted(by_age.items(), key=lambda kv: -kv[0][1])
        ]
        self.size = len(entries)

    def add(self, entry: Entry) -> None:
        """Count one more, the newest."""
        self.size += 1
        if self.bins:
            counted, model = self.bins[-1]
            if model is entry.model and abs(entry.accepted - counted[1] / counted[0]) <= 0.6 * _FINE:
                counted[0] += 1
                counted[1] += entry.accepted
                return
        self.bins.append(([1.0, entry.accepted], entry.model))

    def terms(self, told: float) -> list[Term]:
        """The terms of all that are counted."""
        return [term(int(n), total / n, told, model) for (n, total), model in self.bins]


class Group(Unit):
    """One avatar: the looks that are asked for together, and what is known of asking."""

    __slots__ = (
        "air", "air_at", "avatar_id", "bins", "dirty", "entries", "extra_at", "extras", "failures", "hushed",
        "lone", "lone_times", "lone_until", "newest", "placed", "pushed", "strays", "told",
    )  # fmt: skip

    def __init__(self, avatar_id: str) -> None:
        super().__init__()
        self.avatar_id = avatar_id
        self.entries: list[Entry] = []
        self.bins: Bins | None = None
        self.strays: Strays | None = None
        self.pushed = 0
        self.extras: dict[Entry, float] | None = None  # settled, with something missing, since when
        self.extra_at = math.inf
        self.told = _NEVER
        self.newest = _NEVER
        self.placed = 0  # how many there were when its place was worked out
        self.dirty = False
        self.air: Ask | None = None
        self.air_at = 0.0
        self.hushed = _NEVER
        self.failures = 0
        self.lone = False  # its looks are asked for one by one, all of them
        self.lone_until = _NEVER
        self.lone_times = 0

    def name(self) -> str:
        return self.avatar_id

    @property
    def unsettled(self) -> int:
        """How many looks the avatar's answer can tell of."""
        return len(self.entries) + self.pushed

    @property
    def empty(self) -> bool:
        """Whether nobody waits for anything of this avatar, and no answer is on its way."""
        return not (self.entries or self.pushed or self.strays or self.extras) and self.air is None

    def last_told(self, entry: Entry) -> float:
        """When an answer last told of the entry, or its acceptance if none did."""
        told = self.told
        if entry.place is Place.STRAY and self.strays is not None:
            told = self.strays.told(entry)
        return max(told, entry.accepted)

    def isolate(self, entries: list[Entry]) -> Strays:
        """Ask for these one by one from now on."""
        strays = self.strays
        if strays is None:
            strays = self.strays = Strays(self)
        for entry in entries:
            told = self.last_told(entry)
            self.remove(entry)
            strays.insert(entry, told)
        return strays

    def gather(self) -> None:
        """Ask for all of them together again."""
        strays, self.strays, self.lone = self.strays, None, False
        for entry in strays.all() if strays is not None else ():
            if strays is not None:
                self.told = min(self.told, max(strays.told(entry), entry.accepted))
            self.insert(entry)

    def insert(self, entry: Entry) -> None:
        """Ask for this one with the others."""
        entry.place = Place.GROUPED
        entry.index = len(self.entries)
        if entry.index:
            self.entries.append(entry)
        else:
            self.entries = [entry]  # of its very size, which append would not make: most avatars have one
        self.newest = max(self.newest, entry.accepted)
        if self.bins is not None:
            if len(self.bins.bins) < _MOST_BINS:
                self.bins.add(entry)
            else:
                self.bins = None

    def remove(self, entry: Entry) -> None:
        """Ask for this one no more."""
        last = self.entries.pop()
        if last is not entry:
            self.entries[entry.index] = last
            last.index = entry.index
        entry.index = -1
        if self.bins is not None and len(self.entries) < 0.9 * self.bins.size:
            self.bins = None

    def terms(self, now: float) -> list[Term]:
        if self.air is not None or not self.entries:
            return []
        if len(self.entries) <= _FEW:
            self.bins = None
            return [term(1, each.accepted, self.told, each.model) for each in self.entries]
        if self.bins is None:
            self.bins = Bins(self.entries, now)
        return self.bins.terms(self.told)

    def bounds(self, slot: float) -> tuple[float, float, float]:
        since = max(self.told, self.newest)
        age = since - self.newest
        # Far-off looks are asked for at growing intervals: 2 % of the age says "days" in minutes.
        thrifty = self.told + max(_THRIFTY * slot, 0.02 * age)
        known = self.entries[0].model.seen >= _CURIOUS
        curious = math.inf if known else since + _SOON * slot + 0.14 * age
        return self.hushed, thrifty, curious

    def ask(self) -> Ask:
        """The request that tells of them."""
        if self.unsettled > 1:
            return Ask(AskKind.GROUP, self.avatar_id, None)
        return Ask(AskKind.STATUS, self.avatar_id, self.entries[0].ref.look_id)


class Strays(Unit):
    """The looks of an avatar that are asked for one by one; first the one most likely done."""

    __slots__ = ("_heap", "_times", "group")

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group
        self._times: dict[Entry, tuple[float, float]] = {}  # when its turn is, when it was last told
        self._heap: list[tuple[float, Entry]] = []

    def __len__(self) -> int:
        return len(self._times)

    def name(self) -> str:
        return self.group.avatar_id + "\0"

    def insert(self, entry: Entry, told: float) -> None:
        """Ask for this one alone, again if it was asked for before."""
        entry.place = Place.STRAY
        median = entry.model.median
        turn = entry.accepted + median
        if told > entry.accepted:
            turn = told + 0.6 * median + 0.1 * (told - entry.accepted)
        self._times[entry] = (turn, told)
        heapq.heappush(self._heap, (turn, entry))

    def remove(self, entry: Entry) -> None:
        """Ask for this one no more."""
        self._times.pop(entry, None)

    def told(self, entry: Entry) -> float:
        """When the entry was last told of; long ago if never."""
        return self._times[entry][1]

    def head(self) -> Entry | None:
        """The one whose turn it is."""
        while self._heap:
            turn, entry = self._heap[0]
            times = self._times.get(entry)
            if times is not None and times[0] == turn:
                return entry
            heapq.heappop(self._heap)
        return None

    def all(self) -> list[Entry]:
        """All of them, in the order in which they came."""
        return list(self._times)

    def terms(self, now: float) -> list[Term]:  # noqa: ARG002
        head = self.head()
        if head is None or self.group.air is not None:
            return []
        return [term(1, head.accepted, self.told(head), head.model)]

    def bounds(self, slot: float) -> tuple[float, float, float]:
        head = self.head()
        told = self.told(head) if head is not None else 0.0
        age = max(told - head.accepted, 0.0) if head is not None else 0.0
        return self.group.hushed, told + max(_THRIFTY * slot, 0.02 * age), math.inf
