"""The scheduler: when a look that expects a webhook is polled. That is learned, never fixed."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from polling_kit import KIND, look, next_request, ref

from hoox_async import LookStatus
from hoox_async._core.polling import PollScheduler
from hoox_async._core.polling.delivery_losses import DeliveryLosses
from hoox_async.errors import TransportError


def learned(lost: int = 0, seconds: float = 40.0) -> PollScheduler:
    """A scheduler that has seen 100 deliveries after about that duration, then ``lost`` looks without one."""
    scheduler, rng = PollScheduler(), random.Random(1)
    for n in range(100):
        at, one = 1_000.0 * n, ref("l", f"seen{n}")
        scheduler.add(one, KIND, at, at, expects_webhook=True)
        scheduler.update(look(one), at + rng.lognormvariate(math.log(seconds), 0.3), delivered=True)
    now = 200_000.0
    for n in range(lost):
        one = ref("l", f"lost{n}")
        scheduler.add(one, KIND, now, now, expects_webhook=True)
        request, now = next_request(scheduler, now)
        scheduler.answered_look(request, look(one), now)
    return scheduler


def first_polled_after(scheduler: PollScheduler) -> float:
    """The age at which a new look that expects a webhook is first polled, while the quota is idle."""
    start = 1_000_000.0
    scheduler.add(ref("l", "new"), KIND, start, start, expects_webhook=True)
    now = start
    while True:
        at = scheduler.due(now, busy=False)
        assert at < math.inf
        now = max(now, at)
        if scheduler.take(now, busy=False) is not None:
            return now - start


def test_a_lost_delivery_is_noticed_by_what_was_learned_meanwhile() -> None:
    """Of 80 looks that take 1.5 s a tenth is not delivered: those are polled within 15 s of acceptance.

    All were accepted before anything was known of their duration.
    """
    scheduler = PollScheduler(limit=6_000)
    looks = [ref("l", f"a{n}") for n in range(80)]
    for one in looks:
        scheduler.add(one, KIND, 0.0, 0.0, expects_webhook=True)
    for one in looks[:72]:
        scheduler.update(look(one), 1.5, delivered=True)
    now, asked = 1.5, set()
    while len(scheduler):
        now = max(now, scheduler.due(now, busy=False))
        request = scheduler.take(now, busy=False)
        if request is not None:
            asked.add(request.avatar_id)
            scheduler.answered_look(request, look(ref("l", request.avatar_id)), now)
    assert asked == {f"a{n}" for n in range(72, 80)}
    assert now < 15.0


def settled_in(scheduler: PollScheduler, start: float, seconds: float, *, lost: bool) -> tuple[float, int]:
    """How long after a new look was done that is known, and by how many requests on an idle quota."""
    one, done, now, requests = ref("l", f"a{start}"), start + seconds, start, 0
    scheduler.add(one, KIND, start, start, expects_webhook=True)
    while lost or scheduler.due(now, busy=False) < done:
        request, now = next_request(scheduler, now)
        if not lost and now >= done:
            scheduler.failed(request, TransportError("the delivery is faster"), done)
            break
        requests += 1
        status = LookStatus.READY if now >= done else LookStatus.PENDING
        if scheduler.answered_look(request, look(one, status), now) and now >= done:
            return now - done, requests
    scheduler.update(look(one), done, delivered=True)
    return 0.0, requests


def test_hardly_a_look_is_polled_once_deliveries_have_proved_to_come() -> None:
    """Of the first 50 looks each is asked for twice at most on average. Of 400 later ones, with an idle quota
    too, one of 20."""
    scheduler, rng = PollScheduler(), random.Random(3)
    asked = [
        settled_in(scheduler, 1_000.0 * n, rng.lognormvariate(math.log(40.0), 0.5), lost=False)[1]
        for n in range(450)
    ]
    assert sum(asked[:50]) <= 100
    assert sum(asked[50:]) <= 20


@pytest.mark.parametrize("first_lost", [False, True], ids=["first ones delivered", "all lost"])
def test_a_lost_delivery_is_noticed_within_20_seconds(first_lost: bool) -> None:
    """With an idle quota each look is known within 20 s, from the fourth of its kind on."""
    for seed in range(20):
        scheduler, rng = PollScheduler(), random.Random(seed)
        lags = []
        for n in range(10):
            seconds = rng.lognormvariate(math.log(40.0), 0.5)
            lags.append(settled_in(scheduler, 1_000.0 * n, seconds, lost=first_lost or n >= 3)[0])
        assert max(lags[3:]) <= 20.0


def test_the_more_deliveries_are_lost_the_sooner_a_look_is_polled() -> None:
    """With an idle quota, the time of the first request follows from the share of lost deliveries."""
    ages = [first_polled_after(learned(lost)) for lost in (0, 30, 80)]
    assert ages[0] > ages[1] > ages[2] > 20.0


def test_the_shorter_looks_take_the_sooner_a_look_is_polled() -> None:
    """The time after which a delivery counts as late follows from the durations that were seen."""
    assert first_polled_after(learned(seconds=4.0)) < 0.2 * first_polled_after(learned(seconds=40.0))


def test_a_delivery_that_comes_after_its_look_was_polled_does_not_count_as_lost() -> None:
    """When a status request was faster than the delivery, the late delivery takes the loss back, once."""
    losses = DeliveryLosses()
    for n in range(50):
        losses.found_by_polling(ref(f"l{n}"), 0.0, 40.0)
    high = losses.share
    for n in range(50):
        losses.delivered_late(ref(f"l{n}"))
        losses.delivered_late(ref(f"l{n}"))
    assert losses.share < 0.02 < 0.4 < high


def test_a_late_look_that_expects_a_webhook_is_polled_at_growing_intervals() -> None:
    """While the look stays pending its delivery may still come, so it is polled ever more rarely."""
    scheduler = PollScheduler()
    scheduler.add(ref(), KIND, 0.0, 0.0, expects_webhook=True)
    now, times = 0.0, list[float]()
    while now < 50_000.0:
        request, now = next_request(scheduler, now)
        times.append(now)
        scheduler.answered_look(request, look(ref(), LookStatus.PENDING), now)
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps == sorted(gaps)
    assert len(times) < 35
