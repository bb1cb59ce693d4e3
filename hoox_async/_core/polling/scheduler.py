"""Which looks are waited for and where each stands: the state that the scheduler works on."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

from ..._api.models import Avatar, Look, LookRef
from ..._api.responses import look_from_details
from ...errors import AuthenticationError, HooxError, PermissionDenied
from .avatar_groups import AvatarGroup, LooksPolledAlone, MissingDetails
from .bucket_queue import BucketQueue, QueueItem
from .delivery_losses import DeliveryLosses
from .durations import DurationModels, Durations
from .failures import Failures, back_off, breaks_group, go_alone, refuses_look
from .indexed_heap import IndexedHeap
from .look_updates import LookUpdate, filled, is_complete
from .request_value import worth
from .tracked_looks import PollKind, PollRequest, TrackedLook, TrackingState

_HIGH_YIELD = 0.5  # looks that an answer is expected to show done
_EXTRA_PATIENCE = 900.0  # seconds that a missing picture or reason waits while submissions do
_LONG_BACKLOG = 1_000  # submissions, that is ten minutes; from there on a request delays so many that …
_DEAREST = 2.0  # … it costs up to so many prices
_PRESSING = 1.4  # prices; what is worth that may take more permits than submissions leave it
_BUSY_SHARE = 0.5  # of the permits, while submissions wait and nothing presses
_IDLE_SHARE = 0.5  # of the permits, for requests that promise little
_BURST = 2
_AT_A_TIME, _BREATH = 32, 5e-3  # units brought up to date in one decision; seconds until the next few
_GRAIN = 1e-3


class Choice(NamedTuple):
    """What to ask about, and from when on: a unit of the ladder, or a settled look's missing part."""

    at: float
    what: QueueItem | TrackedLook | None = None


class Waiting:
    """The looks, the groups they stand in, and the order in which they are asked for."""

    def __init__(self, limit: int, price: float, idle_price: float) -> None:
        self.durations: DurationModels = DurationModels()
        self._permit = self._pace = 60.0 / max(limit, 1)
        self.backlog = 0
        """How many submissions wait whose looks one request will tell of together with others."""
        self._price = price
        self._thrift_at = -math.inf
        self._entries: dict[LookRef, TrackedLook] = {}
        self._groups: dict[str, AvatarGroup] = {}
        self._ladder = BucketQueue(price, min(idle_price, price), self._permit)
        self._losses = DeliveryLosses()
        self._outdated: deque[str] = deque()  # avatars that were placed by what was known earlier
        self._extras: IndexedHeap[MissingDetails] = IndexedHeap("at", "place")
        self._extra_failures: dict[LookRef, int] = {}
        self._failures = Failures()
        self._left: list[LookUpdate] = []

    def _admit(self, group: AvatarGroup, entry: TrackedLook, now: float) -> None:
        if group.lone:
            group.isolate([]).insert(entry, -math.inf)
        else:
            group.insert(entry)
            # An answer that came before it was watched told us nothing of it.
            group.told = min(group.told, entry.accepted)
        looks = len(group.entries)
        if group.lone or looks % (1 << max(looks.bit_length() - 4, 0)) == 0:
            self._place(group, now)  # each time that an eighth or less has come: it costs a look little

    def _take_out(self, group: AvatarGroup, entry: TrackedLook) -> None:
        if entry.place is TrackingState.GROUPED:
            group.remove(entry)
        elif entry.place is TrackingState.SETTLED:
            self._lacks_nothing(group, entry)
        elif group.strays is not None:
            group.strays.remove(entry)
            if not group.strays:
                self._ladder.remove(group.strays)
        if not group.entries:
            self._ladder.remove(group)

    def _remove(self, entry: TrackedLook) -> None:
        group = self._groups[entry.ref.avatar_id]
        self._take_out(group, entry)
        del self._entries[entry.ref]
        self._failures.told(entry.ref)
        self._extra_failures.pop(entry.ref, None)
        self._forget_if_empty(group)

    def _forget_if_empty(self, group: AvatarGroup) -> None:
        if group.empty and self._groups.get(group.avatar_id) is group:
            del self._groups[group.avatar_id]
            self._failures.forget(group.avatar_id)
            self._unplace(group)

    def _unplace(self, group: AvatarGroup) -> None:
        self._ladder.remove(group)
        if group.strays is not None:
            self._ladder.remove(group.strays)
        self._await_extra(group)

    def _place(self, group: AvatarGroup, now: float) -> None:
        self._ladder.place(group, now)
        if group.strays is not None:
            self._ladder.place(group.strays, now)
        self._await_extra(group)
        self._forget_if_empty(group)

    def _await_extra(self, group: AvatarGroup) -> None:
        """Note from when on a missing picture or reason of the avatar's looks can be asked for."""
        if group.extras is not None:
            at = max(group.extras.next()[0], group.hushed) if group.air is None else math.inf
            self._extras.set(group.extras, at)

    def _lacks(self, group: AvatarGroup, entry: TrackedLook, now: float) -> None:
        """The look is settled, and its picture or its reason is to be asked for, after the others'."""
        if group.extras is None:
            group.extras = MissingDetails(group)
        group.extras.since.pop(entry, None)
        group.extras.since[entry] = now
        self._await_extra(group)

    def _lacks_nothing(self, group: AvatarGroup, entry: TrackedLook) -> None:
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
        self._pace = max(seconds or 0.0, self._permit)

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
        """What a request must be worth: more where others leave us fewer permits, or where many wait."""
        price = self._price * self._pace / self._permit
        return price * min(max(self.backlog / _LONG_BACKLOG, 1.0), _DEAREST) if busy else price

    def _next_extra(self) -> tuple[float, TrackedLook | None]:
        """The settled look whose missing part is asked for next, and from when on."""
        first = self._extras.first
        return (math.inf, None) if first is None else (first.at, first.next()[1])

    def _spend(self, now: float, busy: bool) -> None:
        """A request took one of the permits that are shared with others: so many of the quota, no more."""
        gap = self._pace / (_BUSY_SHARE if busy else _IDLE_SHARE)
        self._thrift_at = max(self._thrift_at, now - _BURST * gap) + gap

    def _yields(self, unit: QueueItem, now: float) -> bool:
        return worth(unit.terms(now), now)[1] >= _HIGH_YIELD

    def _tell(
        self, group: AvatarGroup, entry: TrackedLook, look: Look, not_yet: float, at: float
    ) -> LookUpdate | None:
        """Merge what was told of a look. ``not_yet``: when it was last known to be unfinished."""
        if entry.look is not None:
            more = filled(entry.look, look)
            if more is None:
                return None
            entry.look = more
            if is_complete(more):
                self._remove(entry)
            return LookUpdate(more, is_complete(more))
        if not look.status.settled:
            changed, entry.status = look.status is not entry.status, look.status
            return LookUpdate(look, False) if changed else None
        self.durations.observe(entry.model, not_yet - entry.accepted, at - entry.accepted)
        self._learned(entry.model)
        complete = is_complete(look)
        if complete:
            self._remove(entry)
        else:
            self._take_out(group, entry)
            entry.look, entry.place = look, TrackingState.SETTLED
            self._lacks(group, entry, at)
        return LookUpdate(look, complete)

    def _give_up_on_extra(self, entry: TrackedLook) -> LookUpdate:
        self._remove(entry)
        assert entry.look is not None
        return LookUpdate(entry.look, True)


PRICE = 80.0  # look-seconds; measured on 1,000 edits of 20 avatars: makespan against lag
IDLE_PRICE = PRICE / 256
_EXTRA_TRIES, _EXTRA_PAUSE = 2, 2.0  # seconds
_USUAL_LIMIT = 100
_LATE_TO_LIST = 15.0  # an avatar's answer may lack a look that is younger (seconds)


class PollScheduler(Waiting):
    """Looks that somebody waits for. Decides which status request to send next, and when.

    All times are the loop's, in seconds, and come in as arguments. ``limit`` is the quota in requests
    a minute: with nothing to submit, requests that promise little take half of it at most. ``price``
    is what a request must be worth, in look-seconds, while submissions wait for permits, and ``idle_price``
    while none do. Both are of a quota of 100; the permits of a larger one are worth less. A decision
    takes O(log n) steps: it brings some avatars up to now, 32 at most, however many have something to tell.
    """

    def __init__(self, *, limit: int = 100, price: float = PRICE, idle_price: float = IDLE_PRICE) -> None:
        permit = _USUAL_LIMIT / max(limit, 1)
        super().__init__(limit, price * permit, idle_price * permit)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, ref: object) -> bool:
        return ref in self._entries

    def knows_avatar(self, avatar_id: str) -> bool:
        """Whether a look of this avatar is watched."""
        return avatar_id in self._groups

    def expected(self, kind: Hashable) -> float:
        """The median of how long looks of the kind take, in seconds, as far as is known."""
        return self.durations.expected(kind)

    def add(
        self, ref: LookRef, kind: Hashable, accepted_at: float, now: float, *, pushed: bool = False
    ) -> None:
        """Watch a look. ``kind`` is what durations are learned by; ``accepted_at`` may lie days back.

        ``pushed``: a webhook will probably tell, so asking is worth less until that is late. For a look
        that is watched already only this changes.
        """
        entry = self._entries.get(ref)
        if entry is None:
            model = self.durations.of(kind)
            entry = TrackedLook(ref, model, min(accepted_at, now), expects_webhook=pushed)
            self._entries[ref] = entry
            group = self._groups.get(ref.avatar_id)
            if group is None:
                group = self._groups[ref.avatar_id] = AvatarGroup(ref.avatar_id, self._losses)
            self._admit(group, entry, now)
        elif entry.expects_webhook is not pushed:
            entry.expects_webhook = pushed
            group = self._groups[ref.avatar_id]
            group.bins = None
            if group.air is None:
                self._place(group, now)

    def drop(self, ref: LookRef) -> None:
        """Watch a look no more. Does nothing if it is not watched."""
        entry = self._entries.get(ref)
        if entry is not None:
            self._remove(entry)

    def heard(self, look: Look, now: float, *, delivered: bool = False) -> LookUpdate | None:
        """A webhook (``delivered``) or a request of someone's own told of a look. None if that is no news."""
        entry = self._entries.get(look.ref)
        if entry is None:
            return None
        self._failures.told(look.ref)
        group = self._groups[look.ref.avatar_id]
        if delivered and look.status.settled:
            self._note_delivery(entry)
        # what a delivery tells has only just happened
        not_yet = now if delivered else group.last_told(entry)
        news = self._tell(group, entry, look, not_yet, now)
        if group.air is None:
            self._place(group, now)  # without this look, asking is worth less
        return news

    def delivered_late(self, ref: LookRef) -> None:
        """A webhook told of a look that had been found done by asking: its delivery was not lost."""
        self._losses.came_late(ref)

    def due(self, now: float, busy: bool, pace: float | None = None) -> float:
        """When a status request is worth a permit: now or earlier, later, or infinity for not at all.

        ``busy``: paid submissions wait for permits. ``pace``: seconds between two requests, where others
        leave us less than the whole quota: then what permits are left is dearer. Ask again at that time
        before a permit is taken, and after each call that changes something.
        """
        self._keep_pace(pace)
        return self._decide(now, busy).at

    def take(self, now: float, busy: bool) -> PollRequest | None:
        """The request to send now, if one is worth it, at the pace that `due` was told last.

        The avatar is left alone until its answer is told.
        """
        at, chosen = self._choose(now, busy)  # `due` has brought up to now what it had to
        if at > now:
            at, chosen = self._decide(now, busy)
        if at > now or chosen is None:
            return None
        if isinstance(chosen, TrackedLook):
            group = self._groups[chosen.ref.avatar_id]
            ask = PollRequest(PollKind.STATUS, group.avatar_id, chosen.ref.look_id, now)
        else:
            if busy or not self._yields(chosen, now):
                self._spend(now, busy)
            group, ask = self._ask_of(chosen, now)
        group.air = ask
        self._unplace(group)
        return ask

    def answered_avatar(self, ask: PollRequest, avatar: Avatar, now: float) -> list[LookUpdate]:
        """The answer to a GROUP request. Returns what is news of the looks that are watched."""
        news = self._drain()
        at = self._read_at(ask, now)
        group = self._land(ask)
        self._failures.answered(ask.avatar_id)
        if group is None:
            return news
        group.failures = 0
        expected, seen = len(group.entries), 0
        for details in avatar.looks:
            entry = self._entries.get(details.ref)
            look = look_from_details(details) if entry is not None else None
            if entry is None or look is None:
                continue
            seen += entry.place is TrackingState.GROUPED
            self._failures.told(look.ref)
            told = self._found(group, entry, look, at)
            if told is not None:
                news.append(told)
        if seen < expected:
            self._isolate_lacking(group, avatar, at)
        elif not group.strays:
            group.lone_times = 0
        group.told = max(group.told, at)
        group.bins = None
        self._place(group, now)
        return news

    def answered_look(self, ask: PollRequest, look: Look, now: float) -> list[LookUpdate]:
        """The answer to a STATUS request. Returns what is news."""
        news = self._drain()
        at = self._read_at(ask, now)
        group = self._land(ask)
        self._failures.answered(ask.avatar_id)
        entry = self._asked(ask)
        if group is None:
            return news
        group.failures = 0
        if entry is not None and entry.ref == look.ref:
            self._failures.told(look.ref)
            was_settled = entry.place is TrackingState.SETTLED
            told = self._found(group, entry, look, at)
            if was_settled and entry.ref in self._entries:
                if look.status.settled:
                    told = self._give_up_on_extra(entry)
                else:
                    self._retry_extra(entry, now)  # the answer lags behind what was told before
            if told is not None:
                news.append(told)
            if entry.ref in self._entries:
                _note_told(group, entry, at)
        self._place(group, now)
        return [*news, *self._drain()]

    def failed(self, ask: PollRequest, error: HooxError, now: float) -> list[tuple[LookRef, HooxError]]:
        """A request failed. Returns the looks whose watch ends with this error.

        Those are looks that the API keeps refusing (3 times over 30 s), and all of an avatar, or all
        there are, when access or the API key is (5 times over 60 s). Any other failure makes the
        scheduler wait and try again. `leftovers` tells of settled looks that are given up on.
        """
        group = self._land(ask)
        if isinstance(error, AuthenticationError):
            ended = list(self._entries.values()) if self._failures.key_refused(now) else []
        elif group is None:
            return []
        else:
            ended = self._failed_group(group, ask, error, now)
        entry = self._asked(ask)
        if entry is not None and entry.place is TrackingState.SETTLED and entry not in ended:
            self._retry_extra(entry, now)
        if group is not None:
            self._place(group, now)
        return self._end(ended, error)

    def leftovers(self) -> list[LookUpdate]:
        """News that `failed` left: settled looks whose picture or reason could not be had.

        What is not taken here comes with the next answer.
        """
        return self._drain()

    def _note_delivery(self, entry: TrackedLook) -> None:
        if entry.place is TrackingState.SETTLED:
            self._losses.came_late(entry.ref)
        elif entry.expects_webhook:
            self._losses.came()

    def _found(self, group: AvatarGroup, entry: TrackedLook, look: Look, at: float) -> LookUpdate | None:
        """A status request told of the look."""
        if entry.expects_webhook and look.status.settled and entry.place is not TrackingState.SETTLED:
            self._losses.found(entry.ref)
        return self._tell(group, entry, look, group.last_told(entry), at)

    def _ask_of(self, unit: QueueItem, now: float) -> tuple[AvatarGroup, PollRequest]:
        if isinstance(unit, LooksPolledAlone):
            group, head = unit.group, unit.head()
            if head is not None and (group.lone_until > now or len(unit) + len(group.entries) < 2):
                return group, PollRequest(PollKind.STATUS, group.avatar_id, head.ref.look_id, now)
        else:
            assert isinstance(unit, AvatarGroup)
            group = unit
        if group.strays is not None and group.lone_until <= now:
            self._ladder.remove(group.strays)
            group.gather()
        return group, group.ask(now)

    def _land(self, ask: PollRequest) -> AvatarGroup | None:
        group = self._groups.get(ask.avatar_id)
        if group is not None and group.air is ask:
            group.air = None
        return group

    def _read_at(self, ask: PollRequest, now: float) -> float:
        """When the API looked, as near as can be known: half way between asking and being answered."""
        group = self._groups.get(ask.avatar_id)
        return 0.5 * (ask.at + now) if group is not None and group.air is ask else now

    def _asked(self, ask: PollRequest) -> TrackedLook | None:
        return None if ask.look_id is None else self._entries.get(LookRef(ask.avatar_id, ask.look_id))

    def _isolate_lacking(self, group: AvatarGroup, avatar: Avatar, at: float) -> None:
        listed = {details.ref.look_id for details in avatar.looks if details.status is not None}
        lacking = [
            entry
            for entry in group.entries
            if entry.ref.look_id not in listed and at - entry.accepted >= _LATE_TO_LIST
        ]
        if lacking:
            group.isolate(lacking)
            go_alone(group, at)

    def _failed_group(
        self, group: AvatarGroup, ask: PollRequest, error: HooxError, now: float
    ) -> list[TrackedLook]:
        if breaks_group(group, ask, error):
            group.isolate(list(group.entries)).all_of_them = True
            go_alone(group, now)
            return []
        if ask.kind is PollKind.STATUS and isinstance(error, PermissionDenied):
            lasting = self._failures.avatar_denied(group, now)
            mine = (entry for entry in self._entries.values() if entry.ref.avatar_id == group.avatar_id)
            return list(mine) if lasting else []
        entry = self._asked(ask)
        if entry is not None and refuses_look(error):
            lasting = self._failures.look_refused(group, entry.ref, now)
            return [entry] if lasting else []
        back_off(group, error, now)
        return []

    def _retry_extra(self, entry: TrackedLook, now: float) -> None:
        tries = self._extra_failures.get(entry.ref, 0) + 1
        self._extra_failures[entry.ref] = tries
        if tries >= _EXTRA_TRIES:
            self._left.append(self._give_up_on_extra(entry))
        else:
            self._lacks(self._groups[entry.ref.avatar_id], entry, now + _EXTRA_PAUSE)

    def _end(self, ended: list[TrackedLook], error: HooxError) -> list[tuple[LookRef, HooxError]]:
        lost: list[tuple[LookRef, HooxError]] = []
        for entry in ended:
            if entry.place is TrackingState.SETTLED:
                self._left.append(self._give_up_on_extra(entry))
            else:
                self._remove(entry)
                lost.append((entry.ref, error))
        return lost

    def _drain(self) -> list[LookUpdate]:
        left, self._left = self._left, []
        return left


def _note_told(group: AvatarGroup, entry: TrackedLook, at: float) -> None:
    """A look that is not settled was told of by itself."""
    if entry.place is TrackingState.STRAY and group.strays is not None:
        group.strays.insert(entry, at)
    elif entry.place is TrackingState.GROUPED and entry.index >= 0 and len(group.entries) <= 8:
        others = (other.accepted for other in group.entries if other is not entry)
        group.told = max(group.told, min(at, min(others, default=at)))
