"""Lost POSTs and restarts: the next session of the store goes on with the search."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from batch_kit import PICTURE, QUICK, arrives, avatar, edits, lose, opened, prompts, space_of

from hoox_async import BatchRunner, HooxSession, ImageAvatar, LookEdit, LookRef
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "campaign.db")


@pytest.mark.parametrize("pause", [0.0, 3.0, 10_000.0])
@pytest.mark.parametrize("fault", [Fault.DROP_AFTER, Fault.DROP_BEFORE], ids=["charged", "uncharged"])
async def test_a_restart_goes_on_with_the_search(store: str, pause: float, fault: Fault) -> None:
    """A later session goes on with the search; where its times are past, one answer decides."""
    space = space_of()
    async with opened(space, store=store, exclusive=True) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", fault)
    await asyncio.sleep(pause)
    async with opened(space, store=store, exclusive=True) as session:
        report = await BatchRunner(session).run(edits(source, 2))
        assert {str(outcome.state) for outcome in report} == {"ready"}
        unknowns = await session.unknowns()
        assert [unknown.key for unknown in unknowns] == ([] if fault.charges else ["lost"])
        if fault.charges:
            job = await session.submit(LookEdit(source, "lost"), key="lost")
            assert job.ref == space.ledger[1].ref
    assert prompts(space)["lost"] == int(fault.charges)


async def test_a_post_that_a_crash_cut_off_is_found(store: str) -> None:
    """The look of an edit that was being sent when the process ended is found by the next session."""
    space = space_of()
    transport = {"latency": 8.0}
    with suppress(TimeoutError):
        async with asyncio.timeout(12):
            async with opened(space, store=store, exclusive=True, transport=transport) as session:
                source = await avatar_at_once(session)
                task = asyncio.create_task(session.submit(LookEdit(source, "lost"), key="lost"))
                await asyncio.sleep(1.0)
                task.cancel()
                await session._open.services.posts.cancel()  # type: ignore[union-attr]
    async with opened(space, store=store, exclusive=True) as session:
        source = space.ledger[0].ref
        await session.submit(LookEdit(source, "next"))
        assert len(await session.unknowns()) == 1 - prompts(space)["lost"]


async def avatar_at_once(session: HooxSession) -> LookRef:
    return (await session.submit(ImageAvatar([PICTURE]))).ref


async def test_a_baseline_of_a_later_session_never_swallows_a_lost_look(store: str) -> None:
    """A later session searches for a lost edit before it takes the avatar's baseline."""
    space = space_of()
    async with opened(space, store=store, exclusive=True) as session:
        source = await avatar(session)
        await lose(session, space, source, "lost", Fault.DROP_AFTER)
    async with opened(space, store=store, exclusive=True) as session:
        await asyncio.gather(*(session.submit(LookEdit(source, f"p{n}")) for n in range(3)))
        assert await session.unknowns() == []


async def test_a_loss_without_avatar_locks_prevents_inference_in_a_later_session(store: str) -> None:
    """Beside an edit that was lost without its avatar's lock, nothing is inferred later."""
    space = space_of()
    async with opened(space, store=store) as session:
        source = await avatar(session)
        await lose(session, space, source, "late", Fault.DROP_BEFORE)
    async with opened(space, store=store, exclusive=True, timeouts=QUICK) as session:
        await session.submit(LookEdit(source, "a"))
        await lose(session, space, source, "lost", Fault.DROP_BEFORE)
        arrives(space, source)  # what the first one's POST made at last
        await asyncio.sleep(600)
        await BatchRunner(session).run(edits(source, 1))
        assert {unknown.key for unknown in await session.unknowns()} == {"late", "lost"}
