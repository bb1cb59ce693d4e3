"""A search that ended without a find ends the inference for its avatar, until its unknown is resolved.

The look of such a POST may show up at any later time. It is taken for no other one's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from batch_kit import QUICK, arrives, avatar, lose, opened, space_of
from session_kit import store_of

from hoox_async import BatchRunner, HooxSession, LookEdit, LookRef
from hoox_async._core.intents.intent import Evidence, Intent, IntentState
from hoox_async._io.protocols import Store
from hoox_async._io.stores.memory import MemoryStore
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time

DAY = 24 * 3600.0


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


async def lose_in_vain(session: HooxSession, space: Space, source: LookRef, key: str) -> None:
    """Lose an edit that the API has not taken yet, and search for it until that ends."""
    await lose(session, space, source, key, Fault.DROP_BEFORE)
    await session.submit(LookEdit(source, f"after {key}"), key=f"after {key}")
    assert (await intent(session, key)).search_ended


async def is_adopted(session: HooxSession, space: Space, source: LookRef, key: str) -> bool:
    """Lose an edit that was made, and see whether its look is told by elimination."""
    await lose(session, space, source, key, Fault.DROP_AFTER)
    made = space.ledger[-1].ref
    await session.submit(LookEdit(source, f"after {key}"), key=f"after {key}")
    await BatchRunner(session).run([])
    found = await intent(session, key)
    assert found.ref in (None, made)
    assert (found.evidence is Evidence.INFERRED) is (found.ref is not None)
    return found.ref is not None


@pytest.mark.parametrize("restarts", [False, True], ids=["same session", "restarted"])
@pytest.mark.parametrize("pause", [0.0, 180.0, 10 * DAY])
async def test_a_look_that_appears_late_is_not_adopted_for_another_edit(
    store: str | Store, restarts: bool, pause: float
) -> None:
    """A look that appears after its search ended is not adopted for the next lost edit."""
    space = space_of()
    async with exclusive(space, store) as session:
        source, other = await avatar(session), await avatar(session)
        await lose_in_vain(session, space, source, "A")
        if not restarts:
            await asyncio.sleep(pause)
            await late_look_of_a(session, space, source)
            assert await is_adopted(session, space, other, "another avatar's")
    if restarts:
        await asyncio.sleep(pause)
        async with exclusive(space, store) as session:
            await late_look_of_a(session, space, source)
            assert await is_adopted(session, space, other, "another avatar's")


async def late_look_of_a(session: HooxSession, space: Space, source: LookRef) -> None:
    await lose(session, space, source, "B", Fault.DROP_BEFORE)
    late = arrives(space, source, "A")
    await session.submit(LookEdit(source, "C"))
    await asyncio.sleep(600)
    assert (await intent(session, "B")).state is IntentState.UNKNOWN
    assert {unknown.key: unknown.candidates for unknown in await session.unknowns()} == {
        "A": (late,),
        "B": (late,),
    }


@pytest.mark.parametrize("restarts", [False, True], ids=["same session", "restarted"])
async def test_with_its_look_named_the_inference_goes_on(store: str | Store, restarts: bool) -> None:
    """After the user has named the unknown's look, lost edits of the avatar are inferred again."""
    space = space_of()
    async with exclusive(space, store) as session:
        source = await avatar(session)
        await lose_in_vain(session, space, source, "A")
        late = arrives(space, source, "A")
        await session.resolve("A", late)
        if not restarts:
            assert await is_adopted(session, space, source, "B")
    if restarts:
        async with exclusive(space, store) as session:
            assert await is_adopted(session, space, source, "B")


async def test_each_unknown_of_the_avatar_has_to_be_resolved(store: str | Store) -> None:
    """Inference goes on only when every unknown of the avatar that nobody searches for is settled."""
    space = space_of()
    async with exclusive(space, store) as session:
        source = await avatar(session)
        await lose_in_vain(session, space, source, "A")
        await lose(session, space, source, "B", Fault.DROP_BEFORE)
        await session.resolve("A", arrives(space, source, "A"))
        assert not await is_adopted(session, space, source, "C")
        c = space.ledger[-2].ref
        await session.resolve("B", arrives(space, source, "B"))
        assert not await is_adopted(session, space, source, "D")
        d = space.ledger[-2].ref
        await session.resolve("C", c)
        await session.resolve("D", d)
        assert await is_adopted(session, space, source, "E")


@pytest.mark.parametrize("restarts", [False, True], ids=["same session", "restarted"])
@pytest.mark.parametrize("word", ["drop", "resend"])
async def test_the_late_look_of_a_dropped_or_resent_unknown_is_not_adopted(
    store: str | Store, word: str, restarts: bool
) -> None:
    """The look of an unknown that was dropped or resent is not adopted for another within a day."""
    space = space_of()
    async with exclusive(space, store) as session:
        source = await avatar(session)
        await lose_in_vain(session, space, source, "A")
        await give_up(session, word)
        if not restarts:
            await shows_up_late(session, space, source)
    if restarts:
        await asyncio.sleep(0.9 * DAY)
        async with exclusive(space, store) as session:
            await shows_up_late(session, space, source)


async def give_up(session: HooxSession, word: str) -> None:
    if word == "drop":
        await session.drop("A")
    else:
        await session.resend("A")


async def shows_up_late(session: HooxSession, space: Space, source: LookRef) -> None:
    await lose(session, space, source, "B", Fault.DROP_BEFORE)
    arrives(space, source, "A")  # the first time
    await session.submit(LookEdit(source, "C"))
    await asyncio.sleep(600)
    assert (await intent(session, "B")).ref is None


@pytest.mark.parametrize("word", ["drop", "resend"])
async def test_a_day_after_a_drop_or_resend_inference_goes_on(store: str | Store, word: str) -> None:
    """A day after an unknown was dropped or resent, lost edits of its avatar are inferred again."""
    space = space_of()
    async with exclusive(space, store) as session:
        source = await avatar(session)
        await lose_in_vain(session, space, source, "A")
        await give_up(session, word)
    await asyncio.sleep(DAY)
    async with exclusive(space, store) as session:
        assert await is_adopted(session, space, source, "B")


async def test_a_resend_that_cost_nothing_still_prevents_inference(store: str | Store) -> None:
    """After a resend that cost nothing the unknown still prevents inference, in later sessions too."""
    space = space_of()
    async with exclusive(space, store) as session:
        source = await avatar(session)
        await lose_in_vain(session, space, source, "A")
        space.faults.fail_next("edit", Fault.status(402))
        with pytest.raises(Exception, match="402"):
            await session.resend("A")
        assert not await is_adopted(session, space, source, "B")
        await session.resolve("B", space.ledger[-2].ref)
    await asyncio.sleep(3 * DAY)
    async with exclusive(space, store) as session:
        assert not await is_adopted(session, space, source, "C")


async def test_a_dropped_one_whose_look_is_named_after_all_is_resolved(store: str | Store) -> None:
    """A dropped unknown whose look is named later ends no inference in the next session."""
    space = space_of()
    async with exclusive(space, store) as session:
        source = await avatar(session)
        await lose_in_vain(session, space, source, "A")
        await session.drop("A")
        await session.resolve("A", arrives(space, source, "A"))
    async with exclusive(space, store) as session:
        assert await is_adopted(session, space, source, "B")
