"""The scheduler: what it concludes from requests that fail."""

from __future__ import annotations

import itertools

import pytest
from polling_kit import KIND, avatar, look, next_request, ref, scheduler_of

from hoox_async import LookRef, LookStatus
from hoox_async._core.polling import PollKind, PollScheduler
from hoox_async.errors import (
    AuthenticationError,
    HooxError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    TransportError,
    UnexpectedResponse,
)

NO_PATH = InvalidRequest("avatar_id", "avtr/1", "an id that is allowed in a path")


@pytest.mark.parametrize("error", [NotFound(404, None, "no"), UnexpectedResponse("html"), NO_PATH])
def test_looks_of_a_failing_avatar_are_polled_one_by_one_and_later_together(error: HooxError) -> None:
    """Where GET /avatar/{id} fails, its looks are polled one by one for some minutes, then together again."""
    scheduler = scheduler_of(ref("l1"), ref("l2"))
    request, now = next_request(scheduler, 40.0)
    scheduler.failed(request, error, now)
    asked = set()
    while now < 150.0:
        request, now = next_request(scheduler, now)
        assert request.kind is PollKind.STATUS
        asked.add(request.look_id)
        scheduler.answered_look(request, look(ref(request.look_id or ""), LookStatus.PENDING), now)
    assert asked == {"l1", "l2"}
    while request.kind is PollKind.STATUS and now < 400.0:
        request, now = next_request(scheduler, now)
        if request.kind is PollKind.STATUS:
            scheduler.answered_look(request, look(ref(request.look_id or ""), LookStatus.PENDING), now)
    assert request.kind is PollKind.GROUP


def test_looks_are_polled_one_by_one_only_after_two_lost_answers_in_a_row() -> None:
    """After a single 5xx or lost answer, the looks of the avatar are polled together again."""
    scheduler = scheduler_of(ref("l1"), ref("l2"))
    request, now = next_request(scheduler, 40.0)
    scheduler.failed(request, TransportError("reset"), now)
    request, again = next_request(scheduler, now)
    assert request.kind is PollKind.GROUP
    assert again >= now + 2.0
    scheduler.failed(request, ServerError(503, "down"), again)
    assert next_request(scheduler, again)[0].kind is PollKind.STATUS


def test_a_look_that_its_avatar_does_not_list_is_polled_alone() -> None:
    """The other looks of the avatar are still polled together."""
    refs = [ref(f"l{i}") for i in range(3)]
    scheduler = scheduler_of(*refs)
    request, now = next_request(scheduler, 60.0)
    scheduler.answered_avatar(request, avatar(*(look(each, LookStatus.PENDING) for each in refs[:2])), now)
    kinds = set()
    while now < 150.0:
        request, now = next_request(scheduler, now)
        kinds.add((request.kind, request.look_id))
        if request.kind is PollKind.GROUP:
            scheduler.answered_avatar(
                request, avatar(*(look(each, LookStatus.PENDING) for each in refs[:2])), now
            )
        else:
            scheduler.answered_look(request, look(refs[2], LookStatus.PENDING), now)
    assert kinds == {(PollKind.GROUP, None), (PollKind.STATUS, "l2")}


def test_a_young_look_that_is_not_listed_yet_is_polled_with_the_others() -> None:
    """That an avatar's answer lacks a look of a few seconds does not separate it from the others."""
    scheduler = scheduler_of(ref("l1"), ref("l2"))
    request, now = next_request(scheduler, 2.0)
    scheduler.answered_avatar(request, avatar(look(ref("l1"), LookStatus.PENDING)), now)
    assert next_request(scheduler, now)[0].kind is PollKind.GROUP


def test_a_look_that_stays_not_found_is_asked_for_ever_more_rarely() -> None:
    """After at least 3 answers of 404 over at least 30 s waiting ends with that error.

    Then the look is asked for at intervals that double, a day at most; at once when somebody waits for it
    anew; and as usual once an answer has shown it.
    """
    scheduler = scheduler_of(ref())
    request, first = next_request(scheduler, 40.0)
    error = NotFound(404, None, "Look not found")
    ended, now, count = scheduler.failed(request, error, first), first, 1
    while not ended:
        request, now = next_request(scheduler, now)
        ended, count = scheduler.failed(request, error, now), count + 1
    assert ended == [(ref(), error)]
    assert count >= 3
    assert 30.0 <= now - first < 120.0
    times = [now]
    for _ in range(16):
        request, now = next_request(scheduler, now)
        times.append(now)
        assert scheduler.failed(request, error, now) == [(ref(), error)]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps[0] <= 120.0
    assert gaps == sorted(gaps)
    assert 86_400.0 <= gaps[-1] < 87_000.0
    scheduler.add(ref(), KIND, 0.0, now)
    request, at = next_request(scheduler, now)
    assert at <= now + 60.0
    assert scheduler.failed(request, error, at) == []
    request, at = next_request(scheduler, at)
    scheduler.answered_look(request, look(ref(), LookStatus.PENDING), at)
    assert next_request(scheduler, at)[1] < at + 100_000.0


def test_a_404_that_passes_does_not_end_the_polling() -> None:
    """An answer that reports the look starts the count of 404s from zero."""
    scheduler, now = scheduler_of(ref()), 0.0
    for _ in range(6):
        request, now = next_request(scheduler, now + 20.0)
        assert scheduler.failed(request, NotFound(404, None, "no"), now) == []
        request, now = next_request(scheduler, now)
        assert scheduler.answered_look(request, look(ref(), LookStatus.PENDING), now) == []


def test_server_errors_never_end_the_polling() -> None:
    """Requests that fail with a 5xx or without an answer are repeated, at intervals of a minute at most."""
    scheduler, now, times = scheduler_of(ref()), 0.0, []
    for turn in range(20):
        request, now = next_request(scheduler, now)
        times.append(now)
        assert scheduler.failed(request, (TransportError("x"), ServerError(500, "x"))[turn % 2], now) == []
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps[0] < 10.0
    assert 55.0 < gaps[-1] < 70.0


def test_a_key_that_stays_refused_ends_the_polling_of_all_looks() -> None:
    """After 401 five times over a minute, polling ends for all looks. Until then few requests are made."""
    scheduler = PollScheduler()
    for i in range(50):
        scheduler.add(ref("l", f"a{i}"), KIND, 0.0, 0.0)
    now, sent = 100.0, 0
    ended: list[tuple[LookRef, HooxError]] = []
    while not ended:
        request, now = next_request(scheduler, now)
        sent += 1
        ended = scheduler.failed(request, AuthenticationError(401, "invalid_api_key", "no"), now)
    assert len(ended) == 50
    assert len(scheduler) == 0
    assert 5 <= sent <= 10


def test_an_avatar_that_stays_refused_ends_the_polling_of_its_own_looks_only() -> None:
    """After 403 for a minute, polling ends for the looks of that avatar and goes on for others."""
    scheduler, now = scheduler_of(ref("l", "mine"), ref("l", "theirs")), 0.0
    ended: list[tuple[LookRef, HooxError]] = []
    while not ended:
        request, now = next_request(scheduler, now)
        if request.avatar_id == "mine":
            scheduler.answered_look(request, look(ref("l", "mine"), LookStatus.PENDING), now)
        else:
            ended = scheduler.failed(request, PermissionDenied(403, None, "no"), now)
    assert [each for each, _ in ended] == [ref("l", "theirs")]
    assert ref("l", "mine") in scheduler
    assert now >= 60.0


def test_a_429_does_not_count_as_a_failure_of_the_avatar() -> None:
    """After 429 the same GROUP request is made again within seconds, however often that happens."""
    scheduler, now = scheduler_of(ref("l1"), ref("l2")), 40.0
    for _ in range(5):
        request, at = next_request(scheduler, now)
        assert request.kind is PollKind.GROUP
        assert at <= now + 6.0
        scheduler.failed(request, RateLimited(429, None, "spent"), at)
        now = at
