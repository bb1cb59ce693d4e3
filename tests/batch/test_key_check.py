"""A 401: everything waits while free requests tell whether the key is refused for good."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from batch_kit import avatar, counts, edits, opened, prompts, space_of
from session_kit import edit, intents, made, now, on_space, prompt, sends

from hoox_async import BatchRunner
from hoox_async._core.intents.intent import IntentState
from hoox_async.errors import AuthenticationError, NotSent, SessionClosed
from hoox_async.events import Paused
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time

DENIED = Fault.status(401, '{"error": "no", "code": "invalid_api_key"}')
FOR_EVER = 10**9


def deny(space: Space) -> None:
    """Every request is answered 401."""
    for endpoint in ("create", "edit", "status", "avatar", "look", "list"):
        space.faults.fail_next(endpoint, DENIED, times=FOR_EVER)


@pytest.mark.parametrize("endpoint", ["edit", "avatar", "status"])
async def test_one_401_ends_neither_a_batch_nor_a_wait(endpoint: str) -> None:
    """A check shows that the key is good: all goes on, and nothing is paid twice."""
    space = space_of(30.0)
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next(endpoint, DENIED, after=3 if endpoint == "edit" else 0)
        jobs = [await session.submit(edit(source, f"alone {n}")) for n in range(2)]
        report = await BatchRunner(session).run(edits(source, 50))
        assert [(await job).status for job in jobs] == ["ready"] * 2
    assert counts(report) == {"ready": 50}
    assert set(prompts(space).values()) == {1}


async def test_a_single_submission_outlives_a_401() -> None:
    """What was refused cost nothing; it is sent again when the key is found good."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", DENIED)
        await session.submit(prompt(), key="k")
        assert sends(space, "create") == 2
        assert len(space.ledger) == 1


async def test_nothing_goes_while_the_key_is_checked() -> None:
    """Only the free requests of the check, a few in a minute; the hooks are told."""
    told: list[Any] = []
    space = space_of(30.0)
    async with opened(space, hooks=[told.append]) as session:
        source = await avatar(session)
        await asyncio.sleep(100)
        before = len(space.requests)
        deny(space)
        report = await BatchRunner(session, look_timeout=200.0).run(edits(source, 50))
        at = [record.at for record in space.requests[before:]]
        checks = [moment for moment in at if moment - at[0] > 3.0]
    assert counts(report) == {"unsent": 50}
    assert all(isinstance(outcome.error, AuthenticationError) for outcome in report)
    assert len(at) - len(checks) <= 10  # what was on the way when the first was refused
    assert [round(moment - at[0]) for moment in checks] == [5, 16, 36, 61]
    assert [round(event.seconds) for event in told if isinstance(event, Paused)] == [60]


async def test_a_key_that_is_refused_for_a_minute_ends_all_waits() -> None:
    """Jobs, submissions and reads hear of it; what was accepted stays, and goes on with a good key."""
    async with on_space() as (session, space):
        ref = made(space)
        jobs = [await session.submit(edit(ref, f"e{n}"), key=f"e{n}") for n in range(3)]
        began = now()
        deny(space)
        ends = await asyncio.gather(
            *(job.wait(None) for job in jobs),
            session.submit(prompt(), key="k"),
            session.status(ref),
            session.avatar(ref.avatar_id),
            return_exceptions=True,
        )
        assert {type(end) for end in ends} == {AuthenticationError}
        assert 60.0 <= now() - began <= 80.0
        assert (await intents(session))["k"] is IntentState.PLANNED
        space.faults._planned.clear()
        await session.submit(prompt(), key="k")
        await asyncio.gather(*(job.wait() for job in jobs))
        assert len(space.ledger) == 4


async def test_a_key_that_never_worked_is_told_soon() -> None:
    """A typing error costs seconds and not a minute."""
    async with on_space() as (session, space):
        deny(space)
        began = now()
        with pytest.raises(AuthenticationError):
            await session.submit(prompt())
        assert now() - began <= 6.0
        assert space.ledger == []


async def test_paid_requests_alone_that_are_refused_end_too() -> None:
    """Where the check always says that the key is good, a POST is tried three times."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", DENIED, times=FOR_EVER)
        with pytest.raises(AuthenticationError):
            await session.submit(prompt())
        assert sends(space, "create") == 3


async def test_a_check_that_tells_nothing_ends_nothing() -> None:
    """A server that is down says nothing of the key: all goes on, and meets what it meets."""
    async with on_space() as (session, space):
        ref = made(space)
        space.faults.fail_next("create", DENIED)
        space.faults.fail_next("status", Fault.BAD_GATEWAY, times=2)
        await session.submit(prompt())
        assert (await session.status(ref)).ref == ref


async def test_a_bound_on_the_wait_and_the_close_hold_during_the_check() -> None:
    """``max_wait`` ends with `NotSent`, and closing ends everything at once."""
    async with on_space() as (session, space):
        ref = made(space)
        await session.status(ref)
        deny(space)
        reading = asyncio.create_task(session.status(ref))
        await asyncio.sleep(2)
        began = now()
        with pytest.raises(NotSent):
            await session.submit(prompt(), max_wait=5.0)
        assert now() - began == pytest.approx(5.0)
    assert now() - began == pytest.approx(5.0)
    with pytest.raises(SessionClosed):
        await reading
