"""The ``timeout`` and ``max_wait`` of the public methods: what they mean, and what is refused."""

from __future__ import annotations

import asyncio
import copy
import inspect
import math
import pickle
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from session_kit import on_space, prompt

from hoox_async import (
    DEFAULT_TIMEOUT,
    Budget,
    BudgetExceeded,
    DefaultTimeout,
    HooxSession,
    InvalidRequest,
    LookJob,
    LookStatus,
    NotSent,
    Timeouts,
    WaitTimeout,
)
from hoox_async.sandbox import Space

Call = Callable[[], Awaitable[object]]
NO_SECONDS: list[Any] = ["5", b"5", math.nan, True, Decimal(5), [5], 10**400, 5j]

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("bad", NO_SECONDS, ids=lambda bad: str(type(bad)))
async def test_a_max_wait_that_is_no_number_is_refused_and_costs_nothing(bad: Any) -> None:
    """`submit`, `run` and the typed forms raise `InvalidRequest` before anything is sent."""
    space = Space(rng=Random(1))
    async with on_space(space) as (session, _):
        calls: list[Call] = [
            lambda: session.submit(prompt(), max_wait=bad),
            lambda: session.run(prompt(), max_wait=bad),
            lambda: session.create_avatar("a host", max_wait=bad),
        ]
        for call in calls:
            with pytest.raises(InvalidRequest) as caught:
                await call()
            assert (caught.value.field, caught.value.expected) == (
                "max_wait",
                "a number of seconds, or None for no limit",
            )
    assert space.requests == []


@pytest.mark.parametrize("bad", NO_SECONDS, ids=lambda bad: str(type(bad)))
async def test_a_timeout_that_is_no_number_is_refused(bad: Any) -> None:
    """`wait` and `LookJob.wait` raise `InvalidRequest`, and `run` does before it pays."""
    space = Space(rng=Random(1))
    async with on_space(space) as (session, _):
        job = await session.submit(prompt())
        calls: list[Call] = [
            lambda: session.run(prompt(), timeout=bad),
            lambda: session.wait(job, timeout=bad),
            lambda: job.wait(timeout=bad),
        ]
        for call in calls:
            with pytest.raises(InvalidRequest) as caught:
                await call()
            assert caught.value.field == "timeout"
        await job
        with pytest.raises(InvalidRequest):
            await job.wait(timeout=bad)
    assert len(space.ledger) == 1


def slow(seconds: float) -> Space:
    return Space(rng=Random(1), duration=lambda *_: seconds)


async def test_a_timeout_that_is_left_out_is_the_sessions() -> None:
    """After ``Timeouts.wait`` seconds `WaitTimeout` is raised, also where a wrapper forwards the sentinel."""
    async with on_space(slow(500), timeouts=Timeouts(wait=100.0)) as (session, _):
        job = await session.submit(prompt())
        loop = asyncio.get_running_loop()
        calls: list[Call] = [
            lambda: job.wait(),
            lambda: job.wait(DEFAULT_TIMEOUT),
            lambda: session.wait(job, timeout=DEFAULT_TIMEOUT),
        ]
        for call in calls:
            began = loop.time()
            with pytest.raises(WaitTimeout) as caught:
                await call()
            assert caught.value.seconds == 100.0
            assert loop.time() - began == pytest.approx(100.0)


async def test_a_timeout_of_none_is_no_limit() -> None:
    """With a timeout of None or infinity a wait has no limit, though ``Timeouts.wait`` is short."""
    async with on_space(slow(5000), timeouts=Timeouts(wait=1.0)) as (session, _):
        for timeout in (None, math.inf):
            look = await session.run(prompt(), timeout=timeout)
            assert look.status is LookStatus.READY
        job = await session.submit(prompt())
        assert (await session.wait(job, timeout=None)).ref == job.ref


@pytest.mark.parametrize("timeout", [0, -3, -math.inf])
async def test_a_timeout_of_zero_or_less_gives_only_a_look_that_is_done(timeout: float) -> None:
    """Any other look raises `WaitTimeout` at once. No time passes, no request is made."""
    space = slow(40)
    async with on_space(space) as (session, _):
        job = await session.submit(prompt())
        loop, asked = asyncio.get_running_loop(), len(space.requests)
        began = loop.time()
        with pytest.raises(WaitTimeout):
            await job.wait(timeout)
        assert (loop.time(), len(space.requests)) == (began, asked)
        look = await job
        assert await job.wait(timeout) is look
        assert await session.wait(job, timeout) is look


async def test_a_max_wait_below_zero_sends_now_or_not_at_all() -> None:
    """A negative ``max_wait`` sends at once or raises NotSent, and an infinite one waits."""
    async with on_space(Space(rng=Random(1), requests_per_minute=1), requests_per_minute=1) as (session, _):
        await session.submit(prompt(), max_wait=-5)
        with pytest.raises(NotSent):
            await session.submit(prompt(), max_wait=-5)
        await session.submit(prompt(), max_wait=math.inf)


async def test_run_takes_a_budget_and_a_max_wait() -> None:
    """A budget and a quota that are used up refuse the second look, as in `submit`."""
    async with on_space(Space(rng=Random(1), requests_per_minute=2), requests_per_minute=2) as (session, _):
        budget = Budget(2)
        await session.run(prompt(), budget=budget)
        with pytest.raises(BudgetExceeded):
            await session.run(prompt(), budget=budget)
        jobs = [await session.submit(prompt()) for _ in range(2)]
        assert len(jobs) == 2
        with pytest.raises(NotSent):
            await session.run(prompt(), max_wait=0)


def test_the_sentinel_is_one_value_of_its_own_type() -> None:
    """DEFAULT_TIMEOUT is one object also after pickling and copying, and is shown by name in signatures."""
    assert isinstance(DEFAULT_TIMEOUT, DefaultTimeout)
    assert list(DefaultTimeout) == [DEFAULT_TIMEOUT]
    assert pickle.loads(pickle.dumps(DEFAULT_TIMEOUT)) is DEFAULT_TIMEOUT
    assert copy.deepcopy(DEFAULT_TIMEOUT) is DEFAULT_TIMEOUT
    for method in (LookJob.wait, HooxSession.wait, HooxSession.run):
        parameter = inspect.signature(method).parameters["timeout"]
        assert repr(parameter.default) == "DEFAULT_TIMEOUT"
