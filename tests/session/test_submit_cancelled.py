"""Submissions that are cancelled, or cut off by the close: what is outstanding is recorded."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from internals_kit import IntentState, MemoryLedger, runtime_of
from session_kit import cancel_and_wait, intents, money, on_space, prompt, sends

from hoox_async import Budget, HooxSession
from hoox_async.errors import OutcomeUnknown, SessionClosed
from hoox_async.sandbox import InProcessTransport, Space

pytestmark = pytest.mark.virtual_time


async def test_cancelled_at_the_rate_limiter_nothing_is_sent() -> None:
    """A submission that is cancelled before its permit leaves no intent and no reservation."""
    async with on_space(requests_per_minute=1) as (session, space):
        await session.submit(prompt(), key="first")
        budget = Budget(10)
        task = asyncio.create_task(session.submit(prompt(), key="k", budget=budget))
        await asyncio.sleep(1)
        assert budget.reserved == 2
        await cancel_and_wait(task)
        assert money(budget) == (0, 0)
        assert await intents(session) == {"first": IntentState.ACCEPTED}
        assert sends(space, "create") == 1


async def test_a_submission_that_is_cancelled_while_it_connects_goes_on() -> None:
    """A submission that has its permit goes on to its POST although its caller was cancelled."""
    async with on_space(transport={"connect": 5.0}) as (session, space):
        task = asyncio.create_task(session.submit(prompt(), key="k"))
        await asyncio.sleep(1)
        await cancel_and_wait(task)
        await asyncio.sleep(10)
        assert await intents(session) == {"k": IntentState.ACCEPTED}
        assert len(space.ledger) == 1


async def test_the_answer_of_an_outstanding_post_is_recorded_though_its_caller_was_cancelled() -> None:
    """The answer of an outstanding POST is recorded although its caller was cancelled."""
    async with on_space(transport={"latency": 10.0}) as (session, space):
        budget = Budget(10)
        task = asyncio.create_task(session.submit(prompt(), key="k", budget=budget))
        await asyncio.sleep(1)
        await cancel_and_wait(task)
        assert await session.jobs() == []
        await asyncio.sleep(20)
        (job,) = await session.jobs()
        assert (job.key, job.ref) == ("k", space.ledger[0].ref)
        assert money(budget) == (0, 2)


async def test_a_timeout_around_a_submission_is_no_resend() -> None:
    """A submission after asyncio.timeout cut off the first one joins its POST."""
    async with on_space(transport={"latency": 10.0}) as (session, space):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await session.submit(prompt(), key="k")
        assert (await session.submit(prompt(), key="k")).ref == space.ledger[0].ref
        assert len(space.ledger) == 1


async def test_closing_lets_the_outstanding_posts_end() -> None:
    """A closing session records its outstanding POSTs, and ends what waits with SessionClosed."""
    store = MemoryLedger()
    async with on_space(transport={"latency": 10.0}, store=store, requests_per_minute=2) as (session, space):
        tasks = [asyncio.create_task(session.submit(prompt(str(n)), key=str(n))) for n in range(3)]
        await asyncio.sleep(1)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    accepted = [result for result in results if not isinstance(result, BaseException)]
    assert len(accepted) == len(space.ledger) < 3
    assert {type(result) for result in results if isinstance(result, BaseException)} == {SessionClosed}


async def test_a_cancelled_closing_leaves_what_was_outstanding_unknown() -> None:
    """A POST that a cancelled closing cut off counts as spent, and is the next session's unknown."""
    store, space, budget = MemoryLedger(), Space(rng=Random(1)), Budget(10)
    session = HooxSession(space.api_key, transport=InProcessTransport(space, latency=10.0), store=store)
    await session.__aenter__()
    task = asyncio.create_task(session.submit(prompt(), key="k", budget=budget))
    await asyncio.sleep(1)
    closing = asyncio.create_task(session.aclose())
    await asyncio.sleep(1)
    await cancel_and_wait(closing)
    with pytest.raises(OutcomeUnknown) as caught:
        await task
    assert (caught.value.key, caught.value.charged) == ("k", "maybe")
    assert money(budget) == (0, 2)
    async with on_space(space, store=store) as (session, _):
        assert [unknown.key for unknown in await session.unknowns()] == ["k"]


async def test_a_permit_that_comes_with_the_closing_sends_nothing() -> None:
    """A session that is being closed starts no attempt: credits and quota are untouched."""
    async with on_space(requests_per_minute=100) as (session, space):
        budget = Budget(10)
        runtime_of(session).submitter.posts.closed = True
        with pytest.raises(SessionClosed):
            await session.submit(prompt(), key="k", budget=budget)
        assert money(budget) == (0, 0)
        assert session.quota.remaining == 100
        assert space.requests == []
