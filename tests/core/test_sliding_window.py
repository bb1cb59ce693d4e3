"""The quota's accounting: strict in any minute, even, and fair to others who use the same workspace."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quota_kit import (
    GAP,
    FixedServer,
    SlidingServer,
    most_in_a_minute,
    send,
    simulate,
)

from hoox_async._api.models import ServerQuota
from hoox_async._core.quota.sliding_window import MARGIN, SlidingWindow


def test_a_stream_runs_at_the_limit() -> None:
    """A thousand requests take 0.6 s each, to a part in five hundred."""
    times = send(SlidingWindow(100), 1000)
    assert times[-1] <= 0.6 * 999 * 1.002
    assert most_in_a_minute((at, at) for at in times) == 100


def test_a_minute_is_not_spent_in_its_first_second() -> None:
    """A small burst goes at once, the rest evenly; the burst leaves no hole a minute later."""
    times = send(SlidingWindow(100), 400)
    assert sum(at < 1.0 for at in times) <= 12
    assert 8 <= sum(at == 0.0 for at in times) <= 10
    assert max(after - before for before, after in pairwise(times)) <= 1.2 * GAP


def test_a_burst_is_regained_by_waiting() -> None:
    """After some idle seconds a few requests go at once again, never more than the burst."""
    window = SlidingWindow(100)
    send(window, 20)
    assert 8 <= sum(at == 100.0 for at in send(window, 20, now=100.0)) <= 10


def test_a_paid_request_counts_from_its_stamp() -> None:
    """A permit that was long in hand is counted from when the headers went out, 60.05 s on."""
    window = SlidingWindow(1)
    permit = window.take(0.0)
    assert window.earliest(50.0) == math.inf
    window.mark_sent(permit, 50.0)
    assert window.earliest(50.0) == pytest.approx(110.05)


def test_a_read_counts_until_a_minute_after_its_end() -> None:
    """While a read is outstanding nobody knows when the server counted it."""
    window = SlidingWindow(1)
    permit = window.take(0.0)
    window.start_read(permit, 0.0)
    assert window.earliest(100.0) == math.inf
    window.end(permit, 30.0)
    assert window.earliest(30.0) == pytest.approx(90.05)


@pytest.mark.parametrize("reading", [False, True])
def test_a_permit_given_back_counts_nothing(reading: bool) -> None:
    """Neither the window nor the pace remembers a permit that was not used."""
    window = SlidingWindow(1)
    permit = window.take(5.0)
    if reading:
        window.start_read(permit, 5.0)
    window.cancel(permit)
    assert window.earliest(5.0) == 5.0
    assert window.snapshot(5.0).remaining == 1


def test_the_sends_of_an_earlier_process_count() -> None:
    """After a restart the last minute's requests are ours: no second minute's quota in one minute."""
    window = SlidingWindow(100)
    window.restore(0.0, [1.0 + n * 0.5 for n in range(100)] + [62.0, 5000.0])
    assert window.snapshot(0.0).remaining == 0
    assert window.earliest(0.0) == pytest.approx(61.05 - 50.5)
    times = send(window, 150)
    assert most_in_a_minute([(-1.0 - n * 0.5,) * 2 for n in range(100)] + [(at, at) for at in times]) == 100


def test_sends_from_the_future_are_held_for_a_minute_at_most() -> None:
    """A wall clock that was set back does not lock the workspace."""
    window = SlidingWindow(2)
    window.restore(0.0, [-86400.0, -5.0])
    assert window.earliest(0.0) == pytest.approx(61.05)


def test_a_burst_that_an_earlier_process_had_does_not_come_again() -> None:
    """Ten requests a moment before the restart: the new life goes on one by one, at the pace."""
    window = SlidingWindow(100)
    window.restore(0.0, [0.1] * 10)
    times = send(window, 20)
    assert sum(at < 1.0 for at in times) <= 2
    assert times[-1] <= 20 * 2 * GAP


def test_a_send_that_is_known_and_restored_counts_once() -> None:
    """A second session of one process finds in its store what the first one sent through this window."""
    window = SlidingWindow(100)
    times = send(window, 30)
    now = times[-1] + 1.0
    window.restore(now, [now - at + 0.01 for at in times])
    assert window.snapshot(now).remaining == 70
    window.restore(now, [now - at + 0.01 for at in times] + [0.3] * 5)
    assert window.snapshot(now).remaining == 65


def test_a_smaller_limit_of_the_server_is_adopted() -> None:
    """Where the server says 60 a minute, 60 a minute it is; a larger one does not overrule the user."""
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
def test_headers_without_sense_neither_stall_nor_flood(nonsense: ServerQuota) -> None:
    """Whatever nonsense each answer says, the stream runs evenly at the limit."""
    times = send(SlidingWindow(100), 300, answer=nonsense)
    assert times[-1] <= 0.6 * 300
    assert most_in_a_minute((at, at) for at in times) <= 100


@pytest.mark.parametrize("resets_in", [None, -1e9, 0.0, 30.0, 1e9])
def test_a_server_that_says_nothing_is_left_is_not_believed_for_ever(resets_in: float | None) -> None:
    """Remaining 0 slows down to a trickle; a few requests that are all answered show that it is wrong."""
    times = send(SlidingWindow(100), 400, answer=ServerQuota(100, 0, resets_in))
    assert max(after - before for before, after in pairwise(times)) <= 61.0
    assert sum(at < 10.0 for at in times) <= 5
    assert times[-1] - times[100] <= 300 * 0.61
    assert most_in_a_minute((at, at) for at in times) <= 100


def test_a_server_that_says_nothing_is_left_is_believed_again_once_it_refuses() -> None:
    """A refusal shows that its count was right."""
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
    """It may have arrived that late. What the fastest answers take, every request takes."""
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
    """Remaining 0 at the first answer: nothing goes before the reset, and it goes on soon after it."""
    window = SlidingWindow(100)
    permit = window.take(0.0)
    window.mark_sent(permit, 0.0)
    window.observe(0.2, ServerQuota(100, 0, 25.0), 0.0)
    assert 25.2 <= window.earliest(0.2) <= 26.2
    window.observe(1.0, ServerQuota(100, 40, 24.0), 0.5)
    assert window.earliest(1.0) < 5.0


def test_our_own_use_is_not_taken_for_others() -> None:
    """Remaining 0 because of ourselves is no reason to wait for the reset: the stream stays even."""
    dice = random.Random(5)
    run = simulate(SlidingServer(), [], seconds=600.0, latency=lambda: 0.3)
    assert run.refused == 0
    assert run.share(0.0, 600.0) >= 0.998
    late = simulate(FixedServer(), [], seconds=600.0, latency=lambda: dice.uniform(0.1, 0.5))
    assert late.share(0.0, 600.0) >= 0.99


def test_reads_use_the_quota_but_for_their_time_in_the_air() -> None:
    """A read holds its permit from its sending to a minute after its end: 0.5 % at 0.3 s each."""
    run = simulate(SlidingServer(), [], seconds=600.0, latency=lambda: 0.3, reads=True)
    assert run.refused == 0
    assert run.share(0.0, 600.0) >= 0.99


def test_the_snapshot_counts_down_and_up_again() -> None:
    """What is left, and when all of it is free again."""
    window = SlidingWindow(100)
    assert (window.snapshot(0.0).remaining, window.snapshot(0.0).resets_at) == (100, 0.0)
    send(window, 5)
    assert (window.snapshot(0.0).remaining, window.snapshot(0.0).resets_at) == (95, 60.0 + MARGIN)
    window.observe(0.5, ServerQuota(100, 60, 30.0), 0.0)
    assert window.snapshot(0.5).remaining == 60
    assert window.snapshot(61.0).remaining == 100


def test_what_is_foreseen_is_what_comes() -> None:
    """The time told to one who lets n others go first is about the time at which the permit comes."""
    window = SlidingWindow(100)
    foreseen = [window.estimate(0.0, ahead) for ahead in range(250)]
    times = send(window, 250)
    assert foreseen == sorted(foreseen)
    assert max(abs(told - came) for told, came in zip(foreseen, times, strict=True)) <= 8.0
    window = SlidingWindow(1)
    window.take(0.0)
    assert math.isfinite(window.estimate(0.0, 3))


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["paid", "paid", "read", "give back", "end", "wait", "headers", "pause"]),
        st.floats(0.0, 1.0),
        st.floats(0.0, 1.0),
    ),
    max_size=250,
)


@settings(deadline=None, max_examples=150)
@given(actions=ACTIONS, limit=st.sampled_from([1, 3, 7, 20]))
def test_never_more_than_the_limit_in_any_minute(actions: list[tuple[str, float, float]], limit: int) -> None:
    """Whatever comes in whatever order, no server can count more than the limit in any 60 s."""
    window, now = SlidingWindow(limit), 0.0
    intervals: list[tuple[float, float]] = []
    hand: list[tuple[int, float]] = []
    for what, x, y in actions:
        if what in ("paid", "read", "give back"):
            at = window.earliest(now)
            if math.isinf(at):
                continue
            now = at
            permit = window.take(now)
            if what == "read":
                window.start_read(permit, now)
                hand.append((permit, now))
            elif what == "give back":
                window.cancel(permit)
            else:
                now += 5.0 * x * x  # a slow connection: stamped later than taken
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


@settings(deadline=None, max_examples=150)
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
def test_no_headers_stall_for_more_than_a_minute(answers: list[ServerQuota]) -> None:
    """Whatever answers say, the next permit comes within a minute and a little."""
    window, now = SlidingWindow(100), 0.0
    for answer in answers:
        at = window.earliest(now)
        assert at <= now + 61.0
        now = at
        window.mark_sent(window.take(now), now)
        window.observe(now, answer, now)
