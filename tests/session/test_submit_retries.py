"""Submissions: what is sent again, and what the API refused."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from session_kit import IntentState, intent_of, intents, money, on_space, prompt, sends

from hoox_async import Budget
from hoox_async.errors import (
    ApiError,
    AuthenticationError,
    BadRequest,
    Conflict,
    InsufficientCredits,
    KeyConflict,
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
    """After no connection, or a 429, it is planned again before the pause and then sent again."""
    events: list[Event] = []
    async with on_space(hooks=[events.append]) as (session, space):
        space.faults.fail_next("create", fault, times=2)
        task = asyncio.create_task(session.submit(prompt(), key="k"))
        await asyncio.sleep(0.5)
        assert (await intents(session)).get("k") in (None, IntentState.PLANNED)
        job = await task
        assert (len(space.ledger), sends(space, "create")) == (1, 3)
        assert len((await intent_of(session, "k")).attempts) == (1 if fault is Fault.REFUSED else 3)
        assert job.credits == Decimal(2)
    assert sum(isinstance(event, Retried) for event in events) == 2


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
async def test_a_post_that_may_have_been_charged_is_sent_once(fault: Fault) -> None:
    """A POST that may have been charged is unknown at once, listed, and not sent again.

    Hooks get an OutcomeLost with the key and the request's metadata.
    """
    events: list[Event] = []
    async with on_space(hooks=[events.append], transport={"answer": 30.0}) as (session, space):
        budget = Budget(10)
        space.faults.fail_next("create", fault)
        with pytest.raises(OutcomeUnknown) as caught:
            await session.submit(prompt(metadata={"order": "7"}), key="k", budget=budget)
        assert (caught.value.charged, caught.value.key) == ("maybe", "k")
        assert money(budget) == (0, 2)
        assert await intents(session) == {"k": IntentState.UNKNOWN}
        assert [unknown.key for unknown in await session.unknowns()] == ["k"]
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt(), key="k")
        assert sends(space, "create") == 1
        assert len(await session.looks()) > 0
    lost = [event for event in events if isinstance(event, OutcomeLost)]
    assert [(event.key, event.metadata) for event in lost] == [("k", {"order": "7"})]


async def test_a_connection_that_is_never_made_ends_with_not_sent() -> None:
    """After four connections that failed it is NotSent, and can be submitted later."""
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
    """A refusal that concerns the workspace leaves the intent planned, to be sent later."""
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
async def test_a_refusal_of_the_request_does_not_burn_its_key(status: int, error: type[ApiError]) -> None:
    """After each free refusal the next submission of its key sends again, and it is paid once."""
    async with on_space() as (session, space):
        refusal = Fault.status(status, '{"error": "bad", "code": "INVALID_VALUE"}')
        space.faults.fail_next("create", refusal, times=2)
        for _ in range(2):
            with pytest.raises(error) as caught:
                await session.submit(prompt(), key="k")
            assert (caught.value.charged, caught.value.code) == ("no", "INVALID_VALUE")
            assert await intents(session) == {"k": IntentState.REJECTED}
        assert (sends(space, "create"), space.ledger) == (2, [])
        await session.submit(prompt(), key="k")
        assert (await session.submit(prompt(), key="k")).credits == 2
        assert (sends(space, "create"), len(space.ledger)) == (3, 1)


@pytest.mark.parametrize("store", [True, False], ids=["SQLite, reopened", "memory"])
async def test_a_corrected_request_goes_under_the_key_that_was_refused(tmp_path: Path, store: bool) -> None:
    """Other content is sent under a key that was refused; what is paid then holds the key."""
    how: dict[str, Any] = {"store": tmp_path / "looks.db"} if store else {}
    async with AsyncExitStack() as stack:
        session, space = await stack.enter_async_context(on_space(**how))
        space.faults.fail_next("create", Fault.status(400))
        with pytest.raises(BadRequest):
            await session.submit(prompt("wrong"), key="k")
        if store:
            await session.aclose()
            session, _ = await stack.enter_async_context(on_space(space, **how))
        job = await session.submit(prompt("right"), key="k")
        assert (await intent_of(session, "k")).request.prompt == "right"  # type: ignore[union-attr]
        with pytest.raises(KeyConflict):
            await session.submit(prompt("wrong"), key="k")
        assert (await session.submit(prompt("right"), key="k")).ref == job.ref
        assert [charge.request["prompt"] for charge in space.ledger] == ["right"]


async def test_those_that_wait_beside_a_refused_submission_get_the_same_refusal() -> None:
    """Six submissions of the same key and content make one request, and all get its refusal."""
    async with on_space(transport={"latency": 1.0}) as (session, space):
        space.faults.fail_next("create", Fault.status(400))
        same = [asyncio.create_task(session.submit(prompt(), key="k")) for _ in range(4)]
        await asyncio.sleep(0.1)
        same += [asyncio.create_task(session.submit(prompt(), key="k")) for _ in range(2)]
        results = await asyncio.gather(*same, return_exceptions=True)
        assert [type(result) for result in results] == [BadRequest] * 6
        assert sends(space, "create") == 1
        await session.submit(prompt(), key="k")
        assert (sends(space, "create"), len(space.ledger)) == (2, 1)


async def test_what_was_refused_and_then_lost_or_not_sent_is_reported_as_that() -> None:
    """A loss in the second round is an unknown; a second round that cost nothing is a refusal."""
    async with on_space() as (session, space):
        for fault, error, state in [
            (Fault.status(400), BadRequest, IntentState.REJECTED),
            (Fault.status(402), InsufficientCredits, IntentState.REJECTED),
            (Fault.DROP_AFTER, OutcomeUnknown, IntentState.UNKNOWN),
        ]:
            space.faults.fail_next("create", fault)
            with pytest.raises(error):
                await session.submit(prompt(), key="k")
            assert await intents(session) == {"k": state}
        with pytest.raises(KeyConflict):
            await session.submit(prompt("other"), key="k")
        assert sends(space, "create") == 3


async def test_a_failed_submission_without_a_key_leaves_nothing_in_memory() -> None:
    """An intent that was refused and has no key is forgotten, since nobody can ask for it."""
    async with on_space() as (session, space):
        for fault in (Fault.status(400), Fault.status(402)):
            space.faults.fail_next("create", fault)
            with pytest.raises(ApiError):
                await session.submit(prompt())
        assert await intents(session) == {}
