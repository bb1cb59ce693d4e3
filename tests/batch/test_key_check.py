"""After a 401 everything waits while free requests find out whether the key is refused for good."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from batch_kit import avatar, counts, edits, opened, space_of
from session_kit import (
    IntentState,
    edit,
    end_faults,
    intents,
    made,
    now,
    on_space,
    paid_prompts,
    prompt,
    sends,
)

from hoox_async import BatchRunner
from hoox_async.errors import AuthenticationError, NotSent, SessionClosed
from hoox_async.events import Paused
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time

UNAUTHORIZED = Fault.status(401, '{"error": "no", "code": "invalid_api_key"}')
FOR_EVER = 10**9


def refuse_key(space: Space) -> None:
    """Answer every request with 401."""
    for endpoint in ("create", "edit", "status", "avatar", "look", "list"):
        space.faults.fail_next(endpoint, UNAUTHORIZED, times=FOR_EVER)


@pytest.mark.parametrize("endpoint", ["edit", "avatar", "status"])
async def test_one_401_ends_neither_a_batch_nor_a_wait(endpoint: str) -> None:
    """After a single 401 the check finds the key valid: all waits go on, and nothing is paid twice."""
    space = space_of(30.0)
    async with opened(space) as session:
        source = await avatar(session)
        space.faults.fail_next(endpoint, UNAUTHORIZED, after=3 if endpoint == "edit" else 0)
        jobs = [await session.submit(edit(source, f"alone {n}")) for n in range(2)]
        report = await BatchRunner(session).run(edits(source, 50))
        assert [(await job).status for job in jobs] == ["ready"] * 2
    assert counts(report) == {"ready": 50}
    assert set(paid_prompts(space).values()) == {1}


async def test_a_single_submission_outlives_a_401() -> None:
    """A POST that was answered 401 is sent again when the check has found the key valid."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", UNAUTHORIZED)
        await session.submit(prompt(), key="k")
        assert sends(space, "create") == 2
        assert len(space.ledger) == 1


async def test_nothing_but_the_check_goes_while_a_key_is_checked() -> None:
    """While a key is checked a few free requests are sent within a minute, and nothing else."""
    events: list[Any] = []
    space = space_of(30.0)
    async with opened(space, hooks=[events.append]) as session:
        source = await avatar(session)
        await asyncio.sleep(100)
        before = len(space.requests)
        refuse_key(space)
        report = await BatchRunner(session, look_timeout=200.0).run(edits(source, 50))
        at = [record.at for record in space.requests[before:]]
        checks = [moment for moment in at if moment - at[0] > 3.0]
    assert counts(report) == {"unsent": 50}
    assert all(isinstance(outcome.error, AuthenticationError) for outcome in report)
    assert len(at) - len(checks) <= 10  # what was on the way when the first was refused
    assert [round(moment - at[0]) for moment in checks] == [5, 16, 36, 61]
    assert [round(event.seconds) for event in events if isinstance(event, Paused)] == [60]


async def test_a_key_that_is_refused_for_a_minute_ends_all_waits() -> None:
    """Jobs, submissions and reads raise AuthenticationError after the key was refused for a minute."""
    async with on_space() as (session, space):
        ref = made(space)
        jobs = [await session.submit(edit(ref, f"e{n}"), key=f"e{n}") for n in range(3)]
        began = now()
        refuse_key(space)
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
        end_faults(space)
        await session.submit(prompt(), key="k")
        await asyncio.gather(*(job.wait() for job in jobs))
        assert len(space.ledger) == 4


async def test_a_key_that_never_worked_is_checked_for_seconds_only() -> None:
    """A mistyped key raises `AuthenticationError` after seconds and not after a minute."""
    async with on_space() as (session, space):
        refuse_key(space)
        began = now()
        with pytest.raises(AuthenticationError):
            await session.submit(prompt())
        assert now() - began <= 6.0
        assert space.ledger == []


async def test_a_post_that_is_refused_though_the_key_is_valid_is_tried_three_times() -> None:
    """A POST raises its third 401 where the check always finds the key valid."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", UNAUTHORIZED, times=FOR_EVER)
        with pytest.raises(AuthenticationError):
            await session.submit(prompt())
        assert sends(space, "create") == 3


async def test_a_check_that_finds_nothing_out_ends_nothing() -> None:
    """After a check that got no answer requests are sent as if the key were valid."""
    async with on_space() as (session, space):
        ref = made(space)
        space.faults.fail_next("create", UNAUTHORIZED)
        space.faults.fail_next("status", Fault.BAD_GATEWAY, times=2)
        await session.submit(prompt())
        assert (await session.status(ref)).ref == ref


async def test_max_wait_and_closing_end_waits_during_the_check() -> None:
    """``max_wait`` ends a submission with `NotSent`, and closing ends a read with `SessionClosed`."""
    async with on_space() as (session, space):
        ref = made(space)
        await session.status(ref)
        refuse_key(space)
        reading = asyncio.create_task(session.status(ref))
        await asyncio.sleep(2)
        began = now()
        with pytest.raises(NotSent):
            await session.submit(prompt(), max_wait=5.0)
        assert now() - began == pytest.approx(5.0)
    assert now() - began == pytest.approx(5.0)
    with pytest.raises(SessionClosed):
        await reading
