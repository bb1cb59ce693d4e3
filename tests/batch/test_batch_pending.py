"""``retry=("pending",)``: before a look is paid again, its status is asked for, free of charge."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from batch_kit import avatar, counts, edits, opened, space_of, states
from session_kit import end_faults, paid_prompts

from hoox_async import BatchItem, BatchRunner, LookEdit, LookRef, Outcome
from hoox_async.errors import AuthenticationError, GenerationFailed
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


@pytest.fixture(params=["memory", "SQLite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The options of a session: without a file the earlier run is of the same session."""
    return {} if request.param == "memory" else {"store": tmp_path / "looks.db"}


async def twice(
    space: Space, store: dict[str, Any], items: Any, between: float, **how: Any
) -> tuple[Outcome, ...]:
    """The outcomes of a second run, after a first that waited a second only; a restart between them."""
    async with opened(space, poll="awaited", **store) as session:
        first = await BatchRunner(session, look_timeout=1).run(items)
        assert counts(first) == {"pending": len(items)}
        if not store:
            await asyncio.sleep(between)
            return (await BatchRunner(session, **how).run(items)).outcomes
    await asyncio.sleep(between)
    async with opened(space, poll="awaited", **store) as session:
        return (await BatchRunner(session, **how).run(items)).outcomes


async def source_of(space: Space, store: dict[str, Any]) -> LookRef:
    async with opened(space, **store) as session:
        return await avatar(session)


async def test_a_look_that_is_ready_by_now_is_the_result(store: dict[str, Any]) -> None:
    """A PENDING look that is READY by now is the result and is not paid again, whatever ``retry`` names."""
    for retry in (["pending"], ["pending", "ready"]):
        space = space_of(10.0)
        items = edits(await source_of(space, {}), 3, f"{len(retry)}-")
        outcomes = await twice(space, store, items, 60.0, retry=retry)
        assert set(states(outcomes).values()) == {"ready"}
        assert set(paid_prompts(space).values()) == {1}
        assert {outcome.credits for outcome in outcomes} == {2}
        assert all(outcome.look and outcome.look.thumbnail_url for outcome in outcomes)
        store = {**store, "store": store["store"].with_name("other.db")} if store else {}


@pytest.mark.parametrize("retry", [["pending"], ["pending", "failed"]], ids=str)
async def test_a_look_that_failed_by_now_is_paid_again_if_retry_names_failed(
    store: dict[str, Any], retry: list[str]
) -> None:
    """A PENDING look that failed by now is paid again only if ``retry`` names ``"failed"``."""
    space = space_of(10.0)
    source = await source_of(space, {})
    items = [BatchItem("k", LookEdit(source, "k [fail]"))]
    (outcome,) = await twice(space, store, items, 60.0, retry=retry)
    rounds = len(retry)
    assert str(outcome.state) == "failed"
    assert isinstance(outcome.error, GenerationFailed)
    assert paid_prompts(space)["k [fail]"] == rounds
    assert outcome.credits == 2 * rounds


async def test_a_look_that_is_still_pending_is_paid_again(store: dict[str, Any]) -> None:
    """A look that a status request shows to be still pending is paid again."""
    space = space_of(duration=lambda index, body: 10_000.0 if index < 2 else 5.0)
    source = await source_of(space, {})
    outcomes = await twice(space, store, edits(source, 2), 60.0, retry=["pending"])
    assert set(states(outcomes).values()) == {"ready"}
    assert {outcome.credits for outcome in outcomes} == {4}
    assert {paid_prompts(space)[key] for key in ("e0", "e1")} == {2}


async def test_a_look_that_the_api_does_not_know_any_more_is_paid_again() -> None:
    """A PENDING look for which the API answers 404 is paid again."""
    space = space_of(duration=lambda index, body: 10_000.0 if index == 0 else 5.0)
    async with opened(space) as session:
        items = edits(await avatar(session), 1)
        await BatchRunner(session, look_timeout=1).run(items)
        space.faults.fail_next("status", Fault.status(404, '{"error": "Look not found"}'))
        (outcome,) = (await BatchRunner(session, retry=["pending"]).run(items)).outcomes
    assert (str(outcome.state), int(outcome.credits)) == ("ready", 4)


async def test_nothing_is_paid_where_the_status_request_fails() -> None:
    """An item whose status request fails stays PENDING with that error and is not paid again."""
    space = space_of(10_000.0)
    async with opened(space) as session:
        items = edits(await avatar(session), 1)
        await BatchRunner(session, look_timeout=1).run(items)
        space.faults.fail_next("status", Fault.ERROR_500_BEFORE, times=20)
        (outcome,) = (await BatchRunner(session, retry=["pending"]).run(items)).outcomes
        assert (str(outcome.state), int(outcome.credits)) == ("pending", 2)
        assert outcome.error is not None
        end_faults(space)
        refused = Fault.status(401, '{"error": "x", "code": "invalid_api_key"}')
        space.faults.fail_next("status", refused, times=10_000)
        (outcome,) = (await BatchRunner(session, retry=["pending"]).run(items)).outcomes
        assert str(outcome.state) == "pending"
        assert isinstance(outcome.error, AuthenticationError)
    assert paid_prompts(space)["e0"] == 1


async def test_a_pending_look_of_other_content_is_not_asked_for() -> None:
    """With ``changed="redo"`` the new content is paid whatever the status of the old look is."""
    space = space_of(10.0)
    async with opened(space) as session:
        source = await avatar(session)
        await BatchRunner(session, look_timeout=1).run([BatchItem("k", LookEdit(source, "old"))])
        await asyncio.sleep(60)
        runner = BatchRunner(session, retry=["pending"], changed="redo")
        (outcome,) = (await runner.run([BatchItem("k", LookEdit(source, "new"))])).outcomes
    assert (str(outcome.state), int(outcome.credits)) == ("ready", 4)
    assert paid_prompts(space)["new"] == 1
