"""The session's jobs and unknowns, as the store knows them."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from aioresponses import aioresponses
from door_kit import BASE
from session_kit import made, on_space, prompt
from yarl import URL

from hoox_async import HooxSession, LookEdit, LookStatus
from hoox_async._io.stores.memory import MemoryStore
from hoox_async.errors import InvalidRequest, OutcomeUnknown
from hoox_async.events import Event, LookAccepted
from hoox_async.sandbox import Fault, Space


def sent(mocked: aioresponses, method: str, path: str, **query: str) -> dict[str, Any]:
    """The JSON of the last request to this path."""
    *_, call = mocked.requests[method, URL(f"{BASE}/{path}").with_query(query or None)]
    body: dict[str, Any] = call.kwargs.get("json") or {}
    return body


@pytest.mark.virtual_time
async def test_jobs_are_what_is_accepted_and_not_settled() -> None:
    """Also after a restart, oldest first; and they can be awaited."""
    store, space = MemoryStore(), Space(rng=Random(1))
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
async def test_an_unknown_is_listed_and_settled_by_a_ref() -> None:
    """With the looks that may be its own; then the same key is that job."""
    told: list[Event] = []
    async with on_space(hooks=[told.append]) as (session, space):
        source = made(space)
        await lost(session, space, LookEdit(source, "lost"), "k")
        (unknown,) = await session.unknowns()
        assert (unknown.key, unknown.request.KIND) == ("k", "edit")
        assert unknown.sent_at is not None
        assert space.ledger[0].ref in unknown.candidates
        job = await session.resolve("k", space.ledger[0].ref)
        assert job is not None
        assert (await job).status is LookStatus.READY
        assert [event.evidence for event in told if isinstance(event, LookAccepted)] == ["user"]
        assert await session.submit(LookEdit(source, "lost"), key="k") is job
        assert await session.unknowns() == []
        assert len(space.ledger) == 1


@pytest.mark.virtual_time
async def test_an_unknown_is_sent_again_or_dropped_by_the_users_word() -> None:
    """A resend pays once more; a drop is never sent again."""
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
    """And not with a look that is another's, or with a word that says nothing."""
    async with on_space() as (session, space):
        job = await session.submit(prompt(), key="accepted")
        await lost(session, space, prompt("x"), "lost")
        for key in ("accepted", "never heard of"):
            with pytest.raises(InvalidRequest, match="key"):
                await session.drop(key)
        with pytest.raises(InvalidRequest, match="accepted"):
            await session.resolve("lost", job.ref)
        for verdict in ("sometime", 7):
            with pytest.raises(InvalidRequest):
                await session.resolve("lost", verdict)  # type: ignore[arg-type]
        assert [unknown.key for unknown in await session.unknowns()] == ["lost"]
