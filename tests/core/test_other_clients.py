"""The sliding window beside other clients of the workspace, with quota headers and with 429 alone."""

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
    SilentServer,
    SlidingServer,
    at_random,
    send,
    simulate,
    steady,
)

from hoox_async._api.models import ServerQuota
from hoox_async._core.quota.other_clients import InferredUsage
from hoox_async._core.quota.quota_learning import MARGIN, Accepted, QuotaCounts, QuotaLearning, Throttled
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


SERVERS = {"sliding": SlidingServer, "fixed": FixedServer}


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("use", ["steady", "random"])
@pytest.mark.parametrize("seed", [1, 2])
def test_beside_a_client_that_sends_30_a_minute_we_send_60_or_more(kind: str, use: str, seed: int) -> None:
    """At most 2 % of our requests are throttled, and at most 15 % of the other client's."""
    others = steady(30, 600) if use == "steady" else at_random(30, 600, seed)
    dice = random.Random(seed)
    server = SilentServer(SERVERS[kind](100))
    run = simulate(server, others, seconds=600.0, latency=lambda: dice.uniform(0.1, 0.5))
    assert run.per_minute(60.0, 600.0) >= 60.0
    assert run.throttled <= 0.02 * len(run.accepted)
    assert run.others >= 0.85 * len(others)


@pytest.mark.parametrize("kind", SERVERS)
def test_the_full_quota_is_used_again_minutes_after_the_other_client_has_left(kind: str) -> None:
    """Six minutes after the other client's last request we send at least 95 a minute."""
    run = simulate(SilentServer(SERVERS[kind](100)), steady(30, 300), seconds=900.0, latency=lambda: 0.3)
    assert run.per_minute(300.0 + 360.0, 900.0) >= 95.0


@pytest.mark.parametrize("kind", SERVERS)
def test_a_limit_that_is_lower_than_the_configured_one_is_found_out(kind: str) -> None:
    """A server that allows 60 a minute gets at least 57, and throttles at most 2 % of our requests."""
    run = simulate(SilentServer(SERVERS[kind](60)), [], seconds=900.0, latency=lambda: 0.3)
    assert run.per_minute(60.0, 900.0) >= 57.0
    assert run.throttled <= 0.02 * len(run.accepted)


def test_a_limit_a_second_does_not_lower_the_requests_a_minute() -> None:
    """The first burst meets a limit of 5 a second. After a short pause requests go at the full rate."""
    run = simulate(SilentServer(SlidingServer(), per_second=5), [], seconds=300.0, latency=lambda: 0.3)
    assert run.throttled <= 5
    assert run.per_minute(10.0, 300.0) >= 98.0


def test_a_second_throttling_at_a_low_rate_halves_the_rate() -> None:
    """One 429 beside few requests of ours teaches nothing; another one within two minutes does."""
    usage = InferredUsage()
    usage.throttled(0.0, 100, 10)
    assert usage.used(0.0) == 0
    usage.throttled(60.0, 100, 10)
    assert usage.used(60.0) == 50
    usage.throttled(90.0, 100, 10)
    assert usage.used(90.0) == 75
    once = InferredUsage()
    once.throttled(0.0, 100, 10)
    once.throttled(200.0, 100, 10)
    assert once.used(200.0) == 0


def test_the_reserve_shrinks_by_1_2_4_and_so_on_every_minute() -> None:
    """After a 429 beside 70 of ours, 32 are left to others, and then fewer with each minute."""
    usage, left = InferredUsage(), []
    usage.throttled(0.0, 100, 70)
    for minute in range(7):
        for second in (0.0, 30.0):
            usage.accepted(60.0 * minute + second)
        left.append(usage.used(60.0 * minute))
    assert left == [32, 31, 29, 25, 17, 1, 0]
    assert not usage.is_due(math.inf)


def test_each_throttling_lowers_the_rate() -> None:
    """It falls also where more of ours are still counted than the rate that was inferred before allows."""
    usage, left = InferredUsage(), []
    for now in range(3):
        usage.throttled(float(now), 100, 90)
        left.append(usage.used(float(now)))
    assert left == [12, 14, 16]
    for now in range(3, 200):
        usage.throttled(float(now), 100, 0)
    assert usage.used(199.0) == 95  # never more: only an accepted request shows that the others have gone


def test_what_was_inferred_is_forgotten_after_five_idle_minutes() -> None:
    """Without an answer for five minutes, and when quota headers come, nothing is left to others."""
    for has_headers in (False, True):
        window = SlidingWindow(100)
        now = send(window, 70)[-1]
        window.pause(now, None)
        assert window.interval(now) == pytest.approx(60.05 / 68, rel=0.01)
        assert window.snapshot(now).remaining == 0
        if has_headers:
            window.observe(now, ServerQuota(100, 30, 60.0), now)
        else:
            now += 301.0
        assert window.interval(now) == pytest.approx(0.6, rel=0.01)


def test_what_was_inferred_from_another_limit_is_forgotten() -> None:
    """When a session with a lower limit joins, what it leaves is not lowered further."""
    window = SlidingWindow(100)
    now = send(window, 70)[-1]
    window.pause(now, None)
    window.set_limit(50)
    assert window.interval(now) == pytest.approx(60.05 / 50, rel=0.01)


def test_if_all_requests_were_ours_the_margin_grows() -> None:
    """If our own requests fill the limit, a 429 is due to network delays: only the margin is widened."""
    window = SlidingWindow(100)
    now = send(window, 200)[-1]
    window.pause(now, None)
    assert window.learning.margin > MARGIN
    assert window.learning.reserves(now) == (0, 0)


def test_throttled_probes_teach_nothing() -> None:
    """While the server throttles everything, pauses grow; the reserve and the margin stay."""
    learning, now = QuotaLearning(), 0.0
    pauses = []
    for permit in range(1, 9):
        counts = QuotaCounts(now, 70 // permit, 70 // permit, permit)
        learning.apply(Throttled(permit, None, 100), counts)
        pauses.append(learning.throttling.paused_until - now)
        now = learning.throttling.paused_until
    assert pauses == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])
    assert (learning.inferred.reserve, learning.margin) == (32, MARGIN)


def test_what_was_inferred_is_stored_and_read_again() -> None:
    """What processes share survives as text."""
    learning = QuotaLearning()
    learning.apply(Throttled(70, None, 100), QuotaCounts(10.0, 70, 70, 70))
    learning.apply(Accepted(71), QuotaCounts(80.0, 70, 70, 71))
    assert QuotaLearning.load(learning.dump()).dump() == learning.dump()
    assert learning.terms(80.0).used == 31
