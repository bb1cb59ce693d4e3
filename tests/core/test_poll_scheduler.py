"""The scheduler: which status request it decides on, and when."""

from __future__ import annotations

import itertools
import math

import pytest
from polling_kit import KIND, avatar, look, next_request, ref, scheduler_of

from hoox_async import LookRef, LookStatus
from hoox_async._core.polling import LookUpdate, PollKind, PollScheduler


def test_a_single_look_of_an_avatar_is_polled_by_its_status() -> None:
    """Where one look of an avatar is polled, the request is GET /avatar/status, within 5 s when idle."""
    scheduler = scheduler_of(ref())
    request, at = next_request(scheduler, 0.0)
    assert request[:3] == (PollKind.STATUS, "a", "l1")
    assert 0.0 < at < 5.0


def test_two_looks_of_an_avatar_are_polled_by_one_request() -> None:
    """Where two looks of an avatar are polled, one GET /avatar/{id} settles both."""
    scheduler = scheduler_of(ref("l1"), ref("l2"))
    request, at = next_request(scheduler, 0.0)
    assert request[:3] == (PollKind.GROUP, "a", None)
    one, two = look(ref("l1")), look(ref("l2"))
    assert scheduler.answered_avatar(request, avatar(one, two), at) == [
        LookUpdate(one, True),
        LookUpdate(two, True),
    ]
    assert len(scheduler) == 0
    assert scheduler.due(at, busy=False) == math.inf


def test_a_scheduler_without_looks_makes_no_request() -> None:
    """While no look is polled, no request is ever due."""
    scheduler = PollScheduler()
    assert scheduler.due(5.0, busy=True) == math.inf
    assert scheduler.take(5.0, busy=False) is None


def test_an_avatar_has_one_outstanding_request_at_a_time() -> None:
    """No second request is made for an avatar before the first is answered."""
    scheduler = scheduler_of(ref("l1"), ref("l2"))
    _, at = next_request(scheduler, 0.0)
    assert scheduler.take(at + 600.0, busy=False) is None
    assert scheduler.due(at + 600.0, busy=False) == math.inf


def test_a_request_must_be_worth_more_while_very_many_submissions_wait() -> None:
    """A backlog of up to 1,000 changes nothing; a longer one raises the threshold, up to one of 2,000.

    A request delays each waiting submission by one permit.
    """

    def asked_at(backlog: int, *, busy: bool = True) -> float:
        scheduler = scheduler_of(*(ref(f"l{n}") for n in range(10)))
        scheduler.backlog = backlog
        now = 0.0
        while scheduler.due(now, busy) > now:
            now += 0.6
        return now

    assert asked_at(0) == asked_at(1_000) < asked_at(1_500) < asked_at(2_000) == asked_at(20_000)
    assert asked_at(20_000, busy=False) == asked_at(0, busy=False)


def test_a_request_must_reach_the_threshold_while_submissions_wait() -> None:
    """A single look is polled after 80 s at the earliest while submissions wait, within 10 s when idle."""
    scheduler, idle = scheduler_of(ref()), scheduler_of(ref())
    _, at = next_request(scheduler, 0.0, busy=True)
    assert 80.0 < at < 200.0
    assert next_request(idle, 0.0)[1] < 10.0


def test_a_request_must_be_worth_more_where_others_use_the_quota() -> None:
    """With twice the interval between permits, a request is made later than with the whole quota."""
    refs = [ref(str(i)) for i in range(30)]
    scheduler, half_quota = scheduler_of(*refs), scheduler_of(*refs)
    now = 20.0
    while scheduler.due(now, busy=True) > now:
        now += 0.1
    assert half_quota.due(now, busy=True, interval=1.2) > now
    later = now
    while half_quota.due(later, busy=True, interval=1.2) > later:
        later += 0.1
    assert now + 1.0 < later < now + 30.0
    assert half_quota.take(later, busy=True) is not None


def test_a_larger_group_is_polled_sooner() -> None:
    """The more looks one answer reports, the sooner its request reaches the threshold."""
    small = scheduler_of(*(ref(str(i)) for i in range(3)))
    large = scheduler_of(*(ref(str(i)) for i in range(60)))
    assert next_request(large, 0.0, busy=True)[1] < next_request(small, 0.0, busy=True)[1] - 10.0


def test_the_avatar_with_the_largest_value_is_polled_first() -> None:
    """With an idle quota, an avatar with 30 looks comes before one with a single look."""
    scheduler = scheduler_of(ref("x", "small"))
    for i in range(30):
        scheduler.add(ref(str(i), "large"), KIND, 0.0, 0.0)
    scheduler.due(40.0, busy=False)
    request = scheduler.take(40.0, busy=False)
    assert request is not None
    assert request.avatar_id == "large"


def test_looks_of_days_ago_are_polled_at_once_after_a_restart() -> None:
    """Looks accepted long ago are due now, also while submissions wait, and in one request."""
    scheduler = scheduler_of(ref("l1"), ref("l2"), at=-200_000.0, now=10.0)
    assert scheduler.due(10.0, busy=True) <= 10.0
    request = scheduler.take(10.0, busy=True)
    assert request is not None
    assert request[:3] == (PollKind.GROUP, "a", None)


def test_an_old_look_that_joins_a_group_just_polled_is_polled_at_once() -> None:
    """An answer that came before a look was added does not count as a check of that look."""
    scheduler = scheduler_of(ref("l1"))
    request, at = next_request(scheduler, 0.0)
    scheduler.answered_look(request, look(ref("l1"), LookStatus.PENDING), at)
    scheduler.add(ref("old"), KIND, at - 5000.0, at)
    assert next_request(scheduler, at)[1] <= at + 1.0


def test_a_late_look_is_polled_at_growing_intervals() -> None:
    """A look that stays pending is polled every few seconds at first, and every hour or so after days."""
    scheduler = scheduler_of(ref())
    now, times = 0.0, []
    while now < 200_000.0:
        request, now = next_request(scheduler, now)
        times.append(now)
        scheduler.answered_look(request, look(ref(), LookStatus.PENDING), now)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps[:10]) < 10.0
    assert 60.0 < gaps[-1] < 7200.0
    assert len(times) < 1500


@pytest.mark.parametrize(("interval", "permits"), [(None, 20), (0.6, 20), (1.2, 10)])
def test_requests_that_promise_little_take_half_of_the_quota(interval: float | None, permits: int) -> None:
    """While the quota is idle, requests for young looks take no more than half of the permits left to us."""
    scheduler = PollScheduler(limit=100)
    for i in range(200):
        scheduler.add(ref("l", f"a{i}"), KIND, 0.0, 0.0)
    sent, now = 0, 3.0
    while now < 15.0:  # young looks: none is likely done
        scheduler.due(now, busy=False, interval=interval)
        request = scheduler.take(now, busy=False)
        if request is not None:
            sent += 1
            scheduler.answered_look(request, look(LookRef(request.avatar_id, "l"), LookStatus.PENDING), now)
        now += 0.1
    assert 0.4 * permits <= sent <= 0.5 * permits + 3


def test_requests_that_promise_much_take_every_permit() -> None:
    """While the quota is idle, requests for looks that are surely done take all permits."""
    scheduler = PollScheduler(limit=100)
    for i in range(200):
        scheduler.add(ref("l", f"a{i}"), KIND, 0.0, 0.0)
    sent, now = 0, 200.0
    while now < 260.0:
        sent += scheduler.due(now, busy=False) <= now and scheduler.take(now, busy=False) is not None
        now += 0.6
    assert sent >= 99


def poll_single_look(duration: float) -> tuple[float, int]:
    """The lag and the number of requests for a look that takes so long. An answer takes 0.3 s."""
    scheduler, now, requests = scheduler_of(ref()), 0.0, 0
    while ref() in scheduler:
        request, now = next_request(scheduler, now)
        requests += 1
        status = LookStatus.READY if now + 0.15 >= duration else LookStatus.PENDING
        now += 0.3
        scheduler.answered_look(request, look(ref(), status), now)
    return now - duration, requests


def test_a_single_look_is_known_soon_before_any_duration_was_learned() -> None:
    """For looks of 0.5 s to 30 s the mean lag is at most 2.5 s, with at most 10 requests a look."""
    runs = [poll_single_look(0.5 * step) for step in range(1, 61)]
    assert sum(lag for lag, _ in runs) / len(runs) <= 2.5
    assert sum(requests for _, requests in runs) / len(runs) <= 10.0
