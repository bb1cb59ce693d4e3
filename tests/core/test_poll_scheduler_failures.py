"""The scheduler: what it makes of requests that fail."""

from __future__ import annotations

import itertools

import pytest
from polling_kit import KIND, avatar, look, next_ask, ref, watching

from hoox_async._api.models import LookRef, LookStatus
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

NO_PATH = InvalidRequest("avatar_id", "avtr/1", "an id that can stand in a path")


@pytest.mark.parametrize("error", [NotFound(404, None, "no"), UnexpectedResponse("html"), NO_PATH])
def test_a_failing_group_is_asked_for_one_by_one_and_later_together(error: HooxError) -> None:
    """Where GET /avatar/{id} fails, looks are asked for one by one for some minutes, then together."""
    watch = watching(ref("l1"), ref("l2"))
    ask, now = next_ask(watch, 40.0)
    watch.failed(ask, error, now)
    asked = set()
    while now < 150.0:
        ask, now = next_ask(watch, now)
        assert ask.kind is PollKind.STATUS
        asked.add(ask.look_id)
        watch.answered_look(ask, look(ref(ask.look_id or ""), LookStatus.PENDING), now)
    assert asked == {"l1", "l2"}
    while ask.kind is PollKind.STATUS and now < 400.0:
        ask, now = next_ask(watch, now)
        if ask.kind is PollKind.STATUS:
            watch.answered_look(ask, look(ref(ask.look_id or ""), LookStatus.PENDING), now)
    assert ask.kind is PollKind.GROUP


def test_one_lost_answer_does_not_break_a_group() -> None:
    """A group is given up for a 5xx or a lost answer only when that happens twice in a row."""
    watch = watching(ref("l1"), ref("l2"))
    ask, now = next_ask(watch, 40.0)
    watch.failed(ask, TransportError("reset"), now)
    ask, again = next_ask(watch, now)
    assert ask.kind is PollKind.GROUP
    assert again >= now + 2.0
    watch.failed(ask, ServerError(503, "down"), again)
    assert next_ask(watch, again)[0].kind is PollKind.STATUS


def test_a_look_that_the_avatar_lacks_is_asked_for_alone() -> None:
    """A look missing in its avatar's answer goes its own way; the others stay together."""
    refs = [ref(f"l{i}") for i in range(3)]
    watch = watching(*refs)
    ask, now = next_ask(watch, 60.0)
    watch.answered_avatar(ask, avatar(*(look(each, LookStatus.PENDING) for each in refs[:2])), now)
    kinds = set()
    while now < 150.0:
        ask, now = next_ask(watch, now)
        kinds.add((ask.kind, ask.look_id))
        if ask.kind is PollKind.GROUP:
            watch.answered_avatar(ask, avatar(*(look(each, LookStatus.PENDING) for each in refs[:2])), now)
        else:
            watch.answered_look(ask, look(refs[2], LookStatus.PENDING), now)
    assert kinds == {(PollKind.GROUP, None), (PollKind.STATUS, "l2")}


def test_a_young_look_may_be_missing() -> None:
    """An avatar's answer that does not list a look yet says nothing, while the look is young."""
    watch = watching(ref("l1"), ref("l2"))
    ask, now = next_ask(watch, 2.0)
    watch.answered_avatar(ask, avatar(look(ref("l1"), LookStatus.PENDING)), now)
    assert next_ask(watch, now)[0].kind is PollKind.GROUP


def test_a_lasting_404_ends_the_watch() -> None:
    """3 times not found, over 30 s: the watch ends with that error. Once is not enough."""
    watch = watching(ref())
    ask, first = next_ask(watch, 40.0)
    error = NotFound(404, None, "Look not found")
    ended, now, count = watch.failed(ask, error, first), first, 1
    while not ended:
        ask, now = next_ask(watch, now)
        ended, count = watch.failed(ask, error, now), count + 1
    assert ended == [(ref(), error)]
    assert count >= 3
    assert 30.0 <= now - first < 120.0
    assert len(watch) == 0


def test_404s_that_pass_end_nothing() -> None:
    """An answer in between starts the count anew."""
    watch, now = watching(ref()), 0.0
    for _ in range(6):
        ask, now = next_ask(watch, now + 20.0)
        assert watch.failed(ask, NotFound(404, None, "no"), now) == []
        ask, now = next_ask(watch, now)
        assert watch.answered_look(ask, look(ref(), LookStatus.PENDING), now) == []


def test_server_errors_never_end_a_watch() -> None:
    """Failed requests are tried again, at growing intervals of a minute at most."""
    watch, now, times = watching(ref()), 0.0, []
    for turn in range(20):
        ask, now = next_ask(watch, now)
        times.append(now)
        assert watch.failed(ask, (TransportError("x"), ServerError(500, "x"))[turn % 2], now) == []
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps[0] < 10.0
    assert 55.0 < gaps[-1] < 70.0


def test_a_refused_key_ends_all_when_it_lasts() -> None:
    """401 five times over a minute: every watch ends. Until then only few requests go out."""
    watch = PollScheduler()
    for i in range(50):
        watch.add(ref("l", f"a{i}"), KIND, 0.0, 0.0)
    now, sent = 100.0, 0
    ended: list[tuple[LookRef, HooxError]] = []
    while not ended:
        ask, now = next_ask(watch, now)
        sent += 1
        ended = watch.failed(ask, AuthenticationError(401, "invalid_api_key", "no"), now)
    assert len(ended) == 50
    assert len(watch) == 0
    assert 5 <= sent <= 10


def test_a_denied_avatar_ends_alone() -> None:
    """403 for one avatar, lasting: its looks end and others go on."""
    watch, now = watching(ref("l", "mine"), ref("l", "theirs")), 0.0
    ended: list[tuple[LookRef, HooxError]] = []
    while not ended:
        ask, now = next_ask(watch, now)
        if ask.avatar_id == "mine":
            watch.answered_look(ask, look(ref("l", "mine"), LookStatus.PENDING), now)
        else:
            ended = watch.failed(ask, PermissionDenied(403, None, "no"), now)
    assert [each for each, _ in ended] == [ref("l", "theirs")]
    assert ref("l", "mine") in watch
    assert now >= 60.0


def test_a_spent_quota_says_nothing_of_the_avatar() -> None:
    """429 counts as no failure: the same request comes again soon, in a group still."""
    watch, now = watching(ref("l1"), ref("l2")), 40.0
    for _ in range(5):
        ask, at = next_ask(watch, now)
        assert ask.kind is PollKind.GROUP
        assert at <= now + 6.0
        watch.failed(ask, RateLimited(429, None, "spent"), at)
        now = at
