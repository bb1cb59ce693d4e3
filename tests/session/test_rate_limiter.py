"""The rate limiter: who gets the next permit, and when a request counts."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from functools import partial
from itertools import pairwise

import pytest
from internals_kit import Hooks, ServerQuota
from rate_limiter_kit import INTERVAL, Crowd, most_in_a_minute, virtual

from hoox_async.errors import SessionClosed
from hoox_async.events import Event, Paused


@virtual
async def test_a_free_permit_is_given_at_once() -> None:
    """If the quota is idle, nobody waits, not even for a turn of the loop."""
    crowd = Crowd()
    with await crowd.rate_limiter.acquire() as permit:
        permit.mark_sent()
    assert permit.sent_at == 0.0
    assert crowd.rate_limiter.snapshot().remaining == 99


@virtual
async def test_permits_come_evenly(crowd: Crowd) -> None:
    """Waiters of one kind are served first come, first served, one interval apart."""
    for name in "abcdef":
        crowd.come(name, crowd.rate_limiter.acquire_for_batch())
    await asyncio.sleep(6.0)
    assert crowd.names() == "abcdef"
    times = [at for _, at in crowd.served]
    assert all(INTERVAL * 0.99 <= after - before <= INTERVAL * 1.2 for before, after in pairwise(times))


@virtual
async def test_own_requests_go_before_a_batch(crowd: Crowd) -> None:
    """A caller's own request gets its permit before the items of a batch that came earlier."""
    crowd.come("b", crowd.rate_limiter.acquire_for_batch())
    crowd.come("c", crowd.rate_limiter.acquire_for_batch())
    crowd.come("o", crowd.rate_limiter.acquire())
    await asyncio.sleep(5.0)
    assert crowd.names() == "obc"


@virtual
async def test_a_batch_is_not_starved_by_own_requests(crowd: Crowd) -> None:
    """While own requests keep coming, an item of the batch goes every ten seconds, and they go between."""
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
    """A status request that is due waits for at most about ten seconds behind own requests."""
    for _ in range(100):
        crowd.come("o", crowd.rate_limiter.acquire())
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: 0.0))
    await asyncio.sleep(15.0)
    assert 10.0 <= dict(crowd.served)["w"] <= 13.0


@virtual
async def test_a_poller_that_is_due_goes_before_a_batch(crowd: Crowd) -> None:
    """While a batch waits, the poller gets a permit from the time on that it names, and not before."""
    start = crowd.now()
    for _ in range(10):
        crowd.come("b", crowd.rate_limiter.acquire_for_batch())
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: start + 3.0 if busy else start))
    await asyncio.sleep(30.0)
    assert crowd.names().index("w") in (4, 5)
    assert crowd.names().count("b") == 10


@virtual
async def test_the_poller_takes_a_permit_that_nobody_else_can_use(crowd: Crowd) -> None:
    """Items that are not ready do not make the rate limiter busy, so that the poller goes."""
    crowd.come("b", crowd.rate_limiter.acquire_for_batch(lambda: False))
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: math.inf if busy else now))
    await asyncio.sleep(2.0)
    assert crowd.names() == "w"
    assert not crowd.rate_limiter.busy
    assert crowd.rate_limiter.waiting == 1


@virtual
async def test_the_poller_is_woken_when_its_time_comes(crowd: Crowd) -> None:
    """An idle rate limiter gives the poller its permit at exactly the time that it has named."""
    at = crowd.now() + 47.0
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: at))
    await asyncio.sleep(100.0)
    assert crowd.served == [("w", at)]


@virtual
async def test_a_poller_is_asked_again_when_the_rate_limiter_is_woken(crowd: Crowd) -> None:
    """After `wake`, a poller that was not due at all can be due now."""
    due = [math.inf]
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: due[0]))
    await asyncio.sleep(10.0)
    assert crowd.served == []
    due[0] = 0.0
    crowd.rate_limiter.wake()
    await asyncio.sleep(0)
    assert crowd.names() == "w"


@virtual
async def test_own_requests_take_free_permits_while_the_poller_is_not_due() -> None:
    """Own requests take free permits at once while the poller is not due, and it gets its permit in time."""
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
async def test_a_newcomer_does_not_take_a_free_permit_before_those_who_wait(crowd: Crowd) -> None:
    """If the loop is late and a permit is already free, it still goes to who has waited for it."""
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
    """`try_acquire` returns None and `acquire` raises `SessionClosed`, even if the quota is idle."""
    rate_limiter = Crowd().rate_limiter
    rate_limiter.close()
    assert rate_limiter.try_acquire() is None
    with pytest.raises(SessionClosed):
        await rate_limiter.acquire()


@virtual
async def test_a_second_waiting_poller_is_invalid(crowd: Crowd) -> None:
    """Only one poller can wait at a time; when it was cancelled, another one can."""
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
async def test_items_that_are_not_ready_are_passed_over(crowd: Crowd) -> None:
    """The first item that is ready goes; the others go when `wake` is called after they became ready."""
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
    """``with permit.start_read()`` keeps the permit in use as long as the read is outstanding."""
    rate_limiter = Crowd(limit=1).rate_limiter
    with suppress(OSError), (await rate_limiter.acquire()).start_read() as permit:
        await asyncio.sleep(20.0)
        raise OSError("lost")
    assert permit.sent_at == 0.0
    with (await rate_limiter.acquire()).start_read() as permit:
        pass
    assert permit.sent_at == pytest.approx(80.05)


@virtual
async def test_the_permit_of_a_read_that_was_never_sent_can_be_cancelled() -> None:
    """A read whose connection was never made then counts nothing."""
    rate_limiter = Crowd(limit=1).rate_limiter
    with (await rate_limiter.acquire()).start_read() as permit:
        permit.cancel()
    assert rate_limiter.snapshot().remaining == 1


@virtual
async def test_a_permit_counts_nothing_unless_its_request_was_sent() -> None:
    """A POST that fails before `mark_sent` counts nothing; one that fails later counts."""
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
async def test_a_429_pauses_callers_batch_and_poller() -> None:
    """Nobody gets a permit during the pause, and hooks are told of it once."""
    events: list[Event] = []
    crowd = Crowd(hooks=Hooks([events.append]))
    crowd.rate_limiter.pause(20.0, "429")
    crowd.rate_limiter.pause(20.0, "429")
    crowd.come("o", crowd.rate_limiter.acquire())
    crowd.come("b", crowd.rate_limiter.acquire_for_batch())
    crowd.come("w", crowd.rate_limiter.acquire_for_poller(lambda now, busy: now))
    await asyncio.sleep(60.0)
    assert sorted(crowd.served) == [("b", 20.0), ("o", 20.0), ("w", 20.0)]
    assert events == [Paused(20.0, "429")]


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
async def test_the_requests_of_an_earlier_process_count_for_61_seconds() -> None:
    """Send times from the store use up the limit for a minute and a second."""
    rate_limiter = Crowd(limit=10).rate_limiter
    rate_limiter.restore([-float(age) for age in range(1, 11)])
    with await rate_limiter.acquire() as permit:
        permit.mark_sent()
    assert permit.sent_at == pytest.approx(51.05)


@virtual
async def test_a_thousand_requests_take_hardly_longer_than_the_quota_requires() -> None:
    """1,000 POSTs that each take 20 ms to connect are sent within 1.01 times 0.6 s each."""
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
