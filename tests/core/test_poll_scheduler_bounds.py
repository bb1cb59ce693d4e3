"""The scheduler: one decision takes few steps, however many looks are polled."""

from __future__ import annotations

import pytest
from polling_kit import KIND, avatar, look, ref

from hoox_async import LookStatus
from hoox_async._core.polling import PollKind, PollScheduler
from hoox_async._core.polling.durations import Durations

MOST = 192  # evaluations of the curve of durations in one decision: a few for each of 32 avatars
MOST_WITH_WEBHOOKS = 800  # where the share of lost deliveries counts too


class CountingDurations(Durations):
    """Counts how often its curve is evaluated, which is the work of a decision."""

    evaluations = 0

    def curve(self, age: float) -> tuple[float, float]:
        self.evaluations += 1
        return super().curve(age)


def many(avatars: int, *, expects_webhook: bool = False) -> tuple[PollScheduler, CountingDurations]:
    """One look of each of so many avatars, accepted at the same time."""
    scheduler, model = PollScheduler(), CountingDurations()
    scheduler.durations._kinds[KIND] = model
    for number in range(avatars):
        scheduler.add(ref("l", f"a{number}"), KIND, 0.0, 0.0, expects_webhook=expects_webhook)
    return scheduler, model


@pytest.mark.parametrize("expects_webhook", [False, True], ids=["polled", "webhooks late"])
@pytest.mark.parametrize("busy", [False, True])
def test_a_decision_takes_few_steps_after_a_long_sleep(busy: bool, expects_webhook: bool) -> None:
    """A process that wakes to 3,000 overdue looks updates some in each decision, and polls at once."""
    scheduler, model = many(3_000, expects_webhook=expects_webhook)
    most = MOST_WITH_WEBHOOKS if expects_webhook else MOST
    now = 3_600.0
    asked: set[str] = set()
    while len(asked) < 200:
        model.evaluations = 0
        at = scheduler.due(now, busy)
        assert model.evaluations <= most
        assert at <= now + 60.0
        now = max(now, at)
        request = scheduler.take(now, busy)
        assert model.evaluations <= 2 * most
        if request is not None:
            assert request.kind is PollKind.STATUS
            assert request.avatar_id not in asked
            asked.add(request.avatar_id)
        now += 0.6


def test_a_decision_takes_few_steps_while_answers_come() -> None:
    """While 500 avatars are polled whose looks are never done, each decision is cheap and none starves."""
    scheduler, model = many(500)
    now, times = 0.0, dict.fromkeys((f"a{number}" for number in range(500)), 0)
    for _ in range(3_000):
        now += 0.6
        model.evaluations = 0
        if scheduler.due(now, busy=False) <= now:
            request = scheduler.take(now, busy=False)
            assert request is not None
            times[request.avatar_id] += 1
            scheduler.answered_look(request, look(ref("l", request.avatar_id), LookStatus.PENDING), now + 0.3)
        assert model.evaluations <= 2 * MOST
    assert min(times.values()) >= 1, "none starves"


def test_a_decision_takes_few_steps_for_a_large_group() -> None:
    """A thousand looks of one avatar, accepted one after the other, are counted by age, not one by one."""
    scheduler, model = PollScheduler(), CountingDurations()
    scheduler.durations._kinds[KIND] = model
    looks = [look(ref(f"l{number}"), LookStatus.PENDING) for number in range(1_000)]
    for number, each in enumerate(looks):
        scheduler.add(each.ref, KIND, 0.6 * number, 0.6 * number)
    now = 600.0
    for _ in range(20):
        model.evaluations = 0
        now = max(now, scheduler.due(now, busy=True))
        request = scheduler.take(now, busy=True)
        assert model.evaluations <= 3 * MOST
        if request is not None:
            scheduler.answered_avatar(request, avatar(*looks), now)
