"""The rate limiter: how long a caller waits at most, and how a wait is cancelled or ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from internals_kit import Clock, Permit, RateLimiter
from rate_limiter_kit import Crowd, virtual
from session_kit import turns

from hoox_async.errors import NotSent, RateLimited, SessionClosed


@virtual
async def test_a_wait_that_must_take_longer_than_max_wait_fails_at_once(crowd: Crowd) -> None:
    """Behind twenty others, ``max_wait=3`` raises at once, and ``retry_after`` says how long the wait is."""
    for _ in range(20):
        crowd.come("o", crowd.rate_limiter.acquire())
    await asyncio.sleep(0)
    before = crowd.now()
    with pytest.raises(NotSent) as caught:
        await crowd.rate_limiter.acquire(max_wait=3.0)
    assert crowd.now() == before
    assert caught.value.retry_after is not None
    assert 11.0 <= caught.value.retry_after <= 15.0
    assert crowd.rate_limiter.waiting == 20


@virtual
async def test_max_wait_zero_takes_a_free_permit_or_fails_at_once(crowd: Crowd) -> None:
    """With ``max_wait=0`` a free permit is taken, or NotSent is raised, without any wait."""
    before = crowd.now()
    with pytest.raises(NotSent):
        await crowd.rate_limiter.acquire(max_wait=0)
    assert crowd.now() == before
    await asyncio.sleep(1.0)
    with await crowd.rate_limiter.acquire(max_wait=0) as permit:
        permit.mark_sent()
    assert crowd.now() == before + 1.0


@virtual
async def test_a_permit_that_comes_within_max_wait_is_waited_for(crowd: Crowd) -> None:
    """The caller gets it as soon as it is free."""
    before = crowd.now()
    with await crowd.rate_limiter.acquire(max_wait=2.0) as permit:
        permit.mark_sent()
    assert 0 < crowd.now() - before <= 1.0


@virtual
async def test_a_wait_ends_after_max_wait_even_if_the_estimate_was_shorter() -> None:
    """If a pause begins meanwhile, the wait still ends after ``max_wait`` seconds."""
    crowd = Crowd()
    await crowd.use_up()
    before = crowd.now()
    waiter = asyncio.create_task(crowd.rate_limiter.acquire(max_wait=2.0))
    await asyncio.sleep(0.1)
    crowd.rate_limiter.pause(30.0, "429")
    with pytest.raises(NotSent) as caught:
        await waiter
    assert crowd.now() == pytest.approx(before + 2.0)
    assert caught.value.retry_after == pytest.approx(28.1)
    assert crowd.rate_limiter.waiting == 0


@virtual
async def test_those_behind_a_cancelled_waiter_move_up(crowd: Crowd) -> None:
    """A cancelled wait counts nothing against the quota."""
    first = crowd.come("a", crowd.rate_limiter.acquire())
    crowd.come("b", crowd.rate_limiter.acquire())
    await asyncio.sleep(0)
    left = crowd.rate_limiter.snapshot().remaining
    first.cancel()
    await asyncio.sleep(3.0)
    assert crowd.names() == "b"
    assert crowd.rate_limiter.snapshot().remaining == left - 1


@virtual
async def test_a_permit_granted_in_the_same_turn_as_the_cancellation_goes_to_the_next(crowd: Crowd) -> None:
    """If a waiter gets its permit and is cancelled in one turn of the loop, the permit is not lost."""
    first = asyncio.create_task(crowd.rate_limiter.acquire())
    crowd.come("b", crowd.rate_limiter.acquire())
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    served_at = crowd.rate_limiter.window.earliest(crowd.now())

    def serve_and_cancel() -> None:
        crowd.rate_limiter.wake()
        first.cancel()

    loop.call_at(served_at, serve_and_cancel)
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.sleep(0)
    assert crowd.served == [("b", served_at)]
    assert crowd.rate_limiter.window.held == 0


@virtual
async def test_a_waiter_that_was_just_cancelled_gets_no_permit(crowd: Crowd) -> None:
    """A permit that is free before the cancelled task has run goes to the next waiter."""
    waiters = [
        asyncio.create_task(wait)
        for wait in (crowd.rate_limiter.acquire(), crowd.rate_limiter.acquire_for_batch())
    ]
    poller = asyncio.create_task(crowd.rate_limiter.acquire_for_poller(lambda now, busy: now))
    crowd.come("b", crowd.rate_limiter.acquire_for_batch())
    await asyncio.sleep(0)
    served_at = crowd.rate_limiter.window.earliest(crowd.now())

    def cancel_and_wake() -> None:
        for waiter in (*waiters, poller):
            waiter.cancel()
        crowd.rate_limiter.wake()

    asyncio.get_running_loop().call_at(served_at, cancel_and_wake)
    ends = await asyncio.gather(*waiters, poller, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)
    assert crowd.served == [("b", served_at)]


@virtual
async def test_closing_ends_all_waits_with_session_closed(crowd: Crowd) -> None:
    """Closing ends present and later waits with SessionClosed; a permit in hand can still be used."""
    await asyncio.sleep(1.0)
    in_hand = await crowd.rate_limiter.acquire()
    await crowd.use_up()
    waits: list[Coroutine[Any, Any, Permit]] = [
        crowd.rate_limiter.acquire(),
        crowd.rate_limiter.acquire(max_wait=50.0),
        crowd.rate_limiter.acquire_for_batch(),
        crowd.rate_limiter.acquire_for_poller(lambda now, busy: math.inf),
    ]
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.sleep(0)
    crowd.rate_limiter.close()
    assert all(isinstance(end, SessionClosed) for end in await asyncio.gather(*tasks, return_exceptions=True))
    with in_hand:
        in_hand.mark_sent()
    late: list[Callable[[], Awaitable[Permit]]] = [
        crowd.rate_limiter.acquire,
        crowd.rate_limiter.acquire_for_batch,
        lambda: crowd.rate_limiter.acquire_for_poller(lambda now, busy: now),
    ]
    for wait in late:
        with pytest.raises(SessionClosed):
            await wait()


@virtual
async def test_closing_and_cancelling_in_one_turn_leave_no_unretrieved_error(crowd: Crowd) -> None:
    """A waiter that is cancelled in the turn in which the rate limiter closes just ends cancelled."""
    waiter = asyncio.create_task(crowd.rate_limiter.acquire())
    await asyncio.sleep(0)
    crowd.rate_limiter.close()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter


@virtual
async def test_a_wait_that_meets_only_429_ends_at_the_time_that_its_timer_is_set_to() -> None:
    """Floating-point rounding does not make the elapsed time a hair shorter than the timeout at that time."""
    since, timeout = 450.812, 600.0
    assert (since + timeout) - since < timeout
    clock = Clock(asyncio.get_running_loop())
    rate_limiter = RateLimiter(clock, 100)
    rate_limiter.pause(None, "the API answered 429")
    waiter = asyncio.create_task(rate_limiter.acquire(since=since, throttle_timeout=timeout))
    await turns()
    clock.now = lambda: since + timeout
    rate_limiter.wake()
    await turns()
    assert waiter.done()
    error = waiter.exception()
    assert isinstance(error, RateLimited)
    assert rate_limiter.is_final(error, since, timeout)
