"""Inputs without an end, under a cap of credits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from batch_kit import PICTURE, avatar, counts, edits, opened, space_of

from hoox_async import BatchItem, BatchRunner, ImageAvatar, LookEdit, LookRef, PromptAvatar
from hoox_async._batch import input_run, window
from hoox_async.errors import BudgetExceeded

pytestmark = pytest.mark.virtual_time

MOST = 2_000


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many items in a row may be too dear, in these tests."""
    monkeypatch.setattr(input_run, "_MAX_OVER_THE_CAP", MOST)


def endless(source: LookRef, dear_after: int = 0) -> Iterator[BatchItem]:
    """Edits without an end."""
    for n in count():
        yield BatchItem(f"k{n}", LookEdit(source, f"p{n}"))


async def test_an_endless_input_ends_once_its_cap_is_reached() -> None:
    """Once the cap is reached, a bounded number of further items is read, and the generator is closed."""
    space = space_of()
    async with opened(space) as session:
        given = endless(await avatar(session))
        report = await BatchRunner(session, max_credits=10).run(given)
    assert counts(report)["ready"] == 5
    assert MOST <= counts(report)["unsent"] <= MOST + window.MAX_UNSENT
    assert isinstance(report.outcomes[-1].error, BudgetExceeded)
    assert space.credits_spent == 10
    assert list(given) == []


async def test_an_endless_input_whose_items_depend_on_others_ends_too() -> None:
    """The reading also ends where the items over the cap are avatars and edits of those avatars."""

    def pairs() -> Iterator[BatchItem]:
        for n in count():
            yield BatchItem(f"a{n}", PromptAvatar(f"a{n}"))
            yield BatchItem(f"b{n}", LookEdit(f"a{n}", f"b{n}"))

    space = space_of()
    async with opened(space) as session:
        report = await BatchRunner(session, max_credits=4).run(pairs())
    assert space.credits_spent == 4
    assert set(counts(report)) == {"ready", "unsent"}
    assert counts(report)["unsent"] <= 2 * (MOST + window.MAX_UNSENT)


async def test_free_and_known_looks_are_delivered_however_long_the_cap_has_been_reached() -> None:
    """Free and known looks among items over the cap are delivered, and the generator is read on."""
    space = space_of(requests_per_minute=None)
    async with opened(space, requests_per_minute=60_000) as session:
        source = await avatar(session)
        old = edits(source, 2, "old")
        await BatchRunner(session).run(old)

        def given() -> Iterator[BatchItem]:
            dear = endless(source)
            for n in range(2):
                yield from (next(dear) for _ in range(MOST - 500))
                yield old[n]
                yield from (next(dear) for _ in range(MOST - 500))
                yield BatchItem(f"free{n}", ImageAvatar([PICTURE]))

        report = await BatchRunner(session, max_credits=0).run(given())
    assert counts(report) == {"ready": 4, "unsent": 4 * (MOST - 500)}
    assert len(report) == 4 + 4 * (MOST - 500)


async def test_a_list_is_read_to_its_end() -> None:
    """Each item of a list has its outcome, however many of them are over the cap."""
    space = space_of()
    async with opened(space) as session:
        items = edits(await avatar(session), 2 * MOST + window.MAX_UNDELIVERED)
        report = await BatchRunner(session, max_credits=2).run(items)
    assert counts(report) == {"ready": 1, "unsent": len(items) - 1}


async def test_a_cheaper_item_still_fits_where_dearer_ones_did_not() -> None:
    """With two credits left an edit in 2K is made after edits in 4K did not fit."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        dear = [BatchItem(f"d{n}", LookEdit(source, f"d{n}", resolution="4K")) for n in range(50)]
        report = await BatchRunner(session, max_credits=6).run([*dear, *edits(source, 3)])
    assert counts(report) == {"ready": 2, "unsent": 51}
    assert space.credits_spent == 6
