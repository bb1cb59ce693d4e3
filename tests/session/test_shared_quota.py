"""Sessions of one process share the quota of their workspace, also on several loops and threads."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from internals_kit import Clock, ProcessQuota, RateLimiter
from session_kit import made

from hoox_async import HooxSession, LookRef
from hoox_async._session.process_quota import _quotas, process_quota
from hoox_async.errors import NotFound
from hoox_async.sandbox import InProcessTransport, Sandbox, Space

NO_LOOK = LookRef("avtr_none", "look_none")


async def ask(session: HooxSession, times: int) -> int:
    """Send so many reads. Returns how many requests are left after them."""
    for _ in range(times):
        with pytest.raises(NotFound):
            await session.status(NO_LOOK)
    return session.quota.remaining


async def test_a_later_session_gets_what_an_earlier_one_has_left() -> None:
    """Sessions one after the other, without a store, count each other's requests."""
    async with Sandbox(requests_per_minute=100) as sandbox:
        left = []
        for _ in range(4):
            async with sandbox.session() as session:
                left.append(await ask(session, 3))
    assert left == [97, 94, 91, 88]


async def test_sessions_that_are_open_together_share_the_quota() -> None:
    """Each of two open sessions counts the requests of the other as soon as they are sent."""
    async with (
        Sandbox(requests_per_minute=100) as sandbox,
        sandbox.session() as one,
        sandbox.session() as two,
    ):
        assert await ask(one, 3) == 97
        assert await ask(two, 3) == 94
        assert one.quota.remaining == 94


async def test_sessions_in_several_threads_share_the_quota() -> None:
    """Sessions that run on loops of their own, in several threads, count each other's requests."""
    async with Sandbox(requests_per_minute=100) as sandbox:

        async def work() -> None:
            async with sandbox.session() as session:
                await ask(session, 3)

        await asyncio.gather(*(asyncio.to_thread(asyncio.run, work()) for _ in range(3)))
        async with sandbox.session() as session:
            assert session.quota.remaining == 91


async def test_sessions_with_another_key_or_another_server_have_a_quota_of_their_own() -> None:
    """Sessions share a quota only if both their base URL and their key are the same."""
    async with Sandbox(requests_per_minute=100) as one, Sandbox(requests_per_minute=100) as two:
        async with one.session() as session:
            await ask(session, 3)
        async with two.session() as session:
            assert session.quota.remaining == 100
        async with one.session(api_key="hx_live_another") as session:
            assert session.quota.remaining == 100


async def test_a_session_with_a_transport_of_its_own_shares_no_quota() -> None:
    """Sessions that were given transports of their own do not count each other's requests."""
    for _ in range(2):
        space = Space(rng=Random(1))
        transport = InProcessTransport(space, latency=0.0)
        async with HooxSession(space.api_key, transport=transport) as session:
            ref = made(space)
            await session.status(ref)
            assert session.quota.remaining == 99


@pytest.mark.virtual_time
async def test_a_session_in_virtual_time_shares_no_quota() -> None:
    """On a loop in virtual time there is no shared quota, since its clock is not the system's."""
    assert process_quota("https://api.example", "hx_live_key", 100) is None


async def test_a_quota_is_kept_until_a_minute_after_its_last_request() -> None:
    """A shared quota is forgotten a minute after its last request, and does not contain the key."""
    key = "hx_live_" + "5ec2e7" * 10
    quota = process_quota("https://api.example", key, 100)
    assert quota is not None
    assert key not in repr(_quotas)
    rate_limiter = RateLimiter(Clock(asyncio.get_running_loop()), 100, quota=quota)
    with (await rate_limiter.acquire()).start_read():
        pass
    rate_limiter.close()
    assert not quota.is_unused()
    assert process_quota("https://api.example", key, 100) is quota
    quota.window._expiries.clear()  # type: ignore[union-attr]  # a minute passes
    assert quota.is_unused()
    process_quota("https://elsewhere.example", key, 100)
    assert process_quota("https://api.example", key, 100) is not quota


async def test_the_smallest_limit_of_the_open_sessions_is_the_limit() -> None:
    """The smallest limit of the open sessions counts; when that session closes, the next smallest does."""
    quota = ProcessQuota(100)
    clock = Clock(asyncio.get_running_loop())
    one = RateLimiter(clock, 100, quota=quota)
    two = RateLimiter(clock, 30, quota=quota)
    assert one.snapshot().limit == 30
    two.close()
    assert one.snapshot().limit == 100


@pytest.mark.virtual_time
async def test_a_waiter_is_woken_when_another_session_cancels_its_permit() -> None:
    """While a held permit uses up the quota, there is no time at which to look again."""
    quota, clock = ProcessQuota(1), Clock(asyncio.get_running_loop())
    one, two = RateLimiter(clock, 1, quota=quota), RateLimiter(clock, 1, quota=quota)
    permit = await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(100)
    assert not waiting.done()
    permit.cancel()
    await asyncio.sleep(0)
    assert (await waiting).sent_at is None
    assert clock.now() == 100.0


@pytest.mark.virtual_time
async def test_several_rate_limiters_keep_the_limit_and_each_gets_its_part() -> None:
    """Together they never send more than the limit in any minute, and none of them is starved."""
    quota, clock = ProcessQuota(100), Clock(asyncio.get_running_loop())
    sent: list[list[float]] = [[], [], []]

    async def work(rate_limiter: RateLimiter, times: list[float]) -> None:
        while True:
            with await rate_limiter.acquire_for_batch() as permit:
                permit.mark_sent()
                times.append(clock.now())

    tasks = [asyncio.create_task(work(RateLimiter(clock, 100, quota=quota), times)) for times in sent]
    await asyncio.sleep(600)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    times = sorted(at for each in sent for at in each)
    assert max(sum(first <= at < first + 60.0 for at in times) for first in times) <= 100
    assert len(times) >= 970
    assert min(len(each) for each in sent) >= 250
