"""The one way a paid POST goes: what is sent again, and what the API refused."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from session_kit import intent_of, intents, money, on_space, prompt, sends

from hoox_async import Budget
from hoox_async._core.intents import IntentState
from hoox_async.errors import (
    ApiError,
    AuthenticationError,
    BadRequest,
    Conflict,
    InsufficientCredits,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PermissionDenied,
)
from hoox_async.events import Event, OutcomeLost, Retried
from hoox_async.sandbox import Fault

pytestmark = pytest.mark.virtual_time


# --- what is sent again


@pytest.mark.parametrize(
    "fault", [Fault.REFUSED, Fault.RATE_LIMITED, Fault.RATE_LIMITED_RETRY_AFTER], ids=str
)
async def test_what_surely_cost_nothing_is_sent_again(fault: Fault) -> None:
    """A connection that was never made, and a 429; each is back in the plan before the pause."""
    told: list[Event] = []
    async with on_space(hooks=[told.append]) as (session, space):
        space.faults.fail_next("create", fault, times=2)
        task = asyncio.create_task(session.submit(prompt(), key="k"))
        await asyncio.sleep(0.5)
        assert (await intents(session)).get("k") in (None, IntentState.PLANNED)
        job = await task
        assert (len(space.ledger), sends(space, "create")) == (1, 3)
        assert len((await intent_of(session, "k")).attempts) == (1 if fault is Fault.REFUSED else 3)
        assert job.credits == Decimal(2)
    assert sum(isinstance(event, Retried) for event in told) == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault.DROP_BEFORE, Fault.DROP_AFTER, Fault.ERROR_500_BEFORE, Fault.ERROR_500_AFTER, Fault.BAD_GATEWAY,
        Fault.HANG, Fault.HANG_BEFORE, Fault.TRUNCATED, Fault.DROP_IN_BODY, Fault.TEAPOT, Fault.REDIRECT,
        Fault.HUGE, Fault.DEEP_JSON, Fault.NOT_JSON, Fault.status(503), Fault.status(200, "{}"),
        Fault.status(201, '{"avatar_id": 5}'), Fault.status(422), Fault.status(204, " "),
    ],
    ids=lambda fault: fault.name,
)  # fmt: skip
async def test_whatever_else_happens_it_is_sent_once(fault: Fault) -> None:
    """It may have been charged: unknown at once, listed, and refused when it is tried again."""
    told: list[Event] = []
    async with on_space(hooks=[told.append], transport={"answer": 30.0}) as (session, space):
        budget = Budget(10)
        space.faults.fail_next("create", fault)
        with pytest.raises(OutcomeUnknown) as caught:
            await session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, caught.value.key) == ("maybe", "k")
        assert money(budget) == (0, 2)
        assert await intents(session) == {"k": IntentState.UNKNOWN}
        assert [unknown.key for unknown in await session.unknowns()] == ["k"]
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt(), key="k")
        assert sends(space, "create") == 1
        assert len(await session.looks()) > 0
    assert [event.key for event in told if isinstance(event, OutcomeLost)] == ["k"]


async def test_a_connection_that_is_never_made_ends_with_not_sent() -> None:
    """After some tries, and the key is free to be sent later."""
    async with on_space() as (session, space):
        budget = Budget(10)
        space.faults.fail_next("create", Fault.REFUSED, times=4)
        with pytest.raises(NotSent) as caught:
            await session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, *money(budget)) == ("no", 0, 0)
        assert sends(space, "create") == 4
        await session.submit(prompt(), key="k", budget=budget)
        assert (len(space.ledger), *money(budget)) == (1, 0, 2)


# --- refusals


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(401, '{"error": "no", "code": "invalid_api_key"}'), AuthenticationError),
        (Fault.status(402, '{"error": "no", "code": "insufficient_credits"}'), InsufficientCredits),
        (Fault.status(403, '{"error": "no", "code": "PLAN_REQUIRED"}'), PermissionDenied),
        (Fault.status(404, '{"error": "no", "code": "SPACE_NOT_FOUND"}'), NotFound),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_refusal_of_the_workspace_is_taken_back(fault: Fault, error: type[ApiError]) -> None:
    """It says nothing of the request: the same key is sent when that is mended."""
    async with on_space() as (session, space):
        budget = Budget(10)
        space.faults.fail_next("create", fault)
        space.faults.fail_next("status", fault, times=2)  # by which a key that was refused is checked
        with pytest.raises(error) as caught:
            await session.submit(prompt(), key="k", budget=budget)
        assert (caught.value.charged, *money(budget)) == ("no", 0, 0)
        assert await intents(session) == {"k": IntentState.PLANNED}
        await session.submit(prompt(), key="k")
        assert len(space.ledger) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(400, BadRequest), (403, PermissionDenied), (404, NotFound), (409, Conflict)]
)
async def test_a_refusal_of_the_request_stands(status: int, error: type[ApiError]) -> None:
    """It would be refused again: the same key gives the same error, without a request."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", Fault.status(status, '{"error": "bad", "code": "INVALID_VALUE"}'))
        for _ in range(2):
            with pytest.raises(error) as caught:
                await session.submit(prompt(), key="k")
            assert (caught.value.charged, caught.value.code) == ("no", "INVALID_VALUE")
        assert sends(space, "create") == 1
        assert space.ledger == []


async def test_a_failed_submission_without_a_key_leaves_nothing_in_memory() -> None:
    """Nobody can ask for it again."""
    async with on_space() as (session, space):
        for fault in (Fault.status(400), Fault.status(402)):
            space.faults.fail_next("create", fault)
            with pytest.raises(ApiError):
                await session.submit(prompt())
        assert await intents(session) == {}
