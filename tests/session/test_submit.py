"""Submissions: keys, budgets, waits and events. At most one paid send, or an unknown is reported."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from internals_kit import IntentState, MemoryLedger
from session_kit import cancel_and_wait, edit, intents, made, money, now, on_space, prompt, sends, turns

from hoox_async import Budget, ImageAvatar
from hoox_async.errors import (
    BudgetExceeded,
    InvalidRequest,
    KeyConflict,
    NotSent,
    OutcomeUnknown,
)
from hoox_async.events import Event, LookAccepted, RequestSent
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time


# --- keys


async def test_the_same_key_is_the_same_job() -> None:
    """A key that is submitted again gives the same job, is sent once and is charged once."""
    async with on_space() as (session, space):
        job = await session.submit(prompt(), key="k")
        assert await session.submit(prompt(), key="k") is job
        await job
        assert await session.submit(prompt(), key="k") is job
        failed = await session.submit(prompt("[fail]"), key="f")
        await asyncio.gather(failed.wait(), return_exceptions=True)
        assert await session.submit(prompt("[fail]"), key="f") is failed
        assert len(space.ledger) == 2


async def test_the_same_key_at_the_same_time_is_sent_once() -> None:
    """Twenty submissions of one key at the same time make one request and one look."""
    async with on_space() as (session, space):
        jobs = await asyncio.gather(*(session.submit(prompt(), key="k") for _ in range(20)))
        assert len({job.ref for job in jobs}) == 1
        assert (len(space.ledger), sends(space, "create")) == (1, 1)


async def test_without_a_key_each_call_is_a_new_look() -> None:
    """Submissions without a key are paid one by one, also those with the same content."""
    async with on_space() as (session, space):
        jobs = await asyncio.gather(*(session.submit(prompt()) for _ in range(3)))
        assert len({job.ref for job in jobs}) == len(space.ledger) == 3


async def test_a_key_survives_its_first_callers_cancellation() -> None:
    """A caller that comes after the first one was cancelled joins the POST that is outstanding."""
    async with on_space(transport={"latency": 10.0}) as (session, space):
        first = asyncio.create_task(session.submit(prompt(), key="k"))
        await asyncio.sleep(1)
        await cancel_and_wait(first)
        job = await session.submit(prompt(), key="k")
        assert job.ref == space.ledger[0].ref
        assert sends(space, "create") == 1


async def test_a_key_with_other_content_is_a_conflict() -> None:
    """Another prompt, kind, source or resolution is a conflict; other metadata and webhook are none."""
    async with on_space() as (session, space):
        ref, other = made(space), made(space)
        await session.submit(edit(ref, metadata={"a": "b"}), key="k")
        await session.submit(edit(ref, metadata={"c": "d"}, webhook_url="https://me.example"), key="k")
        for request in (edit(ref, "another scene"), edit(other), prompt(), edit(ref, resolution="4K")):
            with pytest.raises(KeyConflict) as caught:
                await session.submit(request, key="k")
            assert (caught.value.key, caught.value.charged) == ("k", "no")
        assert len(space.ledger) == 1


async def test_a_key_holds_over_a_restart() -> None:
    """A later session with the same store knows what was paid under a key, and what was lost."""
    store, space = MemoryLedger(), Space(rng=Random(1))
    async with on_space(space, store=store) as (session, _):
        job = await session.submit(prompt("a"), key="a")
        space.faults.fail_next("create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt("b"), key="b")
    async with on_space(space, store=store) as (session, _):
        assert (await session.submit(prompt("a"), key="a")).ref == job.ref
        with pytest.raises(OutcomeUnknown) as caught:
            await session.submit(prompt("b"), key="b")
        assert caught.value.key == "b"
        with pytest.raises(KeyConflict):
            await session.submit(prompt("c"), key="a")
    assert len(space.ledger) == 2


@pytest.mark.parametrize("key", ["", "  ", 7, b"k"])
async def test_a_key_is_text(key: Any) -> None:
    """A key that is empty or is no text is refused before anything is sent."""
    async with on_space() as (session, space):
        with pytest.raises(InvalidRequest, match="key"):
            await session.submit(prompt(), key=key)
        assert space.requests == []


async def test_a_budget_is_a_budget() -> None:
    """A bare number is refused as a budget, since several submissions could not share it."""
    async with on_space() as (session, space):
        with pytest.raises(InvalidRequest, match="budget"):
            await session.submit(prompt(), budget=10)  # type: ignore[arg-type]
        assert space.requests == []


async def test_what_is_no_request_is_refused() -> None:
    """Values that are no requests, and an edit of another item's key, are refused unsent."""
    async with on_space() as (session, space):
        for request in ("a prompt", None, made(space), edit("an item's key")):  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest):
                await session.submit(request)  # type: ignore[arg-type]
        assert space.requests == []


# --- money and time


async def test_a_budget_is_shared() -> None:
    """Submissions with one budget never pass its cap together, and what is refused is not sent."""
    async with on_space() as (session, space):
        budget = Budget(5)
        results = await asyncio.gather(
            *(session.submit(prompt(str(n)), budget=budget) for n in range(5)), return_exceptions=True
        )
        assert sum(isinstance(result, BudgetExceeded) for result in results) == 3
        assert (float(space.credits_spent), *money(budget)) == (4, 0, 4)
        await session.submit(ImageAvatar(["https://example.com/a.jpg"]), budget=budget)
        assert budget.spent == 4


async def test_max_wait_bounds_the_wait_for_the_quota() -> None:
    """A wait that is foreseen to be too long is NotSent at once; one that fits is waited."""
    async with on_space(requests_per_minute=2) as (session, space):
        for text in "ab":
            await session.submit(prompt(text))
        began = now()
        with pytest.raises(NotSent) as caught:
            await session.submit(prompt("c"), key="c", max_wait=10)
        assert caught.value.retry_after is not None
        assert 10 < caught.value.retry_after <= 61
        assert now() - began <= 10
        await session.submit(prompt("c"), key="c", max_wait=120)
        assert len(space.ledger) == 3


async def test_a_429_does_not_outlast_max_wait() -> None:
    """The pause of a 429 that is longer than max_wait ends the submission with NotSent."""
    async with on_space() as (session, space):
        space.faults.fail_next("create", Fault.rate_limited(retry_after=50), times=9)
        with pytest.raises(NotSent) as caught:
            await session.submit(prompt(), key="k", max_wait=5)
        assert caught.value.retry_after
        assert await intents(session) == {"k": IntentState.PLANNED}
        assert sends(space, "create") == 1


# --- events, and batches


async def test_the_events_of_a_submission() -> None:
    """Hooks get one RequestSent and one LookAccepted, both with the key."""
    events: list[Event] = []
    async with on_space(hooks=[events.append]) as (session, space):
        await session.submit(prompt(metadata={"who": "me"}), key="k")
    (sent,) = [event for event in events if isinstance(event, RequestSent)]
    (accepted,) = [event for event in events if isinstance(event, LookAccepted)]
    assert (sent.endpoint, sent.key, accepted.key) == ("create", "k", "k")
    assert (accepted.ref, accepted.evidence) == (space.ledger[0].ref, "answer")
    assert accepted.credits == 2
    assert accepted.metadata == {"who": "me"}


async def test_a_batch_and_a_single_submission_of_one_key_are_sent_once() -> None:
    """A batch item and a submission of the same key at the same time share one POST."""
    from hoox_async import BatchItem, BatchRunner

    async with on_space() as (session, space):
        run = asyncio.create_task(BatchRunner(session).run([BatchItem("k", prompt())]))
        await turns(5)
        job, report = await asyncio.gather(session.submit(prompt(), key="k"), run)
        assert len(space.ledger) == sends(space, "create") == 1
        assert [outcome.ref for outcome in report.outcomes] == [job.ref]
