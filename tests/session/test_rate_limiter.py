"""The rate limiter: who gets the next permit of the quota, and that nobody is lost on the way."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from functools import partial
from itertools import pairwise

import pytest
from rate_limiter_kit import GAP, Crowd, most_in_a_minute, virtual

from hoox_async._api.models import ServerQuota
from hoox_async.errors import SessionClosed


@virtual
async def test_a_free_permit_is_given_at_once() -> None:
    """Idle quota costs no waiting, and no turn of the loop."""
    crowd = Crowd()
    with await crowd.rate_limiter.acquire() as permit:
        permit.mark_sent()
    assert permit.sent_at == 0.0
    assert crowd.rate_limiter.snapshot().remaining == 99


@virtual
async def test_permits_come_evenly(crowd: Crowd) -> None:
    """Waiters of one kind are served first come, first served, one pace apart."""
    for name in "abcdef":
        crowd.come(name, crowd.rate_limiter.acquire_for_batch())
    await asyncio.sleep(6.0)
    assert crowd.names() == "abcdef"
    times = [at for _, at in crowd.served]
    assert all(GAP * 0.99 <= after - before <= GAP * 1.2 for before, after in pairwise(times))


@virtual
async def test_own_requests_go_before_a_batch(crowd: Crowd) -> None:
    """A caller's own request passes a waiting batch."""
    crowd.come("b", crowd.rate_limiter.acquire_for_batch())
    crowd.come("c", crowd.rate_limiter.acquire_for_batch())
    crowd.come("o", crowd.rate_limiter.acquire())
    await asyncio.sleep(5.0)
    assert crowd.names() == "obc"


@virtual
async def test_a_batch_is_not_starved_by_own_requests(crowd: Crowd) -> None:
    """Under a flood of own requests a batch still moves every ten seconds, and the flood too."""
    for _ in range(300):
        crowd.come("o", crowd.rate_limiter.acquire())
    for _ in range(20):
        crowd.come("b", crowd.rate_limiter.acquire_for_batch())
    await asyncio.sleep(100.0)
    waits = [at for name, at in crowd.served if name == "b"]
    assert 7 <= len(waits) <= 10
    assert crowd.names().count("o") >= 140


@virtual
async def test_a_poller_is_not_starved_by_own_requests(crowd: Crowd) -> None:
    """A status request that is worth its permit waits behind own requests for ten seconds at most."""
    for _ in range(100):
        crowd.come("o", crowd.rate_limiter.acquire())
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: 0.0))
    await asyncio.sleep(15.0)
    assert 10.0 <= dict(crowd.served)["w"] <= 13.0


@virtual
async def test_the_poller_goes_before_a_batch_when_it_is_worth_it(crowd: Crowd) -> None:
    """With a batch waiting, the poller gets a permit from the time on that it asks for, not before."""
    start = crowd.now()
    for _ in range(10):
        crowd.come("b", crowd.rate_limiter.acquire_for_batch())
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: start + 3.0 if busy else start))
    await asyncio.sleep(30.0)
    assert crowd.names().index("w") in (4, 5)
    assert crowd.names().count("b") == 10


@virtual
async def test_the_poller_takes_a_permit_that_nobody_else_can_use(crowd: Crowd) -> None:
    """Items whose avatar is not free don't make the rate limiter busy: the poller goes."""
    crowd.come("b", crowd.rate_limiter.acquire_for_batch(lambda: False))
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: math.inf if busy else now))
    await asyncio.sleep(2.0)
    assert crowd.names() == "w"
    assert not crowd.rate_limiter.busy
    assert crowd.rate_limiter.waiting == 1


@virtual
async def test_the_poller_is_woken_when_its_time_comes(crowd: Crowd) -> None:
    """An idle rate limiter sleeps until the time that the poller named, to the instant."""
    at = crowd.now() + 47.0
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: at))
    await asyncio.sleep(100.0)
    assert crowd.served == [("w", at)]


@virtual
async def test_a_kick_lets_the_poller_think_again(crowd: Crowd) -> None:
    """What was never due can become due: a kick asks again."""
    due = [math.inf]
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: due[0]))
    await asyncio.sleep(10.0)
    assert crowd.served == []
    due[0] = 0.0
    crowd.rate_limiter.wake()
    await asyncio.sleep(0)
    assert crowd.names() == "w"


@virtual
async def test_a_free_permit_is_taken_past_a_poller_who_wants_none() -> None:
    """Own requests go at once while the poller is not due; it is not even asked, and still comes in time."""
    crowd, asked = Crowd(), []

    def due(now: float, busy: bool) -> float:
        asked.append(now)
        return 30.0

    crowd.come("w", crowd.rate_limiter.acquire_for_poller(due))
    await asyncio.sleep(0)
    for _ in range(40):
        with await crowd.rate_limiter.acquire() as permit:
            permit.mark_sent()
        assert permit.sent_at == crowd.now()
        await asyncio.sleep(0.7)
    assert asked == [0.0]
    await asyncio.sleep(3.0)
    assert crowd.served == [("w", 30.0)]


@virtual
async def test_nobody_jumps_the_queue_when_a_permit_comes_free(crowd: Crowd) -> None:
    """Where the loop is late, who comes when a permit is free already goes behind those who wait for it."""
    crowd.come("a", crowd.rate_limiter.acquire())
    await asyncio.sleep(0)
    late = crowd.rate_limiter.window.earliest(crowd.now()) + 0.01
    crowd.rate_limiter.clock.now = lambda: late
    crowd.come("b", crowd.rate_limiter.acquire())
    await asyncio.sleep(0)
    crowd.rate_limiter.clock.now = asyncio.get_running_loop().time
    await asyncio.sleep(3.0)
    assert crowd.names() == "ab"


@virtual
async def test_a_closed_rate_limiter_gives_no_permit_even_if_one_is_free() -> None:
    """An idle quota does not outlive its session."""
    rate_limiter = Crowd().rate_limiter
    rate_limiter.close()
    assert rate_limiter.try_acquire() is None
    with pytest.raises(SessionClosed):
        await rate_limiter.acquire()


@virtual
async def test_two_watchers_are_a_mistake(crowd: Crowd) -> None:
    """Only one poller can wait; another can come when it has gone."""
    first = crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: math.inf))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one poller"):
        await crowd.rate_limiter.acquire_for_poller(lambda now, busy: math.inf)
    first.cancel()
    await asyncio.sleep(0)
    crowd.come("x", crowd.rate_limiter.acquire_for_poller(lambda now, busy: now))
    await asyncio.sleep(2.0)
    assert crowd.names() == "x"


@virtual
async def test_items_whose_avatar_is_not_free_are_passed_over(crowd: Crowd) -> None:
    """The first item that is ready goes; a kick tells when another one has become ready."""
    free: set[str] = {"c"}
    for name in "abc":
        crowd.come(name, crowd.rate_limiter.acquire_for_batch(partial(free.__contains__, name)))
    await asyncio.sleep(5.0)
    assert crowd.names() == "c"
    free.update("ab")
    crowd.rate_limiter.wake()
    await asyncio.sleep(5.0)
    assert crowd.names() == "cab"


@virtual
async def test_a_read_counts_from_its_start_to_a_minute_after_its_end() -> None:
    """``with permit.start_read()`` holds the permit while the read is outstanding, also when it fails."""
    rate_limiter = Crowd(limit=1).rate_limiter
    with suppress(OSError), (await rate_limiter.acquire()).start_read() as permit:
        await asyncio.sleep(20.0)
        raise OSError("lost")
    assert permit.sent_at == 0.0
    with (await rate_limiter.acquire()).start_read() as permit:
        pass
    assert permit.sent_at == pytest.approx(80.05)


@virtual
async def test_a_read_that_never_left_can_be_given_back() -> None:
    """A read whose connection was never made counts nothing."""
    rate_limiter = Crowd(limit=1).rate_limiter
    with (await rate_limiter.acquire()).start_read() as permit:
        permit.cancel()
    assert rate_limiter.snapshot().remaining == 1


@virtual
async def test_a_paid_permit_is_given_back_unless_it_was_stamped() -> None:
    """A POST that failed before its headers went out counts nothing; one that failed later counts."""
    rate_limiter = Crowd(limit=1).rate_limiter
    with suppress(OSError), await rate_limiter.acquire():
        raise OSError("refused")
    assert rate_limiter.snapshot().remaining == 1
    with suppress(OSError), await rate_limiter.acquire() as permit:
        await asyncio.sleep(3.0)
        permit.mark_sent()
        permit.mark_sent()
        permit.cancel()
        raise OSError("dropped")
    assert permit.sent_at == 3.0
    assert rate_limiter.window.earliest(3.0) == pytest.approx(63.05)


@virtual
async def test_a_429_pauses_everybody() -> None:
    """During a pause neither own requests nor batch nor poller go; on_pause is told once."""
    told: list[tuple[float, str]] = []
    crowd = Crowd(on_pause=lambda seconds, reason: told.append((seconds, reason)))
    crowd.rate_limiter.pause(20.0, "429")
    crowd.rate_limiter.pause(20.0, "429")
    crowd.come("o", crowd.rate_limiter.acquire())
    crowd.come("b", crowd.rate_limiter.acquire_for_batch())
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: now))
    await asyncio.sleep(60.0)
    assert sorted(crowd.served) == [("b", 20.0), ("o", 20.0), ("w", 20.0)]
    assert told == [(20.0, "429")]


@virtual
async def test_a_servers_count_is_compared_with_what_had_been_sent_before_its_request() -> None:
    """With two requests outstanding, the count in each answer is of the time when its request was sent."""
    crowd = Crowd()
    with await crowd.rate_limiter.acquire() as first:
        first.mark_sent()
        await asyncio.sleep(0.5)
        second = await crowd.rate_limiter.acquire()
        second.mark_sent()
    assert first.sent_at is not None
    assert second.sent_at is not None
    crowd.rate_limiter.observe(ServerQuota(100, 89, 30.0), first.sent_at)
    assert crowd.rate_limiter.snapshot().remaining == 88
    crowd.rate_limiter.observe(ServerQuota(100, 88, 30.0), second.sent_at)
    assert crowd.rate_limiter.snapshot().remaining == 88


@virtual
async def test_what_an_earlier_process_sent_counts() -> None:
    """Send times out of the store take their part of the first minute, and a second more."""
    rate_limiter = Crowd(limit=10).rate_limiter
    rate_limiter.restore([-float(age) for age in range(1, 11)])
    with await rate_limiter.acquire() as permit:
        permit.mark_sent()
    assert permit.sent_at == pytest.approx(51.05)


@virtual
async def test_a_thousand_requests_take_no_longer_than_the_quota_makes_them() -> None:
    """A batch of 1,000 POSTs with 20 ms of connecting ends within 1.01 times 0.6 s each."""
    rate_limiter = Crowd().rate_limiter
    sent: list[float] = []

    async def item() -> None:
        with await rate_limiter.acquire_for_batch() as permit:
            await asyncio.sleep(0.02)
            permit.mark_sent()
            sent.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.3)

    async with asyncio.TaskGroup() as group:
        for _ in range(1000):
            group.create_task(item())
    assert max(sent) <= 600.0 * 1.01
    assert most_in_a_minute([(at, at) for at in sent]) == 100
