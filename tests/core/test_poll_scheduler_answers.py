"""The scheduler: what it concludes from answers and deliveries."""

from __future__ import annotations

import math

from polling_kit import KIND, REASON, avatar, look, next_request, ref, scheduler_of

from hoox_async import LookStatus
from hoox_async._core.polling import LookUpdate, PollKind, PollScheduler
from hoox_async.errors import ServerError


def test_a_missing_picture_is_asked_for_with_one_more_request() -> None:
    """A look that is READY without a picture is reported at once, and complete after one more request."""
    scheduler = scheduler_of(ref("l1"), ref("l2"))
    request, at = next_request(scheduler, 0.0)
    bare = look(ref("l1"), url=None)
    assert scheduler.answered_avatar(request, avatar(bare, look(ref("l2"))), at)[0] == LookUpdate(bare, False)
    more, at = next_request(scheduler, at)
    assert more[:3] == (PollKind.STATUS, "a", "l1")
    assert scheduler.answered_look(more, look(ref("l1")), at) == [LookUpdate(look(ref("l1")), True)]
    assert ref("l1") not in scheduler


def test_a_reason_that_is_still_missing_after_one_more_request_is_not_asked_for_again() -> None:
    """A look that is FAILED without a reason is complete as it is when one more answer gives none."""
    scheduler = scheduler_of(ref())
    request, at = next_request(scheduler, 0.0)
    bare = look(ref(), LookStatus.FAILED)
    assert scheduler.answered_look(request, bare, at) == [LookUpdate(bare, False)]
    request, at = next_request(scheduler, at)
    assert scheduler.answered_look(request, bare, at) == [LookUpdate(bare, True)]
    assert len(scheduler) == 0


def test_a_missing_reason_is_asked_for_last() -> None:
    """A missing reason is asked for at once when the quota is idle, and not while submissions wait."""
    scheduler = scheduler_of(ref())
    scheduler.update(look(ref(), LookStatus.FAILED), 20.0)
    assert scheduler.due(21.0, busy=True) > 600.0
    assert scheduler.due(21.0, busy=False) <= 21.0


def test_a_reason_is_asked_for_no_more_after_two_failed_requests() -> None:
    """After two failed requests for its reason, `take_given_up` reports the look as complete."""
    scheduler = scheduler_of(ref())
    bare = look(ref(), LookStatus.FAILED)
    scheduler.update(bare, 20.0)
    now = 20.0
    for turn in range(2):
        request, now = next_request(scheduler, now)
        assert scheduler.take_given_up() == []
        assert scheduler.failed(request, ServerError(500, "no"), now) == []
        assert len(scheduler) == 1 - turn
    assert scheduler.take_given_up() == [LookUpdate(bare, True)]


def test_looks_without_a_reason_that_were_not_taken_come_with_the_next_answer() -> None:
    """A look that is complete without its reason is reported with an answer about another avatar."""
    scheduler = scheduler_of(ref(), ref("x", "b"))
    bare = look(ref(), LookStatus.FAILED)
    scheduler.update(bare, 20.0)
    now = 20.0
    updates: list[LookUpdate] = []
    while not updates:
        request, now = next_request(scheduler, now)
        if request.avatar_id == "a":
            scheduler.failed(request, ServerError(500, "no"), now)
        else:
            updates = scheduler.answered_look(request, look(ref("x", "b"), LookStatus.PENDING), now)
    assert updates == [LookUpdate(bare, True)]


def test_the_first_settled_status_is_final() -> None:
    """A READY look that is reported PENDING or FAILED later stays READY; its picture is still filled in."""
    scheduler = scheduler_of(ref())
    scheduler.update(look(ref(), url=None), 20.0)
    assert scheduler.update(look(ref(), LookStatus.PENDING), 21.0) is None
    assert scheduler.update(look(ref(), LookStatus.FAILED, error=REASON), 22.0) is None
    assert scheduler.update(look(ref()), 23.0) == LookUpdate(look(ref()), True)


def test_an_unrecognized_status_does_not_settle_a_look() -> None:
    """A status word that the library does not know is reported once, and the look is polled again."""
    scheduler = scheduler_of(ref())
    request, at = next_request(scheduler, 0.0)
    strange = look(ref(), LookStatus.UNRECOGNIZED)
    assert scheduler.answered_look(request, strange, at) == [LookUpdate(strange, False)]
    request, at = next_request(scheduler, at)
    assert scheduler.answered_look(request, strange, at) == []
    assert ref() in scheduler


def test_a_look_that_expects_a_webhook_is_polled_though_nothing_is_known_of_deliveries() -> None:
    """Before anything was learned, an idle quota is spent on it 15 s to 40 s after acceptance."""
    scheduler = PollScheduler()
    scheduler.add(ref(), KIND, 0.0, 0.0, expects_webhook=True)
    assert scheduler.take(15.0, busy=False) is None
    _, at = next_request(scheduler, 0.0)
    assert at < 40.0


def test_a_group_answer_settles_also_the_looks_that_expect_a_webhook() -> None:
    """An answer settles all looks of its avatar, whichever of them the request was made for."""
    scheduler = scheduler_of(ref("l1"))
    scheduler.add(ref("l2"), KIND, 0.0, 0.0, expects_webhook=True)
    request, at = next_request(scheduler, 0.0)
    assert request.kind is PollKind.GROUP
    assert len(scheduler.answered_avatar(request, avatar(look(ref("l1")), look(ref("l2"))), at)) == 2
    assert len(scheduler) == 0


def test_adding_a_look_again_changes_only_whether_it_expects_a_webhook() -> None:
    """A look that is polled already keeps its kind and its time of acceptance."""
    scheduler = scheduler_of(ref())
    scheduler.add(ref(), "other", 500.0, 0.0, expects_webhook=True)
    assert scheduler.take(20.0, busy=False) is None
    scheduler.add(ref(), KIND, 0.0, 20.0)
    assert next_request(scheduler, 20.0)[1] == 20.0
    assert len(scheduler) == 1


def test_a_dropped_look_is_polled_no_more() -> None:
    """Nothing is reported of a dropped look, not even by an outstanding request; dropping twice is silent."""
    scheduler = scheduler_of(ref("l1"), ref("l2"))
    request, at = next_request(scheduler, 0.0)
    scheduler.drop(ref("l1"))
    scheduler.drop(ref("l1"))
    scheduler.drop(ref("l2"))
    assert scheduler.answered_avatar(request, avatar(look(ref("l1"))), at) == []
    assert scheduler.due(at, busy=False) == math.inf


def test_a_look_that_is_dropped_and_added_again_has_one_outstanding_request() -> None:
    """Dropping and adding an avatar's only look makes no second request while the first is outstanding."""
    scheduler = scheduler_of(ref())
    request, at = next_request(scheduler, 0.0)
    scheduler.drop(ref())
    scheduler.add(ref(), KIND, at - 500.0, at)
    assert scheduler.take(at + 1.0, busy=False) is None
    scheduler.answered_look(request, look(ref(), LookStatus.PENDING), at + 1.0)
    assert next_request(scheduler, at + 1.0)[0][:3] == request[:3]


def test_durations_are_learned_from_answers() -> None:
    """After 40 looks that took 15 s each, the scheduler expects 13 s to 18 s."""
    scheduler = PollScheduler()
    for i in range(40):
        start, name = i * 200.0, ref(str(i))
        scheduler.add(name, KIND, start, start)
        now = start
        while name in scheduler:
            request, now = next_request(scheduler, now)
            done = now >= start + 15.0
            scheduler.answered_look(
                request, look(name, LookStatus.READY if done else LookStatus.PENDING), now
            )
    assert 13.0 < scheduler.expected(KIND) < 18.0
