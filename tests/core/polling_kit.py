"""Looks, answers and watchlists for the tests of the scheduler."""

from __future__ import annotations

import math

from hoox_async._api.models import Avatar, Look, LookDetails, LookFailure, LookRef, LookStatus
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


def watching(*refs: LookRef, at: float = 0.0, now: float = 0.0) -> PollScheduler:
    watch = PollScheduler()
    for each in refs:
        watch.add(each, KIND, at, now)
    return watch


def next_ask(watch: PollScheduler, now: float, *, busy: bool = False) -> tuple[PollRequest, float]:
    """The next request, and when."""
    for _ in range(1000):
        at = watch.due(now, busy)
        assert at < math.inf
        now = max(now, at)
        ask = watch.take(now, busy)
        if ask is not None:
            return ask, now
    raise AssertionError("never asked")
