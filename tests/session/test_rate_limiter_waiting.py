"""The rate limiter: how long a caller waits at most, and how a wait is given up or ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from rate_limiter_kit import Crowd, virtual

from hoox_async._session.rate_limiter import Permit
from hoox_async.errors import NotSent, SessionClosed


@virtual
async def test_max_wait_is_decided_at_once_where_that_can_be_foreseen(crowd: Crowd) -> None:
    """Behind twenty others nobody waits three seconds in vain: the error says when to come again."""
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
async def test_max_wait_zero_is_now_or_never(crowd: Crowd) -> None:
    """0 takes a permit that is free, and otherwise fails without waiting."""
    before = crowd.now()
    with pytest.raises(NotSent):
        await crowd.rate_limiter.acquire(max_wait=0)
    assert crowd.now() == before
    await asyncio.sleep(1.0)
    with await crowd.rate_limiter.acquire(max_wait=0) as permit:
        permit.mark_sent()
    assert crowd.now() == before + 1.0


@virtual
async def test_max_wait_that_is_enough_waits(crowd: Crowd) -> None:
    """A permit that comes within max_wait is taken when it comes."""
    before = crowd.now()
    with await crowd.rate_limiter.acquire(max_wait=2.0) as permit:
        permit.mark_sent()
    assert 0 < crowd.now() - before <= 1.0


@virtual
async def test_max_wait_runs_out_when_it_was_foreseen_wrongly() -> None:
    """Where a pause comes in between, the wait ends after max_wait seconds all the same."""
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
async def test_a_cancelled_waiter_gives_its_place_back(crowd: Crowd) -> None:
    """Those behind it move up; nothing is counted for it."""
    first = crowd.come("a", crowd.rate_limiter.acquire())
    crowd.come("b", crowd.rate_limiter.acquire())
    await asyncio.sleep(0)
    left = crowd.rate_limiter.snapshot().remaining
    first.cancel()
    await asyncio.sleep(3.0)
    assert crowd.names() == "b"
    assert crowd.rate_limiter.snapshot().remaining == left - 1


@virtual
async def test_a_permit_that_comes_in_the_instant_of_the_cancellation_is_given_back(crowd: Crowd) -> None:
    """Served and cancelled in the same turn of the loop: the permit goes to the next."""
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
async def test_a_waiter_just_cancelled_is_given_no_permit(crowd: Crowd) -> None:
    """A permit that comes free before the cancelled waiter has had its turn goes to the next."""
    waiters = [
        asyncio.create_task(wait)
        for wait in (crowd.rate_limiter.acquire(), crowd.rate_limiter.acquire_for_batch())
    ]
    poller = asyncio.create_task(crowd.rate_limiter.acquire_for_poller(lambda now, busy: now))
    crowd.come("b", crowd.rate_limiter.acquire_for_batch())
    await asyncio.sleep(0)
    served_at = crowd.rate_limiter.window.earliest(crowd.now())

    def cancel_and_kick() -> None:
        for waiter in (*waiters, poller):
            waiter.cancel()
        crowd.rate_limiter.wake()

    asyncio.get_running_loop().call_at(served_at, cancel_and_kick)
    ends = await asyncio.gather(*waiters, poller, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)
    assert crowd.served == [("b", served_at)]


@virtual
async def test_closing_ends_all_waits(crowd: Crowd) -> None:
    """Who waits, and who comes later, gets SessionClosed; a permit in hand can still be let go."""
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
async def test_closing_and_cancelling_together_leave_nothing_behind(crowd: Crowd) -> None:
    """A waiter cancelled in the turn in which the rate limiter closes leaves no error that nobody takes."""
    waiter = asyncio.create_task(crowd.rate_limiter.acquire())
    await asyncio.sleep(0)
    crowd.rate_limiter.close()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
