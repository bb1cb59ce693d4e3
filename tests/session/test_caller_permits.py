"""All permits of one caller are waited for within its one ``max_wait``."""

from __future__ import annotations

import asyncio

import pytest
from internals_kit import Clock, RateLimiter

from hoox_async._session.rate_limiter import CallerPermits
from hoox_async.errors import NotSent

pytestmark = pytest.mark.virtual_time


async def test_without_max_wait_a_caller_waits_as_long_as_it_takes() -> None:
    """A caller without ``max_wait`` waits through a pause of a minute."""
    rate_limiter = RateLimiter(Clock(asyncio.get_running_loop()), 100)
    permits = CallerPermits(rate_limiter, None)
    rate_limiter.pause(60.0, "a test")
    began = rate_limiter.clock.now()
    (await permits()).cancel()
    assert rate_limiter.clock.now() - began == pytest.approx(60.0, abs=0.1)
    assert permits.left() is None


async def test_all_permits_of_a_caller_share_its_max_wait() -> None:
    """Seconds that one permit was waited for are not left for the next one."""
    rate_limiter = RateLimiter(Clock(asyncio.get_running_loop()), 100)
    permits = CallerPermits(rate_limiter, 5.0)
    rate_limiter.pause(3.0, "a test")
    (await permits()).cancel()
    assert permits.left() == pytest.approx(2.0, abs=0.1)
    rate_limiter.pause(3.0, "a test")
    with pytest.raises(NotSent):
        await permits()
    await asyncio.sleep(10.0)
    assert permits.left() == 0.0
    (await permits()).cancel()  # it is free at once, so that no time is needed
