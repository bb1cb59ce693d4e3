"""The looks of one avatar: those that one request tells of, and those that must be asked for one by one."""

from __future__ import annotations

import math

from .age_bins import AgeBins
from .bucket_queue import QueueItem
from .delivery_losses import DeliveryLosses
from .indexed_heap import HeapItem, IndexedHeap
from .request_value import Term, term
from .tracked_looks import PollKind, PollRequest, TrackedLook, TrackingState

_NEVER = -math.inf  # one float for all: it is kept per avatar
_FEW = 6  # looks that are cheaper to take one by one than by age
_MOST_BINS = 64
_CURIOUS = 8  # answers after which a kind's durations count as known
_THRIFTY = 1.7  # permits of the quota between two requests
_SOON = 2.0  # permits until the first request for a kind whose durations are not known
_LATER = 0.5  # of its age: until a look that is late is asked for again, though a webhook is expected


class AvatarGroup(QueueItem):
    """One avatar: the looks that are asked for together, and what is known of asking."""

    __slots__ = (
        "air", "avatar_id", "bins", "entries", "extras", "failures", "hushed", "lone_times",
        "lone_until", "losses", "newest", "strays", "told",
    )  # fmt: skip

    def __init__(self, avatar_id: str, losses: DeliveryLosses) -> None:
        super().__init__()
        self.avatar_id = avatar_id
        self.losses = losses
        self.entries: list[TrackedLook] = []
        self.bins: AgeBins | None = None
        self.strays: LooksPolledAlone | None = None
        self.extras: MissingDetails | None = None
        self.told = _NEVER
        self.newest = _NEVER
        self.air: PollRequest | None = None
        self.hushed = _NEVER
        self.failures = 0
        self.lone_until = _NEVER
        self.lone_times = 0

    @property
    def lone(self) -> bool:
        """Whether its looks are asked for one by one, all of them."""
        return self.strays is not None and self.strays.all_of_them

    @property
    def empty(self) -> bool:
        """Whether nobody waits for anything of this avatar, and no answer is on its way."""
        return not (self.entries or self.strays or self.extras) and self.air is None

    def last_told(self, entry: TrackedLook) -> float:
        """When an answer last told of the entry, or its acceptance if none did."""
        told = self.told
        if entry.place is TrackingState.STRAY and self.strays is not None:
            told = self.strays.told(entry)
        return max(told, entry.accepted)

    def isolate(self, entries: list[TrackedLook]) -> LooksPolledAlone:
        """Ask for these one by one from now on."""
        strays = self.strays
        if strays is None:
            strays = self.strays = LooksPolledAlone(self)
        for entry in entries:
            told = self.last_told(entry)
            self.remove(entry)
            strays.insert(entry, told)
        return strays

    def gather(self) -> None:
        """Ask for all of them together again."""
        strays, self.strays = self.strays, None
        for entry in strays.entries() if strays is not None else ():
            if strays is not None:
                self.told = min(self.told, max(strays.told(entry), entry.accepted))
            self.insert(entry)

    def insert(self, entry: TrackedLook) -> None:
        """Ask for this one with the others."""
        entry.place = TrackingState.GROUPED
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

    def remove(self, entry: TrackedLook) -> None:
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
            return [term(1, each.accepted, self.told, each.model, self.lost(each)) for each in self.entries]
        if self.bins is None:
            self.bins = AgeBins(self.entries, now)
        return self.bins.terms(self.told, self.losses.share)

    def lost(self, entry: TrackedLook) -> float:
        """How probable it was from the start that no webhook tells of the look."""
        return self.losses.share if entry.expects_webhook else 1.0

    def bounds(self, permit: float) -> tuple[float, float, float]:
        since = max(self.told, self.newest)
        age = since - self.newest
        # Far-off looks are asked for at growing intervals: 2 % of the age says "days" in minutes.
        thrifty = self.told + max(_THRIFTY * permit, 0.02 * age)
        first = self.entries[0]
        if first.expects_webhook:
            curious = self.told + _LATER * age if age > 0.0 else math.inf
        elif first.model.seen >= _CURIOUS:
            curious = math.inf
        else:
            curious = since + _SOON * permit + 0.14 * age
        return self.hushed, thrifty, curious

    def ask(self, now: float) -> PollRequest:
        """The request that tells of them."""
        if len(self.entries) > 1:
            return PollRequest(PollKind.GROUP, self.avatar_id, None, now)
        return PollRequest(PollKind.STATUS, self.avatar_id, self.entries[0].ref.look_id, now)


class MissingDetails(HeapItem[AvatarGroup]):
    """Looks of one avatar that are settled with a picture or a reason missing, since when each."""

    __slots__ = ("since",)

    def __init__(self, group: AvatarGroup) -> None:
        super().__init__(group)
        self.since: dict[TrackedLook, float] = {}

    def next(self) -> tuple[float, TrackedLook]:
        """The one that is asked for first, and since when it is missing something."""
        entry, since = next(iter(self.since.items()))
        return since, entry


class LookPolledAlone(HeapItem[TrackedLook]):
    """A look that is asked for alone: its turn, and when an answer last told of it."""

    __slots__ = ("told",)

    def __init__(self, entry: TrackedLook, told: float) -> None:
        super().__init__(entry)
        self.told = told


class LooksPolledAlone(QueueItem):
    """The looks of an avatar that are asked for one by one; first the one most likely done."""

    __slots__ = ("_strays", "_turns", "all_of_them", "group")

    def __init__(self, group: AvatarGroup) -> None:
        super().__init__()
        self.group = group
        self.all_of_them = False
        self._strays: dict[TrackedLook, LookPolledAlone] = {}
        self._turns: IndexedHeap[LookPolledAlone] = IndexedHeap("at", "place")

    def __len__(self) -> int:
        return len(self._strays)

    def insert(self, entry: TrackedLook, told: float) -> None:
        """Ask for this one alone, again if it was asked for before."""
        entry.place = TrackingState.STRAY
        median = entry.model.median
        turn = entry.accepted + median
        if told > entry.accepted:
            turn = told + 0.6 * median + 0.1 * (told - entry.accepted)
        stray = self._strays.get(entry)
        if stray is None:
            stray = self._strays[entry] = LookPolledAlone(entry, told)
        stray.told = told
        self._turns.set(stray, turn)

    def remove(self, entry: TrackedLook) -> None:
        """Ask for this one no more."""
        stray = self._strays.pop(entry, None)
        if stray is not None:
            self._turns.call_off(stray)

    def told(self, entry: TrackedLook) -> float:
        """When the entry was last told of; long ago if never."""
        return self._strays[entry].told

    def head(self) -> TrackedLook | None:
        """The one whose turn it is."""
        first = self._turns.first
        return None if first is None else first.what

    def entries(self) -> list[TrackedLook]:
        """All of them, in the order in which they came."""
        return list(self._strays)

    def terms(self, now: float) -> list[Term]:  # noqa: ARG002
        head = self.head()
        if head is None or self.group.air is not None:
            return []
        return [term(1, head.accepted, self.told(head), head.model, self.group.lost(head))]

    def bounds(self, permit: float) -> tuple[float, float, float]:
        head = self.head()
        told = self.told(head) if head is not None else 0.0
        age = max(told - head.accepted, 0.0) if head is not None else 0.0
        return self.group.hushed, told + max(_THRIFTY * permit, 0.02 * age), math.inf
