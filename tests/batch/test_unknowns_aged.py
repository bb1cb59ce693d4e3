"""Which of the looks beside a lost edit are older than it: those that an answer had listed before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from batch_kit import arrives, avatar, lose, opened, space_of
from session_kit import store_of

from hoox_async import BatchReport, HooxSession, LookEdit, OutcomeState, OutcomeUnknown, Unknown
from hoox_async.errors import StoreError
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def unknown_of(session: HooxSession) -> Unknown:
    """The only unknown."""
    [unknown] = await session.unknowns()
    return unknown


async def test_a_look_that_was_listed_before_is_older_also_after_a_restart(tmp_path: Path) -> None:
    """A caller's `avatar()` lists a stranger's look, and a later session loses an edit: that look is older.

    Its own look, and a stranger's that came after it was sent, may be its result. The report says the same.
    """
    space, store = space_of(), tmp_path / "campaign.db"
    async with opened(space, store=store) as session:
        source = await avatar(session)
        old = arrives(space, source)
        await session.avatar(source.avatar_id)
    async with opened(space, store=store) as session:
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        own = space.ledger[-1].ref
        new = arrives(space, source)
        unknown = await unknown_of(session)
        assert (unknown.candidates, unknown.older, unknown.unlisted) == ((own, new), (old,), ())
    async with opened(space, store=store) as session:
        again = await unknown_of(session)
        assert (again.candidates, again.older) == ((own, new), (old,))
    [outcome] = (await BatchReport.open(store)).in_state(OutcomeState.UNKNOWN)
    assert (outcome.candidates, outcome.older) == ((own, new), (old,))


async def test_what_a_poll_lists_is_older_than_what_is_sent_later() -> None:
    """An answer about looks that are polled together lists a stranger's too, at no request of its own."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        old = arrives(space, source)
        jobs = [await session.submit(LookEdit(source, f"scene {n}"), key=f"e{n}") for n in range(3)]
        await asyncio.gather(*(job.wait() for job in jobs))
        asked = {record.endpoint for record in space.requests}
        await lose(session, space, source, "lost", Fault.DROP_BEFORE)
        unknown = await unknown_of(session)
        assert (unknown.candidates, unknown.older) == ((), (old,))
        assert "avatar" in asked


async def test_the_look_of_an_earlier_sending_stays_a_candidate() -> None:
    """Sent again after its look was listed, and lost again: the first sending may have made that look."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        old = arrives(space, source)
        await session.avatar(source.avatar_id)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        first = space.ledger[-1].ref
        await session.avatar(source.avatar_id)
        space.faults.fail_next("edit", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.resend("lost")
        unknown = await unknown_of(session)
        assert (unknown.candidates, unknown.older) == ((first, space.ledger[-1].ref), (old,))


async def test_an_avatar_that_was_never_listed_is_named() -> None:
    """Of an avatar that no answer had listed before, no look is known to be older."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        stranger = arrives(space, source)
        await lose(session, space, source, "lost", Fault.DROP_BEFORE)
        unknown = await unknown_of(session)
        assert (unknown.candidates, unknown.older) == ((stranger,), ())
        assert unknown.unlisted == (source.avatar_id,)


async def test_a_listing_is_written_once_and_only_what_is_new(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten equal answers are one write; where it fails, that is logged once and nobody is disturbed."""
    space, written, is_failing = space_of(), list[set[str]](), True
    async with opened(space) as session:
        source, store = await avatar(session), store_of(session)
        note = store.note_listed

        async def noting(avatar_id: str, look_ids: Any) -> None:
            if is_failing:
                raise StoreError("the disk is full")
            written.append(set(look_ids))
            await note(avatar_id, look_ids)

        monkeypatch.setattr(store, "note_listed", noting)
        for _ in range(10):
            await session.avatar(source.avatar_id)
        assert [line for line in caplog.messages if "listed" in line] == [
            f"the looks of {source.avatar_id} could not be recorded as listed: the disk is full"
        ]
        is_failing = False
        await asyncio.sleep(61)
        for _ in range(10):
            await session.avatar(source.avatar_id)
        stranger = arrives(space, source)
        for _ in range(10):
            await session.avatar(source.avatar_id)
        looks = {source.look_id}
        assert written == [looks, looks | {stranger.look_id}]
