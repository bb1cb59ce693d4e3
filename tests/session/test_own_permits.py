"""A caller's permits: all within the time that it has."""

from __future__ import annotations

import asyncio

import pytest

from hoox_async._io.clock import Clock
from hoox_async._session.rate_limiter import CallerPermits, RateLimiter
from hoox_async.errors import NotSent

pytestmark = pytest.mark.virtual_time


async def test_without_an_end_it_waits_as_long_as_it_takes() -> None:
    """Also through a pause of a minute."""
    rate_limiter = RateLimiter(Clock(asyncio.get_running_loop()), 100)
    take = CallerPermits(rate_limiter, None)
    rate_limiter.pause(60.0, "a test")
    began = rate_limiter.clock.now()
    (await take()).cancel()
    assert rate_limiter.clock.now() - began == pytest.approx(60.0, abs=0.1)
    assert take.left() is None


async def test_all_calls_share_one_patience() -> None:
    """What one has waited is missing for the next."""
    rate_limiter = RateLimiter(Clock(asyncio.get_running_loop()), 100)
    take = CallerPermits(rate_limiter, 5.0)
    rate_limiter.pause(3.0, "a test")
    (await take()).cancel()
    assert take.left() == pytest.approx(2.0, abs=0.1)
    rate_limiter.pause(3.0, "a test")
    with pytest.raises(NotSent):
        await take()
    await asyncio.sleep(10.0)
    assert take.left() == 0.0
    (await take()).cancel()  # free at once: that needs no patience
