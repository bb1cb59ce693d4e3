"""The looks of one avatar: those that one request reports, and those that must be polled one by one."""

from __future__ import annotations

import math

from .bucket_queue import PollTimes, QueueItem
from .delivery_losses import DeliveryLosses
from .indexed_heap import HeapItem, IndexedHeap
from .request_value import Term, make_term
from .tracked_looks import PollKind, PollRequest, TrackedLook, TrackingState

_FINE, _COARSE = 3.0, 0.2  # width of an age bin: seconds while young, share of the age later


class _Bin:
    """Looks of one kind and about one age. ``accepted_sum`` is the sum of their times of acceptance."""

    __slots__ = ("accepted_sum", "count", "durations", "expects_webhook")

    def __init__(self, look: TrackedLook) -> None:
        self.durations = look.durations
        self.expects_webhook = look.expects_webhook
        self.count = 0
        self.accepted_sum = 0.0

    def fits(self, look: TrackedLook) -> bool:
        """Whether the look is of this kind and age, and expects a webhook as the others do."""
        same = self.durations is look.durations and self.expects_webhook is look.expects_webhook
        return same and abs(look.accepted_at - self.accepted_sum / self.count) <= 0.6 * _FINE

    def add(self, look: TrackedLook) -> None:
        """Count one more look."""
        self.count += 1
        self.accepted_sum += look.accepted_at


class _AgeBins:
    """Looks counted by age, so that a group's value takes few steps however large the group is."""

    __slots__ = ("bins", "size")

    def __init__(self, looks: list[TrackedLook], now: float) -> None:
        by_age: dict[tuple[int, bool, int], _Bin] = {}
        for look in looks:
            age = now - look.accepted_at
            if age < _FINE / _COARSE:
                number = int(max(age, 0.0) / _FINE)
            else:
                number = 5 + int(math.log(age * _COARSE / _FINE) / _COARSE)
            key = id(look.durations), look.expects_webhook, number
            found = by_age.get(key)
            if found is None:
                found = by_age[key] = _Bin(look)
            found.add(look)
        self.bins = [found for _, found in sorted(by_age.items(), key=lambda kv: -kv[0][2])]  # oldest first
        self.size = len(looks)

    def add(self, look: TrackedLook) -> None:
        """Count one more look, the newest."""
        self.size += 1
        if not self.bins or not self.bins[-1].fits(look):
            self.bins.append(_Bin(look))
        self.bins[-1].add(look)

    def terms(self, last_checked_at: float, loss_share: float) -> list[Term]:
        """The terms of all looks. ``loss_share``: the share of webhook deliveries that never comes."""
        return [
            make_term(
                each.count,
                each.accepted_sum / each.count,
                last_checked_at,
                each.durations,
                loss_share if each.expects_webhook else 1.0,
            )
            for each in self.bins
        ]


_NEVER = -math.inf  # one float object for all avatars saves memory
_FEW = 6  # looks whose terms are cheaper one by one than by age
_MAX_BINS = 64
_KNOWN_AFTER = 8  # observations after which the durations of a kind count as known
_MIN_INTERVAL = 1.7  # intervals of the quota between two requests for one avatar
_MIN_INTERVAL_BY_AGE = 0.02  # of the age: hours-old looks are polled in minutes, days-old ones in hours
_EXPLORE_AFTER, _EXPLORE_BY_AGE = 2.0, 0.14  # intervals, and of the age: where durations are not known
_EXPLORE_LATE = 0.5  # of its age: until a late look is polled again, though a webhook is expected
# Until deliveries have proved to come (few were seen, or some got lost), an idle quota is spent on looks that
# expect one: each is asked for this many seconds after it may have been done, and again as often.
_TRUSTED_SHARE = 0.0112  # of lost deliveries: 50 must have come, and none been lost
_KNOWN_WITHIN, _KNOWN_WITHIN_BY_AGE = 15.0, 0.1


class AvatarGroup(QueueItem):
    """One avatar: the looks that are polled together, and what is known of polling them."""

    __slots__ = (
        "age_bins", "alone_until", "avatar_id", "backoff_until", "failures_in_a_row", "last_checked_at",
        "looks", "losses", "missing_details", "newest_at", "outstanding", "polled_alone", "resting",
        "times_alone",
    )  # fmt: skip

    def __init__(self, avatar_id: str, losses: DeliveryLosses) -> None:
        super().__init__()
        self.avatar_id = avatar_id
        self.losses = losses
        self.looks: list[TrackedLook] = []
        self.age_bins: _AgeBins | None = None
        self.polled_alone: LooksPolledAlone | None = None
        self.missing_details: MissingDetails | None = None
        self.resting = 0  # looks of the avatar that rest
        self.last_checked_at = _NEVER
        self.newest_at = _NEVER  # when the newest of its looks was accepted
        self.outstanding: PollRequest | None = None
        self.backoff_until = _NEVER
        self.failures_in_a_row = 0
        self.alone_until = _NEVER
        self.times_alone = 0

    @property
    def all_alone(self) -> bool:
        """Whether all of its looks are polled one by one."""
        return self.polled_alone is not None and self.polled_alone.all_of_them

    @property
    def is_unused(self) -> bool:
        """Whether no look of this avatar is tracked, and no request is outstanding."""
        has_looks = self.looks or self.polled_alone or self.missing_details or self.resting
        return not has_looks and self.outstanding is None

    def last_checked(self, look: TrackedLook) -> float:
        """When an answer last reported the look, or its acceptance if none did."""
        checked = self.last_checked_at
        if look.state is TrackingState.ALONE and self.polled_alone is not None:
            checked = self.polled_alone.last_checked(look)
        return max(checked, look.accepted_at)

    def add(self, look: TrackedLook) -> None:
        """Poll this look together with the others."""
        look.state = TrackingState.GROUPED
        look.group_index = len(self.looks)
        if look.group_index:
            self.looks.append(look)
        else:
            self.looks = [look]  # exactly one element wide, unlike after `append`: most avatars have one look
        self.newest_at = max(self.newest_at, look.accepted_at)
        if self.age_bins is not None:
            if len(self.age_bins.bins) < _MAX_BINS:
                self.age_bins.add(look)
            else:
                self.age_bins = None

    def remove(self, look: TrackedLook) -> None:
        """Stop polling this look."""
        last = self.looks.pop()
        if last is not look:
            self.looks[look.group_index] = last
            last.group_index = look.group_index
        look.group_index = -1
        if self.age_bins is not None and len(self.looks) < 0.9 * self.age_bins.size:
            self.age_bins = None

    def poll_alone(self, looks: list[TrackedLook]) -> LooksPolledAlone:
        """Poll these looks one by one from now on."""
        alone = self.polled_alone
        if alone is None:
            alone = self.polled_alone = LooksPolledAlone(self)
        for look in looks:
            checked = self.last_checked(look)
            self.remove(look)
            alone.add(look, checked)
        return alone

    def poll_together(self) -> None:
        """Poll all looks together again."""
        alone, self.polled_alone = self.polled_alone, None
        for look in alone.looks() if alone is not None else ():
            if alone is not None:
                checked = max(alone.last_checked(look), look.accepted_at)
                self.last_checked_at = min(self.last_checked_at, checked)
            self.add(look)

    def terms(self, now: float) -> list[Term]:
        if self.outstanding is not None or not self.looks:
            return []
        if len(self.looks) <= _FEW:
            self.age_bins = None
            checked = self.last_checked_at
            return [
                make_term(1, each.accepted_at, checked, each.durations, self.loss_share(each))
                for each in self.looks
            ]
        if self.age_bins is None:
            self.age_bins = _AgeBins(self.looks, now)
        return self.age_bins.terms(self.last_checked_at, self.losses.share)

    def loss_share(self, look: TrackedLook) -> float:
        """How probable it was from the start that no webhook reports the look."""
        return self.losses.share if look.expects_webhook else 1.0

    def poll_times(self, interval: float) -> PollTimes:
        since = max(self.last_checked_at, self.newest_at)
        age = since - self.newest_at
        first = self.looks[0]
        if first.expects_webhook:
            explore_at = self.last_checked_at + _EXPLORE_LATE * age if age > 0.0 else math.inf
            if self.losses.share > _TRUSTED_SHARE:
                explore_at = min(explore_at, self._unknown_for_long_at())
        elif first.durations.observations >= _KNOWN_AFTER:
            explore_at = math.inf
        else:
            explore_at = since + _EXPLORE_AFTER * interval + _EXPLORE_BY_AGE * age
        min_interval = max(_MIN_INTERVAL * interval, _MIN_INTERVAL_BY_AGE * age)
        return PollTimes(self.backoff_until, self.last_checked_at + min_interval, explore_at)

    def _unknown_for_long_at(self) -> float:
        """When a look may have been done for `_KNOWN_WITHIN` seconds, or for a tenth of its age.

        Those that take unusually long are asked for ever more rarely.
        """
        if self.age_bins is None:
            looks = [(each.accepted_at, each.durations) for each in self.looks]
        else:
            looks = [(each.accepted_sum / each.count, each.durations) for each in self.age_bins.bins]
        at = math.inf
        for accepted_at, durations in looks:
            soonest, latest = durations.usual_range
            age = max(self.last_checked_at - accepted_at, 0.0)
            seconds = max(_KNOWN_WITHIN, _KNOWN_WITHIN_BY_AGE * age) * max(age / latest, 1.0) ** 2
            at = min(at, accepted_at + max(soonest, age) + seconds)
        return at

    def request(self, now: float) -> PollRequest:
        """The request that reports the looks that are polled together."""
        if len(self.looks) > 1:
            return PollRequest(PollKind.GROUP, self.avatar_id, None, now)
        return PollRequest(PollKind.STATUS, self.avatar_id, self.looks[0].ref.look_id, now)


class MissingDetails(HeapItem[AvatarGroup]):
    """Settled looks of one avatar whose picture or reason is missing, and since when each is."""

    __slots__ = ("since",)

    def __init__(self, group: AvatarGroup) -> None:
        super().__init__(group)
        self.since: dict[TrackedLook, float] = {}

    def next(self) -> tuple[float, TrackedLook]:
        """A pair: since when the detail is missing, and the look to ask for first."""
        look, since = next(iter(self.since.items()))
        return since, look


class LookPolledAlone(HeapItem[TrackedLook]):
    """A look that is polled alone: when it is due, and when an answer last reported it."""

    __slots__ = ("last_checked_at",)

    def __init__(self, look: TrackedLook, last_checked_at: float) -> None:
        super().__init__(look)
        self.last_checked_at = last_checked_at


class LooksPolledAlone(QueueItem):
    """The looks of an avatar that are polled one by one; first the one most likely done."""

    __slots__ = ("_alone", "_turns", "all_of_them", "group")

    def __init__(self, group: AvatarGroup) -> None:
        super().__init__()
        self.group = group
        self.all_of_them = False
        self._alone: dict[TrackedLook, LookPolledAlone] = {}
        self._turns: IndexedHeap[LookPolledAlone] = IndexedHeap("at", "heap_index")

    def __len__(self) -> int:
        return len(self._alone)

    def add(self, look: TrackedLook, last_checked_at: float) -> None:
        """Poll this look alone, or poll it again after an answer has reported it."""
        look.state = TrackingState.ALONE
        median = look.durations.median
        turn = look.accepted_at + median
        if last_checked_at > look.accepted_at:
            turn = last_checked_at + 0.6 * median + 0.1 * (last_checked_at - look.accepted_at)
        alone = self._alone.get(look)
        if alone is None:
            alone = self._alone[look] = LookPolledAlone(look, last_checked_at)
        alone.last_checked_at = last_checked_at
        self._turns.set(alone, turn)

    def remove(self, look: TrackedLook) -> None:
        """Stop polling this look."""
        alone = self._alone.pop(look, None)
        if alone is not None:
            self._turns.remove(alone)

    def last_checked(self, look: TrackedLook) -> float:
        """When an answer last reported the look; minus infinity if none did."""
        return self._alone[look].last_checked_at

    def next(self) -> TrackedLook | None:
        """The look that is due next."""
        first = self._turns.first
        return None if first is None else first.item

    def looks(self) -> list[TrackedLook]:
        """All of them, in the order in which they were added."""
        return list(self._alone)

    def terms(self, now: float) -> list[Term]:  # noqa: ARG002
        look = self.next()
        if look is None or self.group.outstanding is not None:
            return []
        checked = self.last_checked(look)
        return [make_term(1, look.accepted_at, checked, look.durations, self.group.loss_share(look))]

    def poll_times(self, interval: float) -> PollTimes:
        look = self.next()
        checked = self.last_checked(look) if look is not None else 0.0
        age = max(checked - look.accepted_at, 0.0) if look is not None else 0.0
        min_interval = max(_MIN_INTERVAL * interval, _MIN_INTERVAL_BY_AGE * age)
        return PollTimes(self.group.backoff_until, checked + min_interval, math.inf)
