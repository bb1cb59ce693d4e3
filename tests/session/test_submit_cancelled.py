"""The one way a paid POST goes: whoever is cancelled, what is outstanding is written down."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from session_kit import give_up, intents, money, on_space, prompt, sends

from hoox_async import Budget, HooxSession
from hoox_async._core.intents.intent import IntentState
from hoox_async._io.stores.memory import MemoryStore
from hoox_async.errors import OutcomeUnknown, SessionClosed
from hoox_async.sandbox import InProcessTransport, Space

pytestmark = pytest.mark.virtual_time


async def test_cancelled_at_the_rate_limiter_nothing_is_sent() -> None:
    """And nothing stands in the store, in the budget or in the quota."""
    async with on_space(requests_per_minute=1) as (session, space):
        await session.submit(prompt(), key="first")
        budget = Budget(10)
        task = asyncio.create_task(session.submit(prompt(), key="k", budget=budget))
        await asyncio.sleep(1)
        assert budget.reserved == 2
        await give_up(task)
        assert money(budget) == (0, 0)
        assert await intents(session) == {"first": IntentState.ACCEPTED}
        assert sends(space, "create") == 1


async def test_cancelled_before_the_connection_stands_it_goes_on() -> None:
    """The POST is the session's: a caller that leaves does not decide halfway."""
    async with on_space(transport={"connect": 5.0}) as (session, space):
        task = asyncio.create_task(session.submit(prompt(), key="k"))
        await asyncio.sleep(1)
        await give_up(task)
        await asyncio.sleep(10)
        assert await intents(session) == {"k": IntentState.ACCEPTED}
        assert len(space.ledger) == 1


async def test_cancelled_in_the_air_its_answer_is_written_down() -> None:
    """Its job is in session.jobs(), and its credits count."""
    async with on_space(transport={"latency": 10.0}) as (session, space):
        budget = Budget(10)
        task = asyncio.create_task(session.submit(prompt(), key="k", budget=budget))
        await asyncio.sleep(1)
        await give_up(task)
        assert await session.jobs() == []
        await asyncio.sleep(20)
        (job,) = await session.jobs()
        assert (job.key, job.ref) == ("k", space.ledger[0].ref)
        assert money(budget) == (0, 2)


async def test_a_timeout_around_a_submission_is_no_resend() -> None:
    """asyncio.timeout pierces everything but the session's own task."""
    async with on_space(transport={"latency": 10.0}) as (session, space):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await session.submit(prompt(), key="k")
        assert (await session.submit(prompt(), key="k")).ref == space.ledger[0].ref
        assert len(space.ledger) == 1


async def test_closing_lets_the_posts_in_the_air_end() -> None:
    """And be written down; what waits at the rate limiter ends unsent."""
    store = MemoryStore()
    async with on_space(transport={"latency": 10.0}, store=store, requests_per_minute=2) as (session, space):
        tasks = [asyncio.create_task(session.submit(prompt(str(n)), key=str(n))) for n in range(3)]
        await asyncio.sleep(1)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    accepted = [result for result in results if not isinstance(result, BaseException)]
    assert len(accepted) == len(space.ledger) < 3
    assert {type(result) for result in results if isinstance(result, BaseException)} == {SessionClosed}


async def test_a_cancelled_closing_leaves_what_was_in_the_air_unknown() -> None:
    """It is found so by the next session; the budget counts it as spent."""
    store, space, budget = MemoryStore(), Space(rng=Random(1)), Budget(10)
    session = HooxSession(space.api_key, transport=InProcessTransport(space, latency=10.0), store=store)
    await session.__aenter__()
    task = asyncio.create_task(session.submit(prompt(), key="k", budget=budget))
    await asyncio.sleep(1)
    closing = asyncio.create_task(session.aclose())
    await asyncio.sleep(1)
    await give_up(closing)
    with pytest.raises(OutcomeUnknown) as caught:
        await task
    assert (caught.value.key, caught.value.charged) == ("k", "maybe")
    assert money(budget) == (0, 2)
    async with on_space(space, store=store) as (session, _):
        assert [unknown.key for unknown in await session.unknowns()] == ["k"]


async def test_a_permit_that_comes_with_the_closing_sends_nothing() -> None:
    """Let through the rate limiter in the very moment of the end: permit and credits are given back."""
    async with on_space(requests_per_minute=100) as (session, space):
        budget = Budget(10)
        session._ready().services.posts.closed = True
        with pytest.raises(SessionClosed):
            await session.submit(prompt(), key="k", budget=budget)
        assert money(budget) == (0, 0)
        assert session.quota.remaining == 100
        assert space.requests == []
