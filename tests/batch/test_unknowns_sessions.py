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
from session_kit import store_of

from hoox_async import HooxSession, LookEdit, Timeouts
from hoox_async._core.intents.intent import Intent
from hoox_async._io.protocols import Store
from hoox_async._io.stores.memory import MemoryStore
from hoox_async._session import runtime_of
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
    return (await store_of(session).get((key,)))[key]


async def test_a_look_lost_in_a_shared_session_is_not_adopted_for_an_exclusive_loss(
    store: str | Store,
) -> None:
    """A look that was lost in a session that is not exclusive is not adopted for an exclusive loss."""
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


async def test_a_session_that_is_not_exclusive_ends_earlier_searches_by_sending(
    store: str | Store,
) -> None:
    """After a session that is not exclusive sent edits, an earlier loss is only given candidates."""
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


async def test_a_loss_of_a_shared_session_prevents_inference_beside_it(
    store: str | Store,
) -> None:
    """Nothing is inferred beside a loss of a session that did not end the earlier search."""
    space = space_of()
    async with exclusive(space, store) as session:
        source, other = await avatar(session), await avatar(session)
        await lose(session, space, source, "A", Fault.DROP_AFTER)
        await lose(session, space, other, "other", Fault.DROP_AFTER)
    async with opened(space, store=store, timeouts=QUICK) as session:
        avatars = runtime_of(session).reconciler.avatars
        assert isinstance(avatars, SharedAvatars)
        avatars._lost_under_lock.clear()
        await lose(session, space, source, "B", Fault.DROP_BEFORE)
    await asyncio.sleep(600)
    async with exclusive(space, store) as session:
        await session.submit(LookEdit(source, "C"), key="C")
        await session.submit(LookEdit(other, "D"), key="D")
        assert (await intent(session, "A")).ref is None
        assert (await intent(session, "other")).ref is not None


async def test_a_session_that_only_lists_unknowns_ends_no_search(store: str | Store) -> None:
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


async def test_a_look_whose_search_was_ended_early_may_still_appear(store: str | Store) -> None:
    """A late look whose search another session has ended early is not adopted for the next loss."""
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
async def test_the_late_look_of_an_abandoned_unknown_is_not_adopted(store: str | Store, word: Any) -> None:
    """After a restart within a day, the late look of an unknown that was dropped or resent is not adopted."""
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


async def test_an_unknown_dropped_a_day_ago_does_not_prevent_inference(store: str | Store) -> None:
    """After a restart a day later, a dropped unknown does not prevent inference for its avatar."""
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


async def test_a_clock_that_was_set_back_keeps_no_avatar_locked(store: str | Store) -> None:
    """An avatar whose loss lies in the future is searched and unlocked at once."""
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
