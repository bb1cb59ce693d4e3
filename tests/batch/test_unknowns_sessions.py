"""Lost POSTs over several sessions of one store, exclusive or not: no look is adopted for another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from batch_kit import QUICK, arrives, avatar, lose, now, opened, prompts, space_of

from hoox_async import HooxSession, LookEdit, Timeouts
from hoox_async._core.intents.intent import Intent
from hoox_async._io.protocols import Store
from hoox_async._io.stores.memory import MemoryStore
from hoox_async._session.unknowns.avatars import SharedAvatars
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time

SLOW = Timeouts(answer=120.0, search=(2.0, 10.0, 30.0))


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str | Store:
    """One store for all sessions of a test."""
    return MemoryStore() if request.param == "memory" else str(tmp_path / "campaign.db")


@asynccontextmanager
async def exclusive(space: Space, store: str | Store, **options: Any) -> AsyncIterator[HooxSession]:
    async with opened(space, store=store, exclusive=True, **{"timeouts": QUICK, **options}) as session:
        yield session


async def intent(session: HooxSession, key: str) -> Intent:
    return (await session._store.get((key,)))[key]


async def test_a_look_lost_outside_of_avatar_locks_is_never_adopted_for_one_lost_in_a_avatar_lock(
    store: str | Store,
) -> None:
    """Exclusive, A is lost and was not made; then, not exclusive, B is lost and was."""
    space = space_of()
    async with exclusive(space, store) as session:
        source = await avatar(session)
        await lose(session, space, source, "A", Fault.DROP_BEFORE)
    async with opened(space, store=store, timeouts=QUICK) as session:
        await lose(session, space, source, "B", Fault.DROP_AFTER)
        b = space.ledger[-1].ref
    await asyncio.sleep(600)
    async with exclusive(space, store) as session:
        await session.submit(LookEdit(source, "C"), key="C")
        assert (await intent(session, "A")).ref is None
        unknowns = {unknown.key: unknown.candidates for unknown in await session.unknowns()}
    assert unknowns == {"A": (b,), "B": (b,)}


async def test_a_session_that_sends_without_avatar_locks_ends_the_search_of_earlier_ones(
    store: str | Store,
) -> None:
    """A stranger's look of that time is not taken for what was lost before: it is a candidate."""
    space = space_of()
    async with exclusive(space, store) as session:
        source, other = await avatar(session), await avatar(session)
        await lose(session, space, source, "A", Fault.DROP_BEFORE)
        await lose(session, space, other, "B", Fault.DROP_AFTER)
        b = space.ledger[-1].ref
    async with opened(space, store=store, timeouts=QUICK) as session:
        await session.submit(LookEdit(source, "next"), key="next")
        stranger = arrives(space, source, "a stranger's")
    await asyncio.sleep(600)
    async with exclusive(space, store) as session:
        await session.submit(LookEdit(source, "C"), key="C")
        await session.submit(LookEdit(other, "D"), key="D")
        assert (await intent(session, "B")).ref == b  # its avatar was left alone meanwhile
        (unknown,) = await session.unknowns()
    assert (unknown.key, unknown.candidates) == ("A", (stranger,))


async def test_one_lost_outside_of_avatar_locks_is_a_rival_of_those_that_are_searched_for(
    store: str | Store,
) -> None:
    """Nothing is inferred beside a loss of a session that did not end the earlier search."""
    space = space_of()
    async with exclusive(space, store) as session:
        source, other = await avatar(session), await avatar(session)
        await lose(session, space, source, "A", Fault.DROP_AFTER)
        await lose(session, space, other, "other", Fault.DROP_AFTER)
    async with opened(space, store=store, timeouts=QUICK) as session:
        avatars = session._ready().unknowns.avatars
        assert isinstance(avatars, SharedAvatars)
        avatars._lost_under_lock.clear()
        await lose(session, space, source, "B", Fault.DROP_BEFORE)
    await asyncio.sleep(600)
    async with exclusive(space, store) as session:
        await session.submit(LookEdit(source, "C"), key="C")
        await session.submit(LookEdit(other, "D"), key="D")
        assert (await intent(session, "A")).ref is None
        assert (await intent(session, "other")).ref is not None


async def test_a_session_that_only_looks_ends_no_search(store: str | Store) -> None:
    """Listing the unknowns in a session that is not exclusive ends no search."""
    space = space_of()
    async with exclusive(space, store) as session:
        source = await avatar(session)
        await lose(session, space, source, "A", Fault.DROP_AFTER)
        a = space.ledger[-1].ref
    async with opened(space, store=store) as session:
        assert [unknown.candidates for unknown in await session.unknowns()] == [(a,)]
    async with exclusive(space, store) as session:
        await session.submit(LookEdit(source, "next"))
        assert (await intent(session, "A")).ref == a


async def test_what_was_retired_before_its_time_may_still_show_up(store: str | Store) -> None:
    """A was lost in an avatar lock, retired by a session without avatar locks, and made after the next
    one's baseline."""
    space = space_of()
    async with exclusive(space, store, timeouts=SLOW) as session:
        source = await avatar(session)
        await lose(session, space, source, "A", Fault.DROP_BEFORE)
    async with opened(space, store=store, timeouts=SLOW) as session:
        await session.submit(LookEdit(source, "next"), key="next")
    async with exclusive(space, store, timeouts=SLOW) as session:
        await lose(session, space, source, "B", Fault.DROP_BEFORE)
        arrives(space, source, "A")
        await session.submit(LookEdit(source, "C"))
        await asyncio.sleep(600)
        assert (await intent(session, "B")).ref is None


@pytest.mark.parametrize("word", ["drop", "resend"])
async def test_what_was_given_up_is_nobody_elses_after_a_restart(store: str | Store, word: Any) -> None:
    """After a restart within a day, the late look of an abandoned unknown is not adopted."""
    space = space_of()
    async with exclusive(space, store, timeouts=SLOW) as session:
        source = await avatar(session)
        await lose(session, space, source, "A", Fault.DROP_BEFORE)
        if word == "drop":
            await session.drop("A")
        else:
            await (await session.resend("A"))
    async with exclusive(space, store, timeouts=SLOW) as session:
        await lose(session, space, source, "B", Fault.DROP_BEFORE)
        late = arrives(space, source, "A")  # the first time
        await session.submit(LookEdit(source, "C"))
        await asyncio.sleep(600)
        assert (await intent(session, "B")).ref is None
        (unknown,) = await session.unknowns()
    assert unknown.candidates == (late,)


async def test_what_was_given_up_long_ago_is_in_nobodys_way(store: str | Store) -> None:
    """After a restart days later, an abandoned unknown does not end the inference."""
    space = space_of()
    async with exclusive(space, store, timeouts=SLOW) as session:
        source = await avatar(session)
        await lose(session, space, source, "A", Fault.DROP_BEFORE)
        await session.drop("A")
    await asyncio.sleep(24 * 3600)
    async with exclusive(space, store, timeouts=SLOW) as session:
        await lose(session, space, source, "B", Fault.DROP_AFTER)
        b = space.ledger[-1].ref
        await session.submit(LookEdit(source, "C"))
        assert (await intent(session, "B")).ref == b


async def test_a_clock_that_was_set_back_keeps_no_avatar_lock_shut(store: str | Store) -> None:
    """A loss whose time lies in the future is searched for at once."""
    space = space_of()
    loop: Any = asyncio.get_running_loop()
    today = loop.epoch
    loop.epoch = today + timedelta(days=1)
    async with exclusive(space, store) as session:
        source = await avatar(session)
        await lose(session, space, source, "A", Fault.DROP_BEFORE)
    loop.epoch = today
    async with exclusive(space, store) as session:
        began = now()
        async with asyncio.timeout(3600):
            await session.submit(LookEdit(source, "B"), key="B")
        assert now() - began < 60
    assert prompts(space)["B"] == 1
