"""The scheduler: what it makes of answers and deliveries."""

from __future__ import annotations

import math

from polling_kit import KIND, REASON, avatar, look, next_ask, ref, watching

from hoox_async._api.models import LookStatus
from hoox_async._core.polling import LookUpdate, PollKind, PollScheduler
from hoox_async.errors import ServerError


def test_the_picture_is_asked_for_once() -> None:
    """READY without a picture is news at once, and complete after one more request."""
    watch = watching(ref("l1"), ref("l2"))
    ask, at = next_ask(watch, 0.0)
    bare = look(ref("l1"), url=None)
    assert watch.answered_avatar(ask, avatar(bare, look(ref("l2"))), at)[0] == LookUpdate(bare, False)
    more, at = next_ask(watch, at)
    assert more[:3] == (PollKind.STATUS, "a", "l1")
    assert watch.answered_look(more, look(ref("l1")), at) == [LookUpdate(look(ref("l1")), True)]
    assert ref("l1") not in watch


def test_a_reason_that_does_not_come_is_given_up() -> None:
    """FAILED without a reason after the one request more is complete as it is."""
    watch = watching(ref())
    ask, at = next_ask(watch, 0.0)
    bare = look(ref(), LookStatus.FAILED)
    assert watch.answered_look(ask, bare, at) == [LookUpdate(bare, False)]
    ask, at = next_ask(watch, at)
    assert watch.answered_look(ask, bare, at) == [LookUpdate(bare, True)]
    assert len(watch) == 0


def test_a_reason_waits_while_submissions_do() -> None:
    """Reasons and pictures are asked for last: not while submissions wait, at once when idle."""
    watch = watching(ref())
    watch.heard(look(ref(), LookStatus.FAILED), 20.0)
    assert watch.due(21.0, busy=True) > 600.0
    assert watch.due(21.0, busy=False) <= 21.0


def test_failing_twice_to_get_a_reason_completes_it() -> None:
    """After two failed requests for it, the look is complete without its reason: `leftovers` says so."""
    watch = watching(ref())
    bare = look(ref(), LookStatus.FAILED)
    watch.heard(bare, 20.0)
    now = 20.0
    for turn in range(2):
        ask, now = next_ask(watch, now)
        assert watch.leftovers() == []
        assert watch.failed(ask, ServerError(500, "no"), now) == []
        assert len(watch) == 1 - turn
    assert watch.leftovers() == [LookUpdate(bare, True)]


def test_leftovers_not_taken_come_with_the_next_answer() -> None:
    """No completion is lost, whoever asks for it."""
    watch = watching(ref(), ref("x", "b"))
    bare = look(ref(), LookStatus.FAILED)
    watch.heard(bare, 20.0)
    now = 20.0
    news: list[LookUpdate] = []
    while not news:
        ask, now = next_ask(watch, now)
        if ask.avatar_id == "a":
            watch.failed(ask, ServerError(500, "no"), now)
        else:
            news = watch.answered_look(ask, look(ref("x", "b"), LookStatus.PENDING), now)
    assert news == [LookUpdate(bare, True)]


def test_ready_stays_ready() -> None:
    """A look that goes back from ready to pending, or says failed later, stays ready."""
    watch = watching(ref())
    watch.heard(look(ref(), url=None), 20.0)
    assert watch.heard(look(ref(), LookStatus.PENDING), 21.0) is None
    assert watch.heard(look(ref(), LookStatus.FAILED, error=REASON), 22.0) is None
    assert watch.heard(look(ref()), 23.0) == LookUpdate(look(ref()), True)


def test_unknown_words_are_not_terminal() -> None:
    """A word that we don't know is news, and the look is asked for again."""
    watch = watching(ref())
    ask, at = next_ask(watch, 0.0)
    strange = look(ref(), LookStatus.UNRECOGNIZED)
    assert watch.answered_look(ask, strange, at) == [LookUpdate(strange, False)]
    ask, at = next_ask(watch, at)
    assert watch.answered_look(ask, strange, at) == []
    assert ref() in watch


def test_pushed_looks_are_asked_for_when_overdue() -> None:
    """With a webhook to come, and nothing learned, a look is asked for only once that is late."""
    watch = PollScheduler()
    watch.add(ref(), KIND, 0.0, 0.0, pushed=True)
    assert watch.take(60.0, busy=False) is None
    _, at = next_ask(watch, 0.0)
    assert 60.0 < at < 150.0


def test_pushed_looks_ride_along() -> None:
    """An answer for an avatar settles the looks that a webhook was to tell of, too."""
    watch = watching(ref("l1"))
    watch.add(ref("l2"), KIND, 0.0, 0.0, pushed=True)
    ask, at = next_ask(watch, 0.0)
    assert ask.kind is PollKind.GROUP
    assert len(watch.answered_avatar(ask, avatar(look(ref("l1")), look(ref("l2"))), at)) == 2
    assert len(watch) == 0


def test_adding_again_changes_only_pushed() -> None:
    """A known look keeps its place; `pushed` is refreshed both ways."""
    watch = watching(ref())
    watch.add(ref(), "other", 500.0, 0.0, pushed=True)
    assert watch.take(50.0, busy=False) is None
    watch.add(ref(), KIND, 0.0, 50.0)
    assert next_ask(watch, 50.0)[1] < 60.0
    assert len(watch) == 1


def test_dropped_looks_are_not_asked_for() -> None:
    """A dropped look is asked for no more, also when its answer is on the way; dropping twice is silent."""
    watch = watching(ref("l1"), ref("l2"))
    ask, at = next_ask(watch, 0.0)
    watch.drop(ref("l1"))
    watch.drop(ref("l1"))
    watch.drop(ref("l2"))
    assert watch.answered_avatar(ask, avatar(look(ref("l1"))), at) == []
    assert watch.due(at, busy=False) == math.inf


def test_added_again_while_the_old_request_is_in_the_air() -> None:
    """Dropping and adding an avatar's only look sends no second request beside the first."""
    watch = watching(ref())
    ask, at = next_ask(watch, 0.0)
    watch.drop(ref())
    watch.add(ref(), KIND, at - 500.0, at)
    assert watch.take(at + 1.0, busy=False) is None
    watch.answered_look(ask, look(ref(), LookStatus.PENDING), at + 1.0)
    assert next_ask(watch, at + 1.0)[0][:3] == ask[:3]


def test_durations_are_learned_from_answers() -> None:
    """After some looks of 15 s each, that is what is expected."""
    watch = PollScheduler()
    for i in range(40):
        start, name = i * 200.0, ref(str(i))
        watch.add(name, KIND, start, start)
        now = start
        while name in watch:
            ask, now = next_ask(watch, now)
            done = now >= start + 15.0
            watch.answered_look(ask, look(name, LookStatus.READY if done else LookStatus.PENDING), now)
    assert 13.0 < watch.expected(KIND) < 18.0
