"""The sliding window where the server sends no quota headers: what it infers from answers of 429 alone."""

from __future__ import annotations

import math
import random

import pytest
from quota_kit import FixedServer, SilentServer, SlidingServer, at_random, send, simulate, steady

from hoox_async._api.models import ServerQuota
from hoox_async._core.quota.other_clients import InferredUsage
from hoox_async._core.quota.quota_learning import (
    MARGIN,
    Accepted,
    QuotaCounts,
    QuotaLearning,
    Throttled,
)
from hoox_async._core.quota.sliding_window import SlidingWindow

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
