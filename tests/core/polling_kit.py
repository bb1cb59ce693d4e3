"""Looks, answers and schedulers for the tests of polling."""

from __future__ import annotations

import math

from hoox_async import Avatar, Look, LookDetails, LookRef, LookStatus
from hoox_async._api.models import LookFailure
from hoox_async._core.polling import PollRequest, PollScheduler

KIND = ("edit", "2K")
URL = "https://pictures.example/1.jpg"
REASON = LookFailure("LOOK_GENERATION_FAILED", "no face")


def ref(look: str = "l1", avatar: str = "a") -> LookRef:
    return LookRef(avatar, look)


def look(
    of: LookRef,
    status: LookStatus = LookStatus.READY,
    url: str | None = URL,
    error: LookFailure | None = None,
) -> Look:
    return Look(of, status, url if status is LookStatus.READY else None, error)


def avatar(*looks: Look, avatar_id: str = "a") -> Avatar:
    return Avatar(
        avatar_id,
        looks=tuple(LookDetails(each.ref, each.status, thumbnail_url=each.thumbnail_url) for each in looks),
    )


def scheduler_of(*refs: LookRef, at: float = 0.0, now: float = 0.0) -> PollScheduler:
    """A scheduler that polls these looks, all accepted at ``at``."""
    scheduler = PollScheduler()
    for each in refs:
        scheduler.add(each, KIND, at, now)
    return scheduler


def next_request(scheduler: PollScheduler, now: float, *, busy: bool = False) -> tuple[PollRequest, float]:
    """The next request that the scheduler decides on from ``now`` on, and when."""
    for _ in range(1000):
        at = scheduler.due(now, busy)
        assert at < math.inf
        now = max(now, at)
        request = scheduler.take(now, busy)
        if request is not None:
            return request, now
    raise AssertionError("the scheduler made no request")
