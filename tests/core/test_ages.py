"""Which POST an unknown's candidates are compared with, and which of them are older."""

from __future__ import annotations

import pytest
from intents_kit import AT, OTHER, REF, SOURCE, after

from hoox_async import Evidence, Look, LookRef, LookStatus
from hoox_async._core.intents.candidates import CandidateAges, by_age, keeps_age
from hoox_async._core.intents.transitions import (
    Accept,
    AddCandidates,
    Drop,
    MarkUnknown,
    Replace,
    Resend,
    Revert,
    Send,
    Settle,
    Transition,
)

SENT, LOST = Send("a1", AT, SOURCE), MarkUnknown("dropped")
AGAIN = Send("a2", AT, SOURCE)
FAILED = Settle(Look(REF, LookStatus.FAILED), AT)
ELSEWHERE = LookRef("avtr_copy", "look_new")


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([SENT], False),
        ([SENT, Revert("a1"), AGAIN], False),
        ([SENT, LOST, Resend(), AGAIN], True),
        ([SENT, LOST, Resend(), AGAIN, LOST, Resend(), Send("a3", AT, SOURCE)], True),
        ([SENT, LOST, Drop(), Resend(), AGAIN], True),
        ([SENT, LOST, Resend(), AGAIN, Revert("a2"), Resend(), Send("a3", AT, SOURCE)], True),
        ([SENT, Accept(REF, AT, Evidence.ANSWER), FAILED, Replace(OTHER, "d2"), AGAIN], False),
    ],
)
def test_the_first_sending_that_may_have_cost_something_counts(steps: list[Transition], kept: bool) -> None:
    """One that was throttled does not count, one that was lost does; other content begins anew."""
    assert keeps_age(after(*steps)) is kept


def test_only_a_look_that_was_listed_before_is_older() -> None:
    """Looks that were not listed stay candidates; their avatar is named where it was not listed at all."""
    listed = {"avtr_abc": {"", SOURCE.look_id}}
    assert by_age([REF, SOURCE, ELSEWHERE, REF], listed) == CandidateAges(
        (REF, ELSEWHERE), (SOURCE,), ("avtr_copy",)
    )
    assert by_age([REF, SOURCE], {}) == CandidateAges((REF, SOURCE), (), ("avtr_abc",))
    assert by_age([SOURCE], listed) == CandidateAges((), (SOURCE,), ())


def test_what_is_older_stays_older_until_the_unknown_is_settled() -> None:
    """A candidate that proves older is moved; a resend keeps both, and finding the look clears both."""
    lost = after(
        SENT, LOST, AddCandidates((REF, SOURCE)), AddCandidates((REF,), (), (SOURCE,), ("avtr_abc",))
    )
    assert (lost.candidates, lost.older, lost.unlisted) == ((REF,), (SOURCE,), ("avtr_abc",))
    resent = after(Resend(), AGAIN, LOST, AddCandidates((SOURCE,)), start=lost)
    assert (resent.candidates, resent.older) == ((REF,), (SOURCE,))
    assert after(AddCandidates((), (SOURCE,)), start=lost).older == ()
    found = after(Accept(ELSEWHERE, AT, Evidence.USER), start=lost)
    assert (found.candidates, found.older, found.unlisted) == ((), (), ())
