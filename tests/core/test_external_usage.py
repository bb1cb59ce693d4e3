"""The sliding window beside other clients of the workspace, and after a 429."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from quota_kit import (
    FixedServer,
    HintedServer,
    Server,
    SlidingServer,
    at_random,
    send,
    simulate,
    steady,
)

from hoox_async._api.models import ServerQuota
from hoox_async._core.quota.sliding_window import SlidingWindow


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@pytest.mark.parametrize("use", ["steady", "random"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_beside_a_client_that_uses_forty_percent_few_requests_are_throttled(
    kind: str, use: str, seed: int
) -> None:
    """At most 2 % of our requests are throttled, and we use at least 1/1.15 of what the other leaves."""
    others = steady(40, 900) if use == "steady" else at_random(40, 900, seed)
    server: Server = SlidingServer() if kind == "sliding" else FixedServer()
    dice = random.Random(seed)
    run = simulate(server, others, seconds=900.0, latency=lambda: dice.uniform(0.1, 0.5))
    assert run.throttled <= 0.02 * len(run.accepted)
    assert run.share(0.0, 900.0) >= 1 / 1.15


@pytest.mark.parametrize("server", [SlidingServer, FixedServer])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_reset_that_is_always_a_minute_ahead_makes_no_pause_of_a_minute(
    server: Callable[[], SlidingServer | FixedServer], seed: int
) -> None:
    """Where a 429 counts and says nothing, and the reset moves on, we still get what others leave."""
    run = simulate(HintedServer(server()), at_random(40, 900, seed), seconds=900.0, latency=lambda: 0.3)
    assert run.throttled <= 0.02 * len(run.accepted)
    assert run.share(0.0, 900.0) >= 0.86  # what is throttled takes room too, the others' as well


def test_the_interval_grows_when_other_clients_use_the_quota() -> None:
    """Alone we get the whole quota; while others use half of it, our requests are twice as far apart."""
    window = SlidingWindow(100)
    assert window.interval(0.0) == pytest.approx(0.6, rel=0.01)
    send(window, 1)
    window.observe(1.0, ServerQuota(100, 49, 30.0), 0.0)
    assert window.interval(1.0) == pytest.approx(60.0 / 48, rel=0.05)
    assert window.interval(200.0) == pytest.approx(0.6, rel=0.01)


def test_a_server_that_resets_as_a_whole_costs_no_throttling() -> None:
    """If the reset is when all of the quota is free, we still get what a steady other client leaves."""
    run = simulate(SlidingServer(oldest=False), steady(40, 900), seconds=900.0, latency=lambda: 0.3)
    assert run.throttled <= 1
    assert run.share(0.0, 900.0) >= 1 / 1.15


@pytest.mark.parametrize(("server", "within"), [(SlidingServer, 65.0), (FixedServer, 125.0)])
def test_the_full_quota_is_used_again_soon_after_the_other_client_stops(
    server: Callable[[], Server], within: float
) -> None:
    """The full quota is used a minute after the other client's last request, or two with fixed minutes."""
    run = simulate(server(), steady(40, 300), seconds=900.0, latency=lambda: 0.3)
    run.others = 0
    assert run.share(300.0 + within, 900.0) >= 0.97


def test_a_429_pauses_for_as_long_as_the_server_says() -> None:
    """A 429 pauses for its Retry-After, else until the reset, else for a second. The most is a minute."""
    for said, resets_in, expected in [(7.0, 30.0, 7.0), (None, 30.0, 30.0), (None, None, 1.0),
                                      (None, -50.0, 1.0), (None, 1e9, 60.0), (1e12, None, 60.0),
                                      (math.nan, None, 1.0), (0.0, None, 1.0)]:  # fmt: skip
        window = SlidingWindow(100)
        window.observe(10.0, ServerQuota(100, 0, resets_in), 10.0)
        assert window.pause(10.0, said) == pytest.approx(expected)
        assert window.earliest(10.0) >= 10.0 + expected


def throttlings(
    window: SlidingWindow, count: int, said: float | None, resets_in: float | None = None
) -> list[float]:
    """The pauses after several 429s, each of which comes as soon as the pause before is over."""
    now, pauses = 0.0, []
    for _ in range(count):
        if resets_in is not None:
            window.observe(now, ServerQuota(100, 0, resets_in), now)
        pauses.append(window.pause(now, said))
        window.pause(now + 0.1, said and said - 0.1)  # another one of the same burst: no further step
        now = window.paused_until
    return pauses


@pytest.mark.parametrize(("said", "resets_in"), [(None, None), (0.0, None), (0.0, 30.0), (None, 0.5)])
def test_each_429_right_after_a_pause_makes_a_longer_pause(
    said: float | None, resets_in: float | None
) -> None:
    """If the server names no time, or always a reset in a moment, the pauses double up to a minute."""
    window = SlidingWindow(100)
    pauses = throttlings(window, 8, said, resets_in)
    assert pauses == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])
    now = window.paused_until
    window.observe(now, ServerQuota(100, 50, 30.0), now)
    assert window.pause(now + 1.0, 0.0) == 1.0


@pytest.mark.parametrize("said", [0.5, 1.0, 7.0])
def test_a_retry_after_is_kept_each_time(said: float) -> None:
    """However often the server throttles, a Retry-After of up to a minute is not made longer."""
    assert throttlings(SlidingWindow(100), 8, said, 30.0) == pytest.approx([said] * 8)


def test_a_429_long_after_the_last_one_pauses_as_the_first_did() -> None:
    """A minute without a 429 makes the pauses short again, also if the server sends no quota headers."""
    window = SlidingWindow(100)
    assert [window.pause(n * 200.0, 0.0) for n in range(5)] == [1.0] * 5


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    """Of several 429s, the one with the longest pause decides."""
    window = SlidingWindow(100)
    window.pause(0.0, 30.0)
    window.pause(1.0, 2.0)
    assert window.paused_until == 30.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reads", [False, True])
def test_requests_that_arrive_at_unequal_speed_are_not_throttled(seed: int, reads: bool) -> None:
    """If requests take 20 to 400 ms to arrive, none is throttled and 98.5 % of the quota is used."""
    dice = random.Random(seed)
    run = simulate(SlidingServer(), [], seconds=1800.0, latency=lambda: dice.uniform(0.04, 0.8), reads=reads)
    assert run.throttled == 0
    assert run.share(0.0, 1800.0) >= 0.985


def throttle(window: SlidingWindow, now: float, said: float | None) -> float:
    """Send one request as early as possible, and throttle it. Returns when it was sent."""
    now = window.earliest(now)
    permit = window.take(now)
    window.mark_sent(permit, now)
    window.pause(now, said, permit)
    window.end(permit, now)
    return now


def test_a_very_long_pause_is_probed_after_a_minute() -> None:
    """The named time may be nonsense: one request probes it after a minute, then after two, and so on."""
    window, times = SlidingWindow(100), [0.0]
    for _ in range(9):
        times.append(throttle(window, times[-1], 3_000.0))
    pauses = [after - before for before, after in pairwise(times)][1:]
    assert pauses == pytest.approx([60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3000.0, 3000.0])
    now = window.earliest(times[-1])
    permit = window.take(now)
    window.start_read(permit, now)
    window.mark_accepted(permit, now)
    window.end(permit, now)
    assert window.earliest(now) <= now + 1.0
    assert window.pause(now + 1.0, 3_000.0) == pytest.approx(60.0)


def test_after_a_pause_one_request_goes_first_and_the_others_wait_for_its_answer() -> None:
    """If the probe has no answer, or is cancelled, another one goes in its place, one at a time."""
    window = SlidingWindow(100)
    throttle(window, 0.0, 5.0)
    assert window.earliest(0.0) == 5.0
    probe = window.take(5.0)
    window.mark_sent(probe, 5.0)
    assert window.earliest(6.0) == 15.0
    window.end(probe, 6.0)  # no answer
    assert window.earliest(6.0) == 6.0
    probe = window.take(6.0)
    window.cancel(probe)
    probe = window.take(6.0)
    window.mark_sent(probe, 6.0)
    window.mark_accepted(probe, 6.3)
    window.end(probe, 6.3)
    assert window.throttled_since is None
    times = send(window, 20, now=6.3)
    assert sum(at < 7.0 for at in times) <= 2  # evenly, without a burst
    assert times[-1] <= 6.3 + 20 * 0.61


def test_an_answer_to_a_request_from_before_the_pause_ends_no_pause() -> None:
    """A 429 to such a request does not make the pause longer either."""
    window = SlidingWindow(100)
    early = [window.take(0.0) for _ in range(4)]
    for permit in early:
        window.mark_sent(permit, 0.0)
    window.pause(0.3, 5.0, early[0])
    window.mark_accepted(early[1], 0.4)
    assert window.is_void(early[1])
    probe = window.take(5.3)
    window.mark_sent(probe, 5.3)
    assert window.earliest(5.4) == pytest.approx(15.3)
    assert window.pause(5.4, 30.0, early[2]) == 0.0
    assert window.earliest(5.4) == pytest.approx(15.3)
    assert not window.is_void(probe)
