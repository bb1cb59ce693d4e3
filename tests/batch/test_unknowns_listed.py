"""The looks that may be a lost POST's, as people are shown them."""

from __future__ import annotations

import asyncio

import pytest
from batch_kit import QUICK, arrives, avatar, lose, opened, space_of

from hoox_async import HooxSession, LookEdit, LookRef
from hoox_async._io.stores.memory import MemoryStore
from hoox_async._session.unknowns.candidates import add_candidates
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


async def candidates(session: HooxSession) -> dict[str, set[LookRef]]:
    return {unknown.key: set(unknown.candidates) for unknown in await session.unknowns()}


async def test_candidates_are_looked_for_anew_each_time() -> None:
    """A look that shows up after the unknowns were listed once is a candidate the next time."""
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


async def test_what_is_listed_is_written_down() -> None:
    """Candidates that were listed are in a report of the store too, without those of others."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        for key in ("one", "two"):
            await lose(session, space, source, key, Fault.DROP_AFTER)
        one, two = (charge.ref for charge in space.ledger[1:])
        await session.unknowns()
        await session.resolve("one", one)
        await session.unknowns()
        assert (await session._store.get(("two",)))["two"].candidates == (two,)


async def test_an_avatar_that_cannot_be_read_has_the_candidates_of_before() -> None:
    """Candidates are kept while the avatar can't be read, except those that became another's."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        for key in ("one", "two"):
            await lose(session, space, source, key, Fault.DROP_AFTER)
        one, two = (charge.ref for charge in space.ledger[1:])
        await session.unknowns()
        await session.resolve("one", one)
        space.faults.fail_next("avatar", Fault.status(500), times=10_000)
        assert await candidates(session) == {"two": {two}}


async def test_a_baseline_hides_no_lost_look_from_the_list() -> None:
    """A look that a later baseline took in stays a candidate of the unknown."""
    space, store = space_of(), MemoryStore()
    async with opened(space, store=store) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
        lost = space.ledger[-1].ref
    await asyncio.sleep(600)
    async with opened(space, store=store, exclusive=True) as session:
        await session.submit(LookEdit(source, "next"))
        assert await candidates(session) == {"lost": {lost}}


async def test_what_one_search_retires_stays_a_candidate_of_the_others() -> None:
    """Lost outside of avatar locks and made, then one in an avatar lock: its search takes the look into
    the baseline."""
    space, store = space_of(), MemoryStore()
    async with opened(space, store=store, timeouts=QUICK) as session:
        source = await avatar(session)
        await lose(session, space, source, "outside", Fault.DROP_BEFORE)
    await asyncio.sleep(600)
    async with opened(space, store=store, exclusive=True, timeouts=QUICK) as session:
        await lose(session, space, source, "inside", Fault.DROP_BEFORE)
        late = {arrives(space, source, "late"), arrives(space, source, "later")}
        await session.submit(LookEdit(source, "next"))
        assert await candidates(session) == {"outside": late, "inside": late}


async def test_two_who_look_at_once_take_nothing_from_each_other() -> None:
    """Two who add candidates to one unknown at the same time lose none of them."""
    space = space_of()
    async with opened(space) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_BEFORE)
        as_read = (await session._store.get(("lost",)))["lost"]
        one, two = arrives(space, source), arrives(space, source)
        await add_candidates(session._store, as_read, [one])
        assert await add_candidates(session._store, as_read, [two]) == (one, two)
        assert (await session._store.get(("lost",)))["lost"].candidates == (one, two)
