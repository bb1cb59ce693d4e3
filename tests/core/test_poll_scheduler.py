"""The scheduler: what it asks for, and when."""

from __future__ import annotations

import itertools
import math

import pytest
from polling_kit import KIND, avatar, look, next_ask, ref, watching

from hoox_async._api.models import LookRef, LookStatus
from hoox_async._core.polling import LookUpdate, PollKind, PollScheduler


def test_one_look_is_asked_for_by_itself() -> None:
    """Exactly one look of an avatar: GET /avatar/status."""
    watch = watching(ref())
    ask, at = next_ask(watch, 0.0)
    assert ask[:3] == (PollKind.STATUS, "a", "l1")
    assert 0.0 < at < 5.0


def test_two_looks_are_asked_for_together() -> None:
    """Two looks of an avatar: GET /avatar/{id}, and both are settled by one answer."""
    watch = watching(ref("l1"), ref("l2"))
    ask, at = next_ask(watch, 0.0)
    assert ask[:3] == (PollKind.GROUP, "a", None)
    one, two = look(ref("l1")), look(ref("l2"))
    assert watch.answered_avatar(ask, avatar(one, two), at) == [LookUpdate(one, True), LookUpdate(two, True)]
    assert len(watch) == 0
    assert watch.due(at, busy=False) == math.inf


def test_nothing_to_ask() -> None:
    """An empty scheduler asks for nothing and is never due."""
    watch = PollScheduler()
    assert watch.due(5.0, busy=True) == math.inf
    assert watch.take(5.0, busy=False) is None


def test_an_avatar_in_the_air_is_left_alone() -> None:
    """No second request goes out for an avatar before the first is answered."""
    watch = watching(ref("l1"), ref("l2"))
    _, at = next_ask(watch, 0.0)
    assert watch.take(at + 600.0, busy=False) is None
    assert watch.due(at + 600.0, busy=False) == math.inf


def test_a_request_must_be_worth_more_while_very_many_submissions_wait() -> None:
    """It delays each of them by a permit; 1,000 change nothing, and more than 2,000 no more than those."""

    def asked_at(backlog: int, *, busy: bool = True) -> float:
        watch = watching(*(ref(f"l{n}") for n in range(10)))
        watch.backlog = backlog
        now = 0.0
        while watch.due(now, busy) > now:
            now += 0.6
        return now

    assert asked_at(0) == asked_at(1_000) < asked_at(1_500) < asked_at(2_000) == asked_at(20_000)
    assert asked_at(20_000, busy=False) == asked_at(0, busy=False)


def test_busy_waits_for_the_price() -> None:
    """While submissions wait, a look is asked for only when the answer is worth the price."""
    watch, idle = watching(ref()), watching(ref())
    _, at = next_ask(watch, 0.0, busy=True)
    assert 80.0 < at < 200.0
    assert next_ask(idle, 0.0)[1] < 10.0


def test_permits_that_others_take_make_the_rest_dearer() -> None:
    """Where half of the quota is left, a request must be worth twice as much, and fewer go."""
    refs = [ref(str(i)) for i in range(30)]
    watch, dear = watching(*refs), watching(*refs)
    now = 20.0
    while watch.due(now, busy=True) > now:
        now += 0.1
    assert dear.due(now, busy=True, pace=1.2) > now
    later = now
    while dear.due(later, busy=True, pace=1.2) > later:
        later += 0.1
    assert now + 1.0 < later < now + 30.0
    assert dear.take(later, busy=True) is not None


def test_a_large_group_reaches_the_price_sooner() -> None:
    """More looks make an answer worth more."""
    small = watching(*(ref(str(i)) for i in range(3)))
    large = watching(*(ref(str(i)) for i in range(60)))
    assert next_ask(large, 0.0, busy=True)[1] < next_ask(small, 0.0, busy=True)[1] - 10.0


def test_the_avatar_with_most_to_tell_is_asked_first() -> None:
    """Idle: of several, the one whose answer ends most look-seconds."""
    watch = watching(ref("x", "small"))
    for i in range(30):
        watch.add(ref(str(i), "large"), KIND, 0.0, 0.0)
    watch.due(40.0, busy=False)
    ask = watch.take(40.0, busy=False)
    assert ask is not None
    assert ask.avatar_id == "large"


def test_a_look_of_days_ago_is_asked_for_at_once() -> None:
    """After a restart: looks accepted long ago are due now, busy or not, and in groups."""
    watch = watching(ref("l1"), ref("l2"), at=-200_000.0, now=10.0)
    assert watch.due(10.0, busy=True) <= 10.0
    ask = watch.take(10.0, busy=True)
    assert ask is not None
    assert ask[:3] == (PollKind.GROUP, "a", None)


def test_an_old_look_added_to_a_group_just_asked_is_asked_for_at_once() -> None:
    """An answer from before a look was watched told nothing of it."""
    watch = watching(ref("l1"))
    ask, at = next_ask(watch, 0.0)
    watch.answered_look(ask, look(ref("l1"), LookStatus.PENDING), at)
    watch.add(ref("old"), KIND, at - 5000.0, at)
    assert next_ask(watch, at)[1] <= at + 1.0


def test_late_looks_are_asked_for_at_growing_intervals() -> None:
    """A look that is hours late is still asked for, ever more rarely."""
    watch = watching(ref())
    now, times = 0.0, []
    while now < 200_000.0:
        ask, now = next_ask(watch, now)
        times.append(now)
        watch.answered_look(ask, look(ref(), LookStatus.PENDING), now)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps[:10]) < 10.0
    assert 60.0 < gaps[-1] < 7200.0
    assert len(times) < 1500


@pytest.mark.parametrize(("pace", "permits"), [(None, 20), (0.6, 20), (1.2, 10)])
def test_low_yield_takes_half_of_the_quota(pace: float | None, permits: int) -> None:
    """Idle requests that promise little take no more than half of the permits that are ours."""
    watch = PollScheduler(limit=100)
    for i in range(200):
        watch.add(ref("l", f"a{i}"), KIND, 0.0, 0.0)
    sent, now = 0, 3.0
    while now < 15.0:  # young looks: none is likely done
        watch.due(now, busy=False, pace=pace)
        ask = watch.take(now, busy=False)
        if ask is not None:
            sent += 1
            watch.answered_look(ask, look(LookRef(ask.avatar_id, "l"), LookStatus.PENDING), now)
        now += 0.1
    assert 0.4 * permits <= sent <= 0.5 * permits + 3


def test_high_yield_takes_every_permit() -> None:
    """Idle requests that surely tell of something done are not held back."""
    watch = PollScheduler(limit=100)
    for i in range(200):
        watch.add(ref("l", f"a{i}"), KIND, 0.0, 0.0)
    sent, now = 0, 200.0
    while now < 260.0:
        sent += watch.due(now, busy=False) <= now and watch.take(now, busy=False) is not None
        now += 0.6
    assert sent >= 99


def lone(duration: float) -> tuple[float, int]:
    """Lag and number of requests for one look, nothing else to do, 0.3 s an answer."""
    watch, now, asks = watching(ref()), 0.0, 0
    while ref() in watch:
        ask, now = next_ask(watch, now)
        asks += 1
        status = LookStatus.READY if now + 0.15 >= duration else LookStatus.PENDING
        now += 0.3
        watch.answered_look(ask, look(ref(), status), now)
    return now - duration, asks


def test_a_lone_look_is_known_soon() -> None:
    """0.5 s to 30 s, to a client that knows nothing: mean lag ≤ 2.5 s, in ≤ 10 requests."""
    runs = [lone(0.5 * step) for step in range(1, 61)]
    assert sum(lag for lag, _ in runs) / len(runs) <= 2.5
    assert sum(asks for _, asks in runs) / len(runs) <= 10.0
