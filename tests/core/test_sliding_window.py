"""The sliding window never allows more than the limit in any minute, and spreads requests evenly."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quota_kit import (
    INTERVAL,
    FixedServer,
    SlidingServer,
    most_in_a_minute,
    send,
    simulate,
)

from hoox_async._api.models import ServerQuota
from hoox_async._core.quota.quota_learning import MARGIN
from hoox_async._core.quota.sliding_window import SlidingWindow


def test_a_stream_of_requests_runs_at_the_limit() -> None:
    """A thousand requests take 0.6 s each, within 0.2 %."""
    times = send(SlidingWindow(100), 1000)
    assert times[-1] <= 0.6 * 999 * 1.002
    assert most_in_a_minute((at, at) for at in times) == 100


def test_a_minute_is_not_spent_in_its_first_second() -> None:
    """A small burst goes at once and the rest evenly; the burst leaves no gap a minute later."""
    times = send(SlidingWindow(100), 400)
    assert sum(at < 1.0 for at in times) <= 12
    assert 8 <= sum(at == 0.0 for at in times) <= 10
    assert max(after - before for before, after in pairwise(times)) <= 1.2 * INTERVAL


def test_idle_time_allows_a_new_burst() -> None:
    """After some idle seconds a few requests go at once again, but never more than the burst."""
    window = SlidingWindow(100)
    send(window, 20)
    assert 8 <= sum(at == 100.0 for at in send(window, 20, now=100.0)) <= 10


def test_a_paid_request_counts_from_when_its_headers_are_sent() -> None:
    """However long its permit was held, the request counts for 60.05 s from its headers on."""
    window = SlidingWindow(1)
    permit = window.take(0.0)
    assert window.earliest(50.0) == math.inf
    window.mark_sent(permit, 50.0)
    assert window.earliest(50.0) == pytest.approx(110.05)


def test_a_read_counts_until_a_minute_after_its_end() -> None:
    """As long as a read is outstanding, it counts: nobody knows when the server has counted it."""
    window = SlidingWindow(1)
    permit = window.take(0.0)
    window.start_read(permit, 0.0)
    assert window.earliest(100.0) == math.inf
    window.end(permit, 30.0)
    assert window.earliest(30.0) == pytest.approx(90.05)


@pytest.mark.parametrize("reading", [False, True])
def test_a_cancelled_permit_counts_neither_for_the_window_nor_for_the_pace(reading: bool) -> None:
    """After the cancellation of its only permit, a window is as it was before."""
    window = SlidingWindow(1)
    permit = window.take(5.0)
    if reading:
        window.start_read(permit, 5.0)
    window.cancel(permit)
    assert window.earliest(5.0) == 5.0
    assert window.snapshot(5.0).remaining == 1


def test_the_sends_of_an_earlier_process_count() -> None:
    """After a restart, the requests of the last minute still count: a minute's quota is not spent twice."""
    window = SlidingWindow(100)
    window.restore(0.0, [1.0 + n * 0.5 for n in range(100)] + [62.0, 5000.0])
    assert window.snapshot(0.0).remaining == 0
    assert window.earliest(0.0) == pytest.approx(61.05 - 50.5)
    times = send(window, 150)
    assert most_in_a_minute([(-1.0 - n * 0.5,) * 2 for n in range(100)] + [(at, at) for at in times]) == 100


def test_sends_from_the_future_are_held_for_a_minute_at_most() -> None:
    """A system clock that was set back does not block the workspace for more than a minute."""
    window = SlidingWindow(2)
    window.restore(0.0, [-86400.0, -5.0])
    assert window.earliest(0.0) == pytest.approx(61.05)


def test_a_burst_that_an_earlier_process_had_does_not_come_again() -> None:
    """After ten requests just before a restart, requests go on one by one, at the even interval."""
    window = SlidingWindow(100)
    window.restore(0.0, [0.1] * 10)
    times = send(window, 20)
    assert sum(at < 1.0 for at in times) <= 2
    assert times[-1] <= 20 * 2 * INTERVAL


def test_a_request_that_is_known_and_restored_counts_once() -> None:
    """A second session of a process finds in its store requests that the first sent by this same window."""
    window = SlidingWindow(100)
    times = send(window, 30)
    now = times[-1] + 1.0
    window.restore(now, [now - at + 0.01 for at in times])
    assert window.snapshot(now).remaining == 70
    window.restore(now, [now - at + 0.01 for at in times] + [0.3] * 5)
    assert window.snapshot(now).remaining == 65


def test_a_smaller_limit_of_the_server_is_adopted() -> None:
    """A server's limit of 60 a minute is kept to; a limit above the configured one changes nothing."""
    window = SlidingWindow(100)
    window.observe(0.0, ServerQuota(limit=60, remaining=60, resets_in=60), 0.0)
    times = send(window, 300)
    assert window.limit == 60
    assert most_in_a_minute((at, at) for at in times) == 60
    window.observe(times[-1], ServerQuota(limit=1000, remaining=1000, resets_in=60), times[-1])
    assert window.limit == 100


@pytest.mark.parametrize(
    "nonsense",
    [
        ServerQuota(None, None, None),
        ServerQuota(0, 0, 0),
        ServerQuota(-5, -5, -5),
        ServerQuota(10**9, 95, 30),
        ServerQuota(10**4, 10**4, 30),
        ServerQuota(100, -3, 30),
        ServerQuota(100, 500, 30),
        ServerQuota(100, 100, -1e9),
        ServerQuota(100, 100, 1e12),
        ServerQuota(100, None, 30),
        ServerQuota(None, 50, 30),
        ServerQuota(100, 100, math.nan),
        ServerQuota(100, 100, math.inf),
    ],
    ids=str,
)
def test_headers_that_make_no_sense_neither_stop_nor_speed_up_the_stream(nonsense: ServerQuota) -> None:
    """Whatever nonsense each answer contains, requests go evenly at the limit."""
    times = send(SlidingWindow(100), 300, answer=nonsense)
    assert times[-1] <= 0.6 * 300
    assert most_in_a_minute((at, at) for at in times) <= 100


@pytest.mark.parametrize("resets_in", [None, -1e9, 0.0, 30.0, 1e9])
def test_a_server_that_says_nothing_is_left_is_not_believed_for_ever(resets_in: float | None) -> None:
    """Remaining 0 slows requests down at first; when a few of them are answered, it is ignored."""
    times = send(SlidingWindow(100), 400, answer=ServerQuota(100, 0, resets_in))
    assert max(after - before for before, after in pairwise(times)) <= 61.0
    assert sum(at < 10.0 for at in times) <= 5
    assert times[-1] - times[100] <= 300 * 0.61
    assert most_in_a_minute((at, at) for at in times) <= 100


def test_a_server_that_says_nothing_is_left_is_believed_again_once_it_throttles() -> None:
    """After a 429, the server's "nothing left" is respected again."""
    window = SlidingWindow(100)
    spent = ServerQuota(100, 0, 30.0)
    now = send(window, 30, answer=spent)[-1]
    window.pause(now, 1.0)
    now = window.earliest(now)
    permit = window.take(now)
    window.mark_sent(permit, now)
    window.mark_accepted(permit, now)
    window.observe(now, spent, now)
    assert window.earliest(now) >= now + 1.0


def test_a_paid_request_counts_for_as_long_as_its_answer_was_slow() -> None:
    """A paid request counts longer by as much as its answer was slower than the fastest one."""
    window = SlidingWindow(1)
    now = 0.0
    for seconds in [0.3] * 30 + [0.3, 2.3, 500.0]:
        now = window.earliest(now)
        permit = window.take(now)
        window.mark_sent(permit, now)
        window.end(permit, now + seconds)
        late = window.earliest(now + seconds) - now - 60.05
    assert late == pytest.approx(440.0 - 0.05)  # an answer later than a minute holds nothing up
    window = SlidingWindow(100)
    for at in range(30):
        permit = window.take(float(at))
        window.mark_sent(permit, float(at))
        window.end(permit, at + (2.3 if at == 25 else 0.3))
    assert window._expiries[20] - 60.05 == pytest.approx(20.0)
    assert window._expiries[-1] - 60.05 == pytest.approx(29.0)
    assert 25 + 60.05 + 2.0 in [pytest.approx(at) for at in window._expiries]


def test_a_quota_spent_by_others_is_waited_for_until_its_reset() -> None:
    """If an answer says that nothing remains, nothing goes before the reset; soon after it all goes on."""
    window = SlidingWindow(100)
    permit = window.take(0.0)
    window.mark_sent(permit, 0.0)
    window.observe(0.2, ServerQuota(100, 0, 25.0), 0.0)
    assert 25.2 <= window.earliest(0.2) <= 26.2
    window.observe(1.0, ServerQuota(100, 40, 24.0), 0.5)
    assert window.earliest(1.0) < 5.0


def test_our_own_requests_are_not_taken_for_those_of_other_clients() -> None:
    """If we alone have used up the quota, nothing waits for the reset: requests go evenly."""
    dice = random.Random(5)
    run = simulate(SlidingServer(), [], seconds=600.0, latency=lambda: 0.3)
    assert run.throttled == 0
    assert run.share(0.0, 600.0) >= 0.998
    late = simulate(FixedServer(), [], seconds=600.0, latency=lambda: dice.uniform(0.1, 0.5))
    assert late.share(0.0, 600.0) >= 0.99


def test_reads_use_all_of_the_quota_but_for_the_time_they_are_outstanding() -> None:
    """A read counts until a minute after its end, which costs 0.5 % of the quota at 0.3 s each."""
    run = simulate(SlidingServer(), [], seconds=600.0, latency=lambda: 0.3, reads=True)
    assert run.throttled == 0
    assert run.share(0.0, 600.0) >= 0.99


def test_the_snapshot_shows_what_is_left_and_when_all_is_free_again() -> None:
    """Each request lowers ``remaining`` for a minute; the requests of other clients lower it too."""
    window = SlidingWindow(100)
    assert (window.snapshot(0.0).remaining, window.snapshot(0.0).resets_at) == (100, 0.0)
    send(window, 5)
    assert (window.snapshot(0.0).remaining, window.snapshot(0.0).resets_at) == (95, 60.0 + MARGIN)
    window.observe(0.5, ServerQuota(100, 60, 30.0), 0.0)
    assert window.snapshot(0.5).remaining == 60
    assert window.snapshot(61.0).remaining == 100


def test_an_estimated_wait_is_about_as_long_as_the_wait() -> None:
    """For any number of others in front, the estimate is within eight seconds of the permit's time."""
    window = SlidingWindow(100)
    estimates = [window.estimate(0.0, in_front) for in_front in range(250)]
    times = send(window, 250)
    assert estimates == sorted(estimates)
    assert max(abs(estimate - at) for estimate, at in zip(estimates, times, strict=True)) <= 8.0
    window = SlidingWindow(1)
    window.take(0.0)
    assert math.isfinite(window.estimate(0.0, 3))


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["paid", "paid", "read", "cancel", "end", "wait", "headers", "pause"]),
        st.floats(0.0, 1.0),
        st.floats(0.0, 1.0),
    ),
    max_size=250,
)


@given(actions=ACTIONS, limit=st.sampled_from([1, 3, 7, 20]))
def test_never_more_than_the_limit_in_any_minute(actions: list[tuple[str, float, float]], limit: int) -> None:
    """Whatever happens in whatever order, no server can count more than the limit in any 60 s."""
    window, now = SlidingWindow(limit), 0.0
    intervals: list[tuple[float, float]] = []
    hand: list[tuple[int, float]] = []
    for what, x, y in actions:
        if what in ("paid", "read", "cancel"):
            at = window.earliest(now)
            if math.isinf(at):
                continue
            now = at
            permit = window.take(now)
            if what == "read":
                window.start_read(permit, now)
                hand.append((permit, now))
            elif what == "cancel":
                window.cancel(permit)
            else:
                now += 5.0 * x * x  # a slow connection: sent later than the permit was taken
                window.mark_sent(permit, now)
                intervals.append((now, now))
        elif what == "end" and hand:
            permit, start = hand.pop(int(x * (len(hand) - 1)))
            window.end(permit, now)
            intervals.append((start, now))
        elif what == "wait":
            now += 100.0 * x * y
        elif what == "headers":
            window.observe(now, ServerQuota(int(40 * x), int(40 * y), 200.0 * (x - y)), now)
        else:
            window.pause(now, None if x < 0.5 else 90.0 * y)
    intervals += [(start, now) for _, start in hand]
    assert not intervals or most_in_a_minute(intervals) <= limit


@given(
    answers=st.lists(
        st.builds(
            ServerQuota,
            st.none() | st.integers(-5, 300),
            st.none() | st.integers(-5, 300),
            st.none() | st.floats(allow_nan=True),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_no_headers_stop_requests_for_more_than_a_minute(answers: list[ServerQuota]) -> None:
    """Whatever the answers say, the next permit comes within 61 s."""
    window, now = SlidingWindow(100), 0.0
    for answer in answers:
        at = window.earliest(now)
        assert at <= now + 61.0
        now = at
        window.mark_sent(window.take(now), now)
        window.observe(now, answer, now)
