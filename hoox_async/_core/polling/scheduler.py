"""Decides which status request to send next, and when.

What comes in (looks to poll, answers, deliveries, failures) changes the value of polling an avatar. The
decision takes the avatar whose request has the largest value, once that reaches a threshold: high while
submissions wait for permits of the same quota, low while the quota is idle.
"""

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
from .failures import FailureStreaks, back_off, breaks_group, poll_alone_for_a_while, refuses_look
from .indexed_heap import IndexedHeap
from .request_value import request_value
from .tracked_looks import LookUpdate, PollKind, PollRequest, TrackedLook, TrackingState, is_complete

THRESHOLD = 80.0  # look-seconds; measured on 1,000 edits of 20 avatars: makespan against lag
IDLE_THRESHOLD = THRESHOLD / 256
_USUAL_LIMIT = 100  # requests a minute, for which the thresholds were measured

_HIGH_YIELD = 0.5  # looks that an answer is expected to show done
_URGENT = 1.4  # in thresholds: a request of that value may take more than its share of the permits
# A status request delays all waiting submissions: from this many on (ten minutes of quota) the threshold
# grows, up to this factor.
_LONG_BACKLOG = 1_000
_MAX_BACKLOG_FACTOR = 2.0
_BUSY_SHARE = 0.5  # of the permits for status requests, while submissions wait and none is urgent
_IDLE_SHARE = 0.5  # of the permits for requests with a low expected yield
_BURST = 2  # such requests in a row
_UPDATES_PER_DECISION = 32  # queue items
_NEXT_DECISION_AFTER = 5e-3  # seconds, where more items are due to be updated
_RESOLUTION = 1e-3  # seconds
_DETAIL_PATIENCE = 900.0  # seconds that a missing picture or reason waits while submissions do
_DETAIL_TRIES, _DETAIL_PAUSE = 2, 2.0  # requests; seconds between them
_MAY_BE_UNLISTED = 15.0  # seconds: an avatar's answer may lack a look that is younger
_FEW_LOOKS = 8
_KNOWN_LATE_BY = 10.0  # seconds: polled looks are known to be done about that late on average


class Choice(NamedTuple):
    """What to ask about, and from when on: a queue item, or a settled look of which a detail is missing."""

    at: float
    target: QueueItem | TrackedLook | None = None


class PollScheduler:
    """The looks that are polled. Decides which status request to send next, and when.

    All times are the loop's, in seconds, and come in as arguments. ``limit`` is the quota in requests a
    minute: with nothing to submit, requests of low expected yield take half of it at most. ``threshold`` is
    the value that a request must have, in look-seconds, while submissions wait for permits; while none do it
    is `IDLE_THRESHOLD`. Both are for a quota of 100; with a larger one they are lower.

    A decision takes O(log n) steps: it updates 32 items of the queue at most, however many are due.
    """

    def __init__(self, *, limit: int = 100, threshold: float = THRESHOLD) -> None:
        limit = max(limit, 1)
        self.durations: DurationModels = DurationModels()
        self.backlog = 0
        """How many submissions wait whose looks one request will report together with others."""
        self._threshold = threshold * _USUAL_LIMIT / limit
        self._shortest_interval = self._interval = 60.0 / limit  # seconds between two requests
        self._looks: dict[LookRef, TrackedLook] = {}
        self._groups: dict[str, AvatarGroup] = {}
        self._queue = BucketQueue(
            self._threshold, min(IDLE_THRESHOLD * _USUAL_LIMIT / limit, self._threshold), self._interval
        )
        self._outdated: deque[str] = deque()  # avatars to be updated by what has been learned since
        self._details: IndexedHeap[MissingDetails] = IndexedHeap("at", "heap_index")
        self._detail_failures: dict[LookRef, int] = {}
        self._given_up: list[LookUpdate] = []
        self._resting: IndexedHeap[TrackedLook] = IndexedHeap("rests_until", "heap_index")
        self._losses = DeliveryLosses()
        self._failures = FailureStreaks()
        self._next_limited_at = -math.inf  # when a request of a limited share may take a permit

    def __len__(self) -> int:
        return len(self._looks)

    def __contains__(self, ref: object) -> bool:
        return ref in self._looks

    @property
    def refs(self) -> list[LookRef]:
        """The looks that are polled."""
        return list(self._looks)

    def tracks_avatar(self, avatar_id: str) -> bool:
        """Whether a look of this avatar is polled."""
        return avatar_id in self._groups

    def refs_polled_together(self, avatar_id: str) -> tuple[LookRef, ...]:
        """The looks of this avatar that a GROUP request asks for."""
        group = self._groups.get(avatar_id)
        return () if group is None else tuple(look.ref for look in group.looks)

    def expected(self, kind: Hashable) -> float:
        """The median of how long looks of the kind take, in seconds, as far as is known."""
        return self.durations.expected(kind)

    # --- which looks are polled

    def add(
        self,
        ref: LookRef,
        kind: Hashable,
        accepted_at: float,
        now: float,
        *,
        expects_webhook: bool = False,
        not_before: float = -math.inf,
    ) -> None:
        """Poll a look until it is complete. ``accepted_at`` may be days back.

        ``kind``: looks of one kind are expected to take equally long. ``expects_webhook``: a delivery will
        probably report its end, so polling is worth less until that is late. It is not asked for
        ``not_before`` that time, since another process polls it. For a look that is polled already only the
        last two change, and one that the API has refused is asked for again.
        """
        look = self._looks.get(ref)
        if look is None:
            durations = self.durations.of(kind)
            look = TrackedLook(ref, durations, min(accepted_at, now), expects_webhook=expects_webhook)
            self._looks[ref] = look
            group = self._groups.get(ref.avatar_id)
            if group is None:
                group = self._groups[ref.avatar_id] = AvatarGroup(ref.avatar_id, self._losses)
            if not_before > now:
                self._rest(group, look, not_before)
            else:
                self._add_to_group(group, look, now)
            return
        if look.state is TrackingState.RESTING:
            self._failures.forget_look(ref)
            self._resting.set(look, not_before)
        if look.expects_webhook is not expects_webhook:
            look.expects_webhook = expects_webhook
            group = self._groups[ref.avatar_id]
            group.age_bins = None
            if group.outstanding is None:
                self._requeue(group, now)

    def learn(self, kind: Hashable, seconds: float) -> None:
        """Learn from a look of another process, known to be done ``seconds`` after it was accepted.

        It may have been done a while before that.
        """
        self.durations.observe(self.durations.of(kind), max(0.0, seconds - _KNOWN_LATE_BY), seconds)

    def drop(self, ref: LookRef) -> None:
        """Stop polling a look. Does nothing if it is not polled."""
        look = self._looks.get(ref)
        if look is not None:
            self._remove(look)

    # --- answers, deliveries, failures

    def update(self, look: Look, now: float, *, delivered: bool = False) -> LookUpdate | None:
        """Process what a delivery (``delivered``) or a caller's own request reports about a look.

        Returns the change; None if there is none, or if the look is not polled.
        """
        tracked = self._looks.get(look.ref)
        if tracked is None:
            return None
        self._note_reported(tracked)
        group = self._groups[look.ref.avatar_id]
        if delivered and look.status.settled:
            self._count_delivery(tracked)
        # a delivery comes as soon as the look is done
        unfinished_at = now if delivered else group.last_checked(tracked)
        update = self._merge(group, tracked, look, unfinished_at, now)
        if group.outstanding is None:
            self._requeue(group, now)  # without this look, polling the avatar is worth less
        return update

    def settled_elsewhere(self, ref: LookRef, seconds: float | None) -> None:
        """Stop polling a look that another process knows to be settled, ``seconds`` after its acceptance.

        None where that process has not watched its making. If a delivery was expected, that process got it:
        else it would not know before this one.
        """
        tracked = self._looks.get(ref)
        if tracked is None:
            return
        if tracked.settled_look is None and seconds is not None:
            late_by = _KNOWN_LATE_BY
            if tracked.expects_webhook:
                self._losses.delivered()
                late_by = 0.0  # a delivery comes as soon as the look is done
            self.durations.observe(tracked.durations, max(0.0, seconds - late_by), seconds)
            self._mark_outdated_if_shifted(tracked.durations)
        self._remove(tracked)

    def delivered_late(self, ref: LookRef) -> None:
        """A look that polling had found settled was delivered after all: its delivery was not lost."""
        self._losses.delivered_late(ref)

    def delivery_came(self) -> None:
        """A delivery came, be it that it can't be processed yet."""
        self._losses.came()

    def undelivered(self, now: float, since: float) -> int:
        """How many looks, accepted after ``since``, polling has found whose deliveries seem to be lost.

        Only those since the last delivery of any look are counted.
        """
        return self._losses.undelivered(now, since)

    def answered_avatar(self, request: PollRequest, avatar: Avatar, now: float) -> list[LookUpdate]:
        """Process the answer to a GROUP request. Returns the changes of the looks that are polled."""
        updates = self.take_given_up()
        read_at = self._read_at(request, now)
        group = self._end_request(request)
        self._failures.avatar_answered(request.avatar_id)
        if group is None:
            return updates
        group.failures_in_a_row = 0
        expected, listed = len(group.looks), 0
        for details in avatar.looks:
            tracked = self._looks.get(details.ref)
            look = look_from_details(details) if tracked is not None else None
            if tracked is None or look is None:
                continue
            listed += tracked.state is TrackingState.GROUPED
            self._note_reported(tracked)
            update = self._merge_polled(group, tracked, look, read_at)
            if update is not None:
                updates.append(update)
        if listed < expected:
            self._poll_unlisted_alone(group, avatar, read_at)
        elif not group.polled_alone:
            group.times_alone = 0
        group.last_checked_at = max(group.last_checked_at, read_at)
        group.age_bins = None
        self._requeue(group, now)
        return updates

    def answered_look(self, request: PollRequest, look: Look, now: float) -> list[LookUpdate]:
        """Process the answer to a STATUS request. Returns the changes."""
        updates = self.take_given_up()
        read_at = self._read_at(request, now)
        group = self._end_request(request)
        self._failures.avatar_answered(request.avatar_id)
        tracked = self._look_of(request)
        if group is None:
            return updates
        group.failures_in_a_row = 0
        if tracked is not None and tracked.ref == look.ref:
            self._note_reported(tracked)
            update = self._merge_status(group, tracked, look, read_at, now)
            if update is not None:
                updates.append(update)
            if tracked.ref in self._looks:
                _note_check(group, tracked, read_at)
        self._requeue(group, now)
        return [*updates, *self.take_given_up()]

    def failed(self, request: PollRequest, error: HooxError, now: float) -> list[tuple[LookRef, HooxError]]:
        """Process the failure of a request. Returns the looks for which waiting ends with this error.

        Those are looks that the API keeps refusing (3 times over 30 s): they are asked for again at growing
        intervals, a day at most, and at once when somebody waits for them anew (`add`). And all of an
        avatar, or all there are, when access or the API key is refused (5 times over 60 s): they are polled
        no more. After any other failure the request is sent again later. Settled looks whose details are
        given up are returned by `take_given_up`.
        """
        group = self._end_request(request)
        if isinstance(error, AuthenticationError):
            ended = self._asked_for() if self._failures.key_refused(now) else []
        elif group is None:
            return []
        else:
            ended = self._group_failed(group, request, error, now)
        tracked = self._look_of(request)
        if tracked is not None and tracked.state is TrackingState.SETTLED and tracked not in ended:
            self._retry_detail(tracked, now)
        if group is not None:
            self._requeue(group, now)
        return self._end_polling(ended, error)

    def take_given_up(self) -> list[LookUpdate]:
        """Settled looks whose picture or reason could not be obtained; each is returned once.

        Those that are not taken here are returned with the next answer.
        """
        given_up, self._given_up = self._given_up, []
        return given_up

    # --- the decision

    def due(self, now: float, busy: bool, interval: float | None = None) -> float:
        """When a status request is worth a permit: ``now`` or earlier, later, or infinity for not at all.

        ``busy``: paid submissions wait for permits. ``interval``: seconds between two requests, where
        others leave us less than the whole quota: then a request must be worth more. Ask again at that
        time before a permit is taken, and after each call that changes something.
        """
        self._interval = max(interval or 0.0, self._shortest_interval)
        return self._decide(now, busy).at

    def take(self, now: float, busy: bool) -> PollRequest | None:
        """The request to send now, if one is worth it, with the interval that `due` was given last.

        No other request is made for its avatar until `answered_avatar`, `answered_look` or `failed` is
        called with it.
        """
        at, target = self._choose(now, busy)  # `due` has updated what it had to
        if at > now:
            at, target = self._decide(now, busy)
        if at > now or target is None:
            return None
        if isinstance(target, TrackedLook):
            group = self._groups[target.ref.avatar_id]
            request = PollRequest(PollKind.STATUS, group.avatar_id, target.ref.look_id, now)
        else:
            if busy or not self._has_high_yield(target, now):
                self._use_limited_share(now, busy)
            group, request = self._request_for(target, now)
        group.outstanding = request
        self._take_off_queue(group)
        return request

    def _decide(self, now: float, busy: bool) -> Choice:
        """What to ask about, once a few of the items that are due have been updated.

        The others are updated in later steps: a process that resumes 100,000 looks must not block its loop.
        """
        self._requeue_outdated(now)
        self._wake_resting(now)
        self._queue.move_up(now, _UPDATES_PER_DECISION)
        choice = self._choose(now, busy)
        if choice.at <= now:
            return choice
        next_update = now if self._outdated else min(self._queue.next_move(), self._resting.next_at)
        return Choice(min(choice.at, max(next_update, now + _NEXT_DECISION_AFTER)))

    def _choose(self, now: float, busy: bool) -> Choice:
        if self._failures.paused_until > now:
            return Choice(self._failures.paused_until if self._looks else math.inf)
        best, is_worth_it = self._queue.best(), False
        if best is not None:
            value = request_value(best.terms(now), now)[0] / self._threshold_now(busy)
            is_worth_it = value >= 0.999  # when an item reaches its bucket is known about so precisely
            has_share = not busy or self._next_limited_at <= now + _RESOLUTION
            if value >= _URGENT or (is_worth_it and has_share):
                return Choice(now, best)
        missing_since, detail = self._next_detail()
        if busy:
            detail_at = missing_since + _DETAIL_PATIENCE
            if detail is not None and detail_at <= now:
                return Choice(now, detail)
            return Choice(min(self._next_limited_at, detail_at) if is_worth_it else detail_at)
        if best is not None and (self._next_limited_at <= now or self._has_high_yield(best, now)):
            return Choice(now, best)
        if detail is not None and missing_since <= now:
            return Choice(now, detail)
        return Choice(missing_since if best is None else min(missing_since, self._next_limited_at))

    def _threshold_now(self, busy: bool) -> float:
        """The threshold now: higher if other clients leave us fewer permits, or if many submissions wait."""
        threshold = self._threshold * self._interval / self._shortest_interval
        if not busy:
            return threshold
        return threshold * min(max(self.backlog / _LONG_BACKLOG, 1.0), _MAX_BACKLOG_FACTOR)

    def _next_detail(self) -> tuple[float, TrackedLook | None]:
        """A pair: when the next missing detail is due, and the settled look that lacks it."""
        first = self._details.first
        return (math.inf, None) if first is None else (first.at, first.next()[1])

    def _has_high_yield(self, item: QueueItem, now: float) -> bool:
        return request_value(item.terms(now), now)[1] >= _HIGH_YIELD

    def _use_limited_share(self, now: float, busy: bool) -> None:
        """Count a request that belongs to a limited share of the quota."""
        gap = self._interval / (_BUSY_SHARE if busy else _IDLE_SHARE)
        self._next_limited_at = max(self._next_limited_at, now - _BURST * gap) + gap

    def _request_for(self, item: QueueItem, now: float) -> tuple[AvatarGroup, PollRequest]:
        if isinstance(item, LooksPolledAlone):
            group, look = item.group, item.next()
            is_alone = group.alone_until > now or len(item) + len(group.looks) < 2
            if look is not None and is_alone:
                return group, PollRequest(PollKind.STATUS, group.avatar_id, look.ref.look_id, now)
        else:
            assert isinstance(item, AvatarGroup)
            group = item
        if group.polled_alone is not None and group.alone_until <= now:
            self._queue.remove(group.polled_alone)
            group.poll_together()
        return group, group.request(now)

    # --- merging answers

    def _merge_polled(
        self, group: AvatarGroup, tracked: TrackedLook, look: Look, read_at: float
    ) -> LookUpdate | None:
        """Merge what a status request reports about a look."""
        is_new = tracked.state is not TrackingState.SETTLED
        if tracked.expects_webhook and look.status.settled and is_new:
            self._losses.found_by_polling(tracked.ref, tracked.accepted_at, read_at)
        return self._merge(group, tracked, look, group.last_checked(tracked), read_at)

    def _merge_status(
        self, group: AvatarGroup, tracked: TrackedLook, look: Look, read_at: float, now: float
    ) -> LookUpdate | None:
        """Merge a STATUS answer. For a settled look it is the one request for its missing detail."""
        was_settled = tracked.state is TrackingState.SETTLED
        update = self._merge_polled(group, tracked, look, read_at)
        if was_settled and tracked.ref in self._looks:
            if look.status.settled:
                return self._complete_without_detail(tracked)
            self._retry_detail(tracked, now)  # the answer is older than the one that showed it settled
        return update

    def _merge(
        self, group: AvatarGroup, tracked: TrackedLook, look: Look, unfinished_at: float, at: float
    ) -> LookUpdate | None:
        """Merge an observation of a look at ``at``; ``unfinished_at`` is when it was last seen unfinished."""
        if tracked.settled_look is not None:
            return self._merge_detail(tracked, tracked.settled_look, look)
        if not look.status.settled:
            changed, tracked.status = look.status is not tracked.status, look.status
            return LookUpdate(look, False) if changed else None
        accepted_at = tracked.accepted_at
        self.durations.observe(tracked.durations, unfinished_at - accepted_at, at - accepted_at)
        self._mark_outdated_if_shifted(tracked.durations)
        complete = is_complete(look)
        if complete:
            self._remove(tracked)
        else:
            self._take_out_of_group(group, tracked)
            tracked.settled_look, tracked.state = look, TrackingState.SETTLED
            self._add_detail(group, tracked, at)
        return LookUpdate(look, complete)

    def _merge_detail(self, tracked: TrackedLook, known: Look, look: Look) -> LookUpdate | None:
        merged = known.merged_with(look)
        if merged is known:
            return None
        tracked.settled_look = merged
        complete = is_complete(merged)
        if complete:
            self._remove(tracked)
        return LookUpdate(merged, complete)

    def _count_delivery(self, tracked: TrackedLook) -> None:
        if tracked.state is TrackingState.SETTLED:
            self._losses.delivered_late(tracked.ref)
        elif tracked.expects_webhook:
            self._losses.delivered()

    def _mark_outdated_if_shifted(self, durations: Durations) -> None:
        """Have all avatars updated where the durations or the share of lost deliveries have shifted."""
        durations_shifted = durations.has_shifted()
        if self._losses.has_shifted() or durations_shifted:
            self._outdated = deque(self._groups)

    def _poll_unlisted_alone(self, group: AvatarGroup, avatar: Avatar, at: float) -> None:
        listed = {details.ref.look_id for details in avatar.looks if details.status is not None}
        unlisted = [
            look
            for look in group.looks
            if look.ref.look_id not in listed and at - look.accepted_at >= _MAY_BE_UNLISTED
        ]
        if unlisted:
            group.poll_alone(unlisted)
            poll_alone_for_a_while(group, at)

    # --- failures

    def _group_failed(
        self, group: AvatarGroup, request: PollRequest, error: HooxError, now: float
    ) -> list[TrackedLook]:
        """The looks for which waiting ends because of this failure."""
        if breaks_group(group, request, error):
            group.poll_alone(list(group.looks)).all_of_them = True
            poll_alone_for_a_while(group, now)
            return []
        if request.kind is PollKind.STATUS and isinstance(error, PermissionDenied):
            has_lasted = self._failures.avatar_refused(group, now)
            looks = (look for look in self._asked_for() if look.ref.avatar_id == group.avatar_id)
            return list(looks) if has_lasted else []
        tracked = self._look_of(request)
        if tracked is not None and refuses_look(error):
            rests_until = self._failures.look_refused(group, tracked.ref, now)
            if rests_until is None:
                return []
            if tracked.state is not TrackingState.SETTLED:
                self._take_out_of_group(group, tracked)
                self._rest(group, tracked, rests_until)
            return [tracked]
        back_off(group, error, now)
        return []

    def _end_polling(self, ended: list[TrackedLook], error: HooxError) -> list[tuple[LookRef, HooxError]]:
        errors: list[tuple[LookRef, HooxError]] = []
        for tracked in ended:
            if tracked.state is TrackingState.SETTLED:
                self._given_up.append(self._complete_without_detail(tracked))
                continue
            if tracked.state is not TrackingState.RESTING:
                self._remove(tracked)
            errors.append((tracked.ref, error))
        return errors

    # --- looks that rest

    def _asked_for(self) -> list[TrackedLook]:
        """The looks that do not rest."""
        return [look for look in self._looks.values() if look.state is not TrackingState.RESTING]

    def _rest(self, group: AvatarGroup, tracked: TrackedLook, until: float) -> None:
        """Do not ask for this look, which is in no group, before that time."""
        tracked.state = TrackingState.RESTING
        group.resting += 1
        self._resting.set(tracked, until)

    def _wake_resting(self, now: float) -> None:
        for _ in range(_UPDATES_PER_DECISION):
            tracked = self._resting.first
            if tracked is None or tracked.rests_until > now:
                return
            group = self._groups[tracked.ref.avatar_id]
            self._take_out_of_group(group, tracked)
            self._add_to_group(group, tracked, now)

    def _note_reported(self, tracked: TrackedLook) -> None:
        """An answer has reported the look: it is not refused (any more)."""
        if self._failures.forget_look(tracked.ref) and tracked.state is TrackingState.RESTING:
            self._resting.set(tracked, -math.inf)

    # --- missing details of settled looks

    def _add_detail(self, group: AvatarGroup, tracked: TrackedLook, now: float) -> None:
        """Request the picture or reason that the settled look lacks, after the looks that wait already."""
        if group.missing_details is None:
            group.missing_details = MissingDetails(group)
        group.missing_details.since.pop(tracked, None)
        group.missing_details.since[tracked] = now
        self._schedule_details(group)

    def _remove_detail(self, group: AvatarGroup, tracked: TrackedLook) -> None:
        if group.missing_details is None or group.missing_details.since.pop(tracked, None) is None:
            return
        if group.missing_details.since:
            self._schedule_details(group)
        else:
            self._details.remove(group.missing_details)
            group.missing_details = None

    def _schedule_details(self, group: AvatarGroup) -> None:
        if group.missing_details is not None:
            at = math.inf
            if group.outstanding is None:
                at = max(group.missing_details.next()[0], group.backoff_until)
            self._details.set(group.missing_details, at)

    def _retry_detail(self, tracked: TrackedLook, now: float) -> None:
        tries = self._detail_failures.get(tracked.ref, 0) + 1
        self._detail_failures[tracked.ref] = tries
        if tries >= _DETAIL_TRIES:
            self._given_up.append(self._complete_without_detail(tracked))
        else:
            self._add_detail(self._groups[tracked.ref.avatar_id], tracked, now + _DETAIL_PAUSE)

    def _complete_without_detail(self, tracked: TrackedLook) -> LookUpdate:
        self._remove(tracked)
        assert tracked.settled_look is not None
        return LookUpdate(tracked.settled_look, True)

    # --- groups and their place in the queue

    def _add_to_group(self, group: AvatarGroup, tracked: TrackedLook, now: float) -> None:
        if group.all_alone:
            group.poll_alone([]).add(tracked, -math.inf)
        else:
            group.add(tracked)
            # an answer that came before the look was added does not include it
            group.last_checked_at = min(group.last_checked_at, tracked.accepted_at)
        looks = len(group.looks)
        # only after the group has grown by up to an eighth: so adding a look stays cheap
        if group.all_alone or looks % (1 << max(looks.bit_length() - 4, 0)) == 0:
            self._requeue(group, now)

    def _take_out_of_group(self, group: AvatarGroup, tracked: TrackedLook) -> None:
        if tracked.state is TrackingState.GROUPED:
            group.remove(tracked)
        elif tracked.state is TrackingState.SETTLED:
            self._remove_detail(group, tracked)
        elif tracked.state is TrackingState.RESTING:
            group.resting -= 1
            self._resting.remove(tracked)
        elif group.polled_alone is not None:
            group.polled_alone.remove(tracked)
            if not group.polled_alone:
                self._queue.remove(group.polled_alone)
        if not group.looks:
            self._queue.remove(group)

    def _remove(self, tracked: TrackedLook) -> None:
        group = self._groups[tracked.ref.avatar_id]
        self._take_out_of_group(group, tracked)
        del self._looks[tracked.ref]
        self._failures.forget_look(tracked.ref)
        self._detail_failures.pop(tracked.ref, None)
        self._remove_if_unused(group)

    def _remove_if_unused(self, group: AvatarGroup) -> None:
        if group.is_unused and self._groups.get(group.avatar_id) is group:
            del self._groups[group.avatar_id]
            self._failures.forget_avatar(group.avatar_id)
            self._take_off_queue(group)

    def _requeue(self, group: AvatarGroup, now: float) -> None:
        """Update the position of the group in the queue."""
        self._queue.update(group, now)
        if group.polled_alone is not None:
            self._queue.update(group.polled_alone, now)
        self._schedule_details(group)
        self._remove_if_unused(group)

    def _requeue_outdated(self, now: float) -> None:
        for _ in range(min(_UPDATES_PER_DECISION, len(self._outdated))):
            group = self._groups.get(self._outdated.popleft())
            if group is not None and group.outstanding is None:
                self._requeue(group, now)

    def _take_off_queue(self, group: AvatarGroup) -> None:
        self._queue.remove(group)
        if group.polled_alone is not None:
            self._queue.remove(group.polled_alone)
        self._schedule_details(group)

    def _end_request(self, request: PollRequest) -> AvatarGroup | None:
        """The request is no longer outstanding. Returns its avatar's group, if that is still polled."""
        group = self._groups.get(request.avatar_id)
        if group is not None and group.outstanding is request:
            group.outstanding = None
        return group

    def _read_at(self, request: PollRequest, now: float) -> float:
        """When the API read the looks, estimated: half way between request and answer."""
        group = self._groups.get(request.avatar_id)
        is_outstanding = group is not None and group.outstanding is request
        return 0.5 * (request.at + now) if is_outstanding else now

    def _look_of(self, request: PollRequest) -> TrackedLook | None:
        if request.look_id is None:
            return None
        return self._looks.get(LookRef(request.avatar_id, request.look_id))


def _note_check(group: AvatarGroup, tracked: TrackedLook, at: float) -> None:
    """An answer reported this look alone, and it is not settled."""
    if tracked.state is TrackingState.ALONE and group.polled_alone is not None:
        group.polled_alone.add(tracked, at)
    elif (
        tracked.state is TrackingState.GROUPED and tracked.group_index >= 0 and len(group.looks) <= _FEW_LOOKS
    ):
        others = (other.accepted_at for other in group.looks if other is not tracked)
        group.last_checked_at = max(group.last_checked_at, min(at, min(others, default=at)))
