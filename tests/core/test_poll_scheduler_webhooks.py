"""The scheduler: when a look whose webhook may be lost is asked for. That is learned, never fixed."""

from __future__ import annotations

import math
import random
from itertools import pairwise

from polling_kit import KIND, look, next_ask, ref

from hoox_async._api.models import LookStatus
from hoox_async._core.polling import PollScheduler
from hoox_async._core.polling.delivery_losses import DeliveryLosses


def learned(lost: int = 0, seconds: float = 40.0) -> PollScheduler:
    """A scheduler that has seen 100 deliveries after about that duration, then ``lost`` looks without one."""
    watch, rng = PollScheduler(), random.Random(1)
    for n in range(100):
        at, one = 1_000.0 * n, ref("l", f"seen{n}")
        watch.add(one, KIND, at, at, pushed=True)
        watch.heard(look(one), at + rng.lognormvariate(math.log(seconds), 0.3), delivered=True)
    for n in range(lost):
        watch._losses.found(ref("l", f"lost{n}"))
    return watch


def first_asked(watch: PollScheduler) -> float:
    """The age at which a new look that expects a webhook is first asked for, while the quota is idle."""
    start = 1_000_000.0
    watch.add(ref("l", "new"), KIND, start, start, pushed=True)
    now = start
    while True:
        at = watch.due(now, busy=False)
        assert at < math.inf
        now = max(now, at)
        if watch.take(now, busy=False) is not None:
            return now - start


def test_a_lost_delivery_is_noticed_by_what_was_learned_meanwhile() -> None:
    """Of 80 looks that take 1.5 s a tenth is not delivered: those are asked for within 15 s of acceptance.

    All were accepted before anything was known of their duration.
    """
    watch = PollScheduler(limit=6_000)
    looks = [ref("l", f"a{n}") for n in range(80)]
    for one in looks:
        watch.add(one, KIND, 0.0, 0.0, pushed=True)
    for one in looks[:72]:
        watch.heard(look(one), 1.5, delivered=True)
    now, asked = 1.5, set()
    while len(watch):
        now = max(now, watch.due(now, busy=False))
        ask = watch.take(now, busy=False)
        if ask is not None:
            asked.add(ask.avatar_id)
            watch.answered_look(ask, look(ref("l", ask.avatar_id)), now)
    assert asked == {f"a{n}" for n in range(72, 80)}
    assert now < 15.0


def test_few_are_asked_for_while_all_deliveries_come() -> None:
    """At most one status request for 20 looks, though the quota is idle."""
    watch, rng, asks = PollScheduler(), random.Random(3), 0
    for n in range(400):
        start, one = 1_000.0 * n, ref("l", f"a{n}")
        done = start + rng.lognormvariate(math.log(40.0), 0.5)
        watch.add(one, KIND, start, start, pushed=True)
        now = start
        while (now := max(now, watch.due(now, busy=False))) < done:
            ask = watch.take(now, busy=False)
            if ask is not None:
                asks += 1
                watch.answered_look(ask, look(one, LookStatus.PENDING), now)
        watch.heard(look(one), done, delivered=True)
    assert asks <= 20


def test_the_more_are_lost_the_sooner_is_asked() -> None:
    """With an idle quota, the first request's time follows from the share of deliveries that were lost."""
    ages = [first_asked(learned(lost)) for lost in (0, 30, 80)]
    assert ages[0] > ages[1] > ages[2] > 20.0


def test_the_shorter_looks_take_the_sooner_is_asked() -> None:
    """The time after which a delivery counts as late follows the durations that were seen."""
    assert first_asked(learned(seconds=4.0)) < 0.2 * first_asked(learned(seconds=40.0))


def test_a_delivery_that_comes_after_the_look_was_found_was_not_lost() -> None:
    """A request that is faster than the delivery must not count as a loss."""
    losses = DeliveryLosses()
    for n in range(50):
        losses.found(ref(f"l{n}"))
    high = losses.share
    for n in range(50):
        losses.came_late(ref(f"l{n}"))
        losses.came_late(ref(f"l{n}"))
    assert losses.share < 0.02 < 0.4 < high


def test_a_late_look_is_asked_for_again_at_growing_intervals() -> None:
    """Where the answer says that it is not done yet, and its delivery may still come."""
    watch = PollScheduler()
    watch.add(ref(), KIND, 0.0, 0.0, pushed=True)
    now, times = 0.0, list[float]()
    while now < 50_000.0:
        ask, now = next_ask(watch, now)
        times.append(now)
        watch.answered_look(ask, look(ref(), LookStatus.PENDING), now)
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps == sorted(gaps)
    assert len(times) < 25
