"""The circuit breakers: when the next paid request may be sent, by what became of those before."""

from __future__ import annotations

import pytest

from hoox_async._core.circuit_breaker import (
    LOSSES,
    PAUSES,
    SILENT_SECONDS,
    BatchBreaker,
    Go,
    Hold,
    SubmissionBreaker,
)

GO, PROBE, HOLD, SILENT = Go(probe=False), Go(probe=True), Hold(), Hold(silent=True)


def tripped(at: float = 0.0) -> BatchBreaker:
    """A breaker that was paused by losses at this time, and has no request outstanding."""
    breaker = BatchBreaker()
    pauses = [breaker.lost(at, probe=False) for _ in range(LOSSES)]
    assert pauses == [None] * (LOSSES - 1) + [PAUSES[0]]
    return breaker


def test_before_the_first_answer_only_a_few_are_outstanding() -> None:
    """Until the first answer five requests may be outstanding; after it there is no such limit."""
    breaker = BatchBreaker()
    assert [breaker.decide(1.0, n, 0.9) for n in range(LOSSES + 1)] == [*[GO] * LOSSES, HOLD]
    breaker.answered(1.0)
    assert breaker.decide(1.0, 1_000, 0.9) == GO


def test_after_a_loss_only_a_few_are_outstanding_until_the_next_answer() -> None:
    """The limit counts lost and outstanding requests together, and one may always be sent."""
    breaker = BatchBreaker(trial=3)
    breaker.answered(0.0)
    breaker.lost(1.0, probe=False)
    assert breaker.decide(1.0, 1, 0.5) == GO
    assert breaker.decide(1.0, 2, 0.5) == HOLD
    breaker.lost(1.0, probe=False)
    breaker.lost(1.0, probe=False)
    assert breaker.decide(1.0, 0, None) == GO
    breaker.answered(2.0)
    assert breaker.decide(2.0, 100, 0.5) == GO


def test_nothing_is_sent_while_the_oldest_outstanding_one_gets_no_answer() -> None:
    """After ten seconds without any answer since the oldest one was sent, nothing new is sent."""
    breaker = BatchBreaker()
    breaker.answered(100.0)
    sent = 101.0
    assert breaker.decide(sent + SILENT_SECONDS, 3, sent) == GO
    assert breaker.decide(sent + SILENT_SECONDS + 0.1, 3, sent) == SILENT
    breaker.answered(sent + 11.0)
    assert breaker.decide(sent + 1_000.0, 3, sent) == GO
    assert breaker.decide(sent + 1_000.0, 2, sent + 11.5) == SILENT
    assert breaker.decide(sent + 1_000.0, 0, None) == GO


def test_losses_in_a_row_begin_a_pause_and_one_probe_ends_it() -> None:
    """After losses in a row nothing but one probe is sent, and an answer to the probe ends the pause."""
    breaker = tripped()
    assert breaker.decide(29.9, 0, None) == HOLD
    assert breaker.decide(30.0, 0, None) == PROBE
    breaker.probe()
    assert breaker.decide(31.0, 1, 30.0) == HOLD
    breaker.answered(31.0)
    assert breaker.losses == 0
    assert breaker.decide(31.0, 50, 30.5) == GO


def test_an_answer_resets_the_count_of_losses() -> None:
    """Four losses, an answer and four more losses begin no pause."""
    breaker = BatchBreaker()
    for _ in range(3):
        for _ in range(LOSSES - 1):
            assert breaker.lost(0.0, probe=False) is None
        breaker.answered(0.0)
    assert breaker.decide(0.0, 100, 0.0) == GO


def test_the_third_lost_probe_is_the_last() -> None:
    """Probes are sent after 30, 60 and 120 seconds; when all are lost, nothing is sent any more."""
    breaker, now = tripped(), 0.0
    for number, pause in enumerate(PAUSES, start=1):
        assert breaker.decide(now + pause - 0.1, 0, None) == HOLD
        now += pause
        assert breaker.decide(now, 0, None) == PROBE
        breaker.probe()
        following = breaker.lost(now, probe=True)
        assert following == (PAUSES[number] if number < len(PAUSES) else None)
    assert breaker.stopped
    assert breaker.decide(now + 10_000.0, 0, None) == HOLD


def test_losses_of_earlier_requests_neither_lengthen_a_pause_nor_count_as_probes() -> None:
    """Requests that were outstanding when a pause began may be lost during it without changing it."""
    breaker = tripped()
    for second in range(20):
        assert breaker.lost(float(second), probe=False) is None
    assert breaker.decide(30.0, 0, None) == PROBE
    assert not breaker.stopped


def test_a_late_answer_in_a_pause_ends_it() -> None:
    """An answer during a pause ends it, and later losses begin with the shortest pause again."""
    breaker = tripped()
    breaker.probe()
    assert breaker.lost(30.0, probe=True) == PAUSES[1]
    breaker.answered(31.0)
    assert breaker.decide(31.0, 1, 1.0) == GO
    assert [breaker.lost(40.0, probe=False) for _ in range(LOSSES)][-1] == PAUSES[0]


def test_a_probe_waits_for_those_that_are_still_outstanding() -> None:
    """While outstanding requests get no answer, no probe is sent either."""
    breaker = tripped(50.0)
    assert breaker.decide(80.0, 1, 1.0) == SILENT
    assert breaker.decide(80.0, 0, None) == PROBE


@pytest.mark.parametrize("probe", [True, False])
def test_a_request_that_was_not_sent_counts_neither_as_answer_nor_as_loss(probe: bool) -> None:
    """After a probe that was not sent, the next request may be the probe."""
    breaker = tripped()
    breaker.probe()
    breaker.withdrawn(probe=probe)
    assert breaker.decide(30.0, 0, None) == (PROBE if probe else HOLD)
    assert breaker.losses == LOSSES


def test_a_probe_that_is_lost_after_an_answer_came_is_a_loss_like_any_other() -> None:
    """Where an older request was answered meanwhile, the pause is over and the lost probe is one loss."""
    breaker = tripped()
    breaker.probe()
    breaker.answered(31.0)
    assert breaker.lost(32.0, probe=True) is None
    assert breaker.losses == 1
    assert breaker.decide(32.0, 0, None) == GO


def sent(breaker: SubmissionBreaker, attempt_id: str, now: float) -> None:
    """A paid request takes its permit and leaves."""
    breaker.began(attempt_id)
    breaker.sent(attempt_id, now)


def test_after_five_losses_each_submission_needs_a_free_answer() -> None:
    """Five losses in a row hold submissions; a free answer lets one through, and its answer ends that."""
    breaker = SubmissionBreaker()
    for n in range(LOSSES):
        assert not breaker.holds(float(n))
        sent(breaker, f"a{n}", float(n))
        breaker.lost(f"a{n}", float(n))
    assert breaker.holds(100.0)
    breaker.answered_free(101.0)
    assert not breaker.holds(101.0)
    sent(breaker, "b", 102.0)
    assert breaker.holds(102.0), "one at a time"
    breaker.lost("b", 103.0)
    assert breaker.holds(103.0), "it was lost after the free answer"
    breaker.answered_free(104.0)
    sent(breaker, "c", 105.0)
    breaker.answered("c", 106.0)
    assert not breaker.holds(106.0)


def test_before_the_first_answer_five_submissions_are_outstanding() -> None:
    """A sixth is held back, without any free request, until one is answered."""
    breaker = SubmissionBreaker()
    for n in range(LOSSES):
        assert not breaker.holds(0.0)
        sent(breaker, f"a{n}", 0.0)
    assert breaker.holds(0.0)
    assert breaker.unanswered_since(0.0) is None
    breaker.answered("a0", 1.0)
    assert not breaker.holds(1.0)


def test_a_silent_request_holds_submissions_until_a_free_answer() -> None:
    """A request without an answer for ten seconds holds others; a later answer to any paid one ends that.

    One that was outstanding already when the last answer came says nothing of what came after that.
    """
    breaker = SubmissionBreaker()
    sent(breaker, "hangs", -2.0)
    sent(breaker, "first", -1.5)
    breaker.answered("first", -1.0)
    assert not breaker.holds(1_000.0)
    sent(breaker, "a", 0.0)
    assert not breaker.holds(SILENT_SECONDS)
    assert breaker.holds(SILENT_SECONDS + 0.1)
    breaker.answered_free(SILENT_SECONDS + 1.0)
    assert not breaker.holds(SILENT_SECONDS + 1.0)
    for n in range(LOSSES - 2):
        sent(breaker, f"b{n}", 12.0)
    assert breaker.holds(13.0), "no more than five are outstanding without an answer"
    breaker.answered("b0", 14.0)
    assert not breaker.holds(14.0)
