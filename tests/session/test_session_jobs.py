"""The jobs and unknowns of a session, by what the store knows of them."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from internals_kit import MemoryLedger
from session_kit import made, on_space, prompt

from hoox_async import HooxSession, LookEdit, LookStatus
from hoox_async.errors import InvalidRequest, OutcomeUnknown
from hoox_async.events import Event, LookAccepted
from hoox_async.sandbox import Fault, Space


@pytest.mark.virtual_time
async def test_jobs_lists_the_accepted_looks_that_are_not_settled() -> None:
    """`jobs` lists the accepted looks oldest first, also after a restart, and they can be awaited."""
    store, space = MemoryLedger(), Space(rng=Random(1))
    async with on_space(space, store=store) as (session, _):
        done = await session.submit(prompt("done"), key="done")
        await done
        for key in "abc":
            await session.submit(prompt(key), key=key)
        assert [job.key for job in await session.jobs()] == ["a", "b", "c"]
    async with on_space(space, store=store) as (session, _):
        jobs = await session.jobs()
        assert [job.key for job in jobs] == ["a", "b", "c"]
        assert {job.credits for job in jobs} == {Decimal(2)}
        await asyncio.gather(*(job.wait() for job in jobs))
        assert await session.jobs() == []


async def lost(session: HooxSession, space: Space, request: Any, key: str) -> None:
    space.faults.fail_next("edit" if isinstance(request, LookEdit) else "create", Fault.DROP_AFTER)
    with pytest.raises(OutcomeUnknown):
        await session.submit(request, key=key)


@pytest.mark.virtual_time
async def test_an_unknown_is_listed_with_its_candidates_and_resolved_by_a_ref() -> None:
    """After an unknown was resolved with its look, its key gives the job of that look."""
    events: list[Event] = []
    async with on_space(hooks=[events.append]) as (session, space):
        source = made(space)
        await lost(session, space, LookEdit(source, "lost"), "k")
        (unknown,) = await session.unknowns()
        assert (unknown.key, unknown.request.KIND) == ("k", "edit")
        assert unknown.sent_at is not None
        assert space.ledger[0].ref in unknown.candidates
        job = await session.resolve("k", space.ledger[0].ref)
        assert job is not None
        assert (await job).status is LookStatus.READY
        assert [event.evidence for event in events if isinstance(event, LookAccepted)] == ["user"]
        assert await session.submit(LookEdit(source, "lost"), key="k") is job
        assert await session.unknowns() == []
        assert len(space.ledger) == 1


@pytest.mark.virtual_time
async def test_an_unknown_is_resent_or_dropped_by_the_user() -> None:
    """A resent unknown is paid once more, and a dropped one is never sent again."""
    async with on_space() as (session, space):
        for key in ("again", "drop"):
            await lost(session, space, prompt(key), key)
        job = await session.resend("again")
        assert job is not None
        assert (await job).ref == space.ledger[2].ref
        await session.drop("drop")
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt("drop"), key="drop")
        assert await session.unknowns() == []
        assert len(space.ledger) == 3


@pytest.mark.virtual_time
async def test_only_an_unknown_can_be_resolved() -> None:
    """`drop` refuses a key that is no unknown's, and `resolve` refuses the look of another request."""
    async with on_space() as (session, space):
        job = await session.submit(prompt(), key="accepted")
        await lost(session, space, prompt("x"), "lost")
        for key in ("accepted", "no such key"):
            with pytest.raises(InvalidRequest, match="key"):
                await session.drop(key)
        with pytest.raises(InvalidRequest, match="accepted"):
            await session.resolve("lost", job.ref)
        for verdict in ("sometime", 7):
            with pytest.raises(InvalidRequest):
                await session.resolve("lost", verdict)  # type: ignore[arg-type]
        assert [unknown.key for unknown in await session.unknowns()] == ["lost"]
