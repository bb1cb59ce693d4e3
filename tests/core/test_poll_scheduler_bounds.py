"""The scheduler: what one decision costs, however many looks wait."""

from __future__ import annotations

import pytest
from polling_kit import KIND, avatar, look, ref

from hoox_async._api.models import LookStatus
from hoox_async._core.polling import PollKind, PollScheduler
from hoox_async._core.polling.durations import Durations

MOST = 192  # looks at the curve of durations in one decision: 32 avatars, each worked out in a few steps
MOST_WITH_WEBHOOKS = 800  # where the share of lost deliveries counts too, that takes more of them


class Counting(Durations):
    """Counts how often it is looked at: the work of a decision."""

    looked = 0

    def curve(self, age: float) -> tuple[float, float]:
        self.looked += 1
        return super().curve(age)


def many(avatars: int, *, pushed: bool = False) -> tuple[PollScheduler, Counting]:
    """One look of each of so many avatars, accepted at the same time."""
    watch, model = PollScheduler(), Counting()
    watch.durations._kinds[KIND] = model
    for number in range(avatars):
        watch.add(ref("l", f"a{number}"), KIND, 0.0, 0.0, pushed=pushed)
    return watch, model


@pytest.mark.parametrize("pushed", [False, True], ids=["polled", "webhooks late"])
@pytest.mark.parametrize("busy", [False, True])
def test_a_decision_after_a_long_sleep(busy: bool, pushed: bool) -> None:
    """A process that wakes to 3,000 looks that are due works some out in each decision, and asks at once."""
    watch, model = many(3_000, pushed=pushed)
    most = MOST_WITH_WEBHOOKS if pushed else MOST
    now = 3_600.0
    asked: set[str] = set()
    while len(asked) < 200:
        model.looked = 0
        at = watch.due(now, busy)
        assert model.looked <= most
        assert at <= now + 60.0
        now = max(now, at)
        ask = watch.take(now, busy)
        assert model.looked <= 2 * most
        if ask is not None:
            assert ask.kind is PollKind.STATUS
            assert ask.avatar_id not in asked
            asked.add(ask.avatar_id)
        now += 0.6


def test_decisions_while_answers_come() -> None:
    """Hours of asking about 500 avatars whose looks are never done cost each decision no more than that."""
    watch, model = many(500)
    now, times = 0.0, dict.fromkeys((f"a{number}" for number in range(500)), 0)
    for _ in range(3_000):
        now += 0.6
        model.looked = 0
        if watch.due(now, busy=False) <= now:
            ask = watch.take(now, busy=False)
            assert ask is not None
            times[ask.avatar_id] += 1
            watch.answered_look(ask, look(ref("l", ask.avatar_id), LookStatus.PENDING), now + 0.3)
        assert model.looked <= 2 * MOST
    assert min(times.values()) >= 1, "none starves"


def test_a_group_takes_part_of_the_work_off_its_looks() -> None:
    """A thousand looks of one avatar, accepted one by one, are counted by age, not one by one."""
    watch, model = PollScheduler(), Counting()
    watch.durations._kinds[KIND] = model
    looks = [look(ref(f"l{number}"), LookStatus.PENDING) for number in range(1_000)]
    for number, each in enumerate(looks):
        watch.add(each.ref, KIND, 0.6 * number, 0.6 * number)
    now = 600.0
    for _ in range(20):
        model.looked = 0
        now = max(now, watch.due(now, busy=True))
        ask = watch.take(now, busy=True)
        assert model.looked <= 3 * MOST
        if ask is not None:
            watch.answered_avatar(ask, avatar(*looks), now)
