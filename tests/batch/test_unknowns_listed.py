"""The looks that may be a lost POST's, as people are shown them."""

from __future__ import annotations

import pytest
from batch_kit import arrives, avatar, lose, opened, space_of
from internals_kit import runtime_of
from session_kit import store_of

from hoox_async import HooxSession, LookRef
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


async def candidates(session: HooxSession) -> dict[str, set[LookRef]]:
    return {unknown.key: set(unknown.candidates) for unknown in await session.unknowns()}


async def listed_and_one_resolved(session: HooxSession, space: Space) -> LookRef:
    """Lose two edits, list them, and resolve the first. Returns the second one's look."""
    source = await avatar(session)
    for key in ("one", "two"):
        await lose(session, space, source, key, Fault.DROP_AFTER)
    one, two = (charge.ref for charge in space.ledger[1:])
    await session.unknowns()
    await session.resolve("one", one)
    return two


async def test_candidates_are_searched_for_each_time_unknowns_are_listed() -> None:
    """A look that appears after the unknowns were listed once is a candidate the next time."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await lose(session, space, source, "one", Fault.DROP_AFTER)
        one = space.ledger[-1].ref
        await lose(session, space, source, "two", Fault.DROP_BEFORE)
        assert await candidates(session) == {"one": {one}, "two": {one}}
        two = arrives(space, source, "two")
        assert await candidates(session) == {"one": {one, two}, "two": {one, two}}
        await session.resolve("one", one)
        assert await candidates(session) == {"two": {two}}


async def test_listed_candidates_are_stored() -> None:
    """Candidates that were listed are stored, without the looks of other intents."""
    space = space_of()
    async with opened(space) as session:
        two = await listed_and_one_resolved(session, space)
        await session.unknowns()
        assert (await store_of(session).get(("two",)))["two"].candidates == (two,)


async def test_an_avatar_that_cannot_be_read_has_the_candidates_of_before() -> None:
    """Candidates are kept while the avatar can't be read, except those that became another's."""
    space = space_of()
    async with opened(space) as session:
        two = await listed_and_one_resolved(session, space)
        space.faults.fail_next("avatar", Fault.status(500), times=10_000)
        assert await candidates(session) == {"two": {two}}


async def test_candidates_that_are_added_from_an_old_reading_are_joined() -> None:
    """Candidates that are added from the same earlier reading of an unknown are joined."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_BEFORE)
        as_read = (await store_of(session).get(("lost",)))["lost"]
        one, two = arrives(space, source), arrives(space, source)
        await runtime_of(session).unknowns._add_candidates(as_read, [one])
        ages = await runtime_of(session).unknowns._add_candidates(as_read, [two])
        assert ages.candidates == (one, two)
        assert (await store_of(session).get(("lost",)))["lost"].candidates == (one, two)
