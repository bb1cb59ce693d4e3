"""Reads: each takes a permit and counts, and it is retried only if that may help."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from random import Random

import pytest
from internals_kit import BeforeSend, Intent, MemoryLedger, Settle, Transition, WireRequest, WireResponse
from session_kit import made, on_space, prompt, sends

from hoox_async import HooxSession, LookRef
from hoox_async.errors import (
    ApiError,
    AuthenticationError,
    HooxError,
    NotFound,
    NotSent,
    RateLimited,
    ServerError,
    SessionClosed,
    TransportError,
    UnexpectedResponse,
)
from hoox_async.events import Answered, Event, Paused, RequestSent, Retried
from hoox_async.sandbox import Fault, InProcessTransport, Space

pytestmark = pytest.mark.virtual_time

READS: dict[str, Callable[[HooxSession, LookRef], Awaitable[object]]] = {
    "status": lambda session, ref: session.status(ref),
    "avatar": lambda session, ref: session.avatar(ref.avatar_id),
    "look": lambda session, ref: session.look(ref),
    "list": lambda session, ref: session.looks(),
}


@pytest.mark.parametrize("endpoint", READS)
@pytest.mark.parametrize(
    "fault",
    [Fault.DROP_BEFORE, Fault.ERROR_500_BEFORE, Fault.BAD_GATEWAY, Fault.REFUSED],
    ids=lambda f: f.name,
)
async def test_a_read_that_fails_is_sent_again(endpoint: str, fault: Fault) -> None:
    """A retry costs nothing, and the hooks get an event for each."""
    events: list[Event] = []
    async with on_space(hooks=[events.append]) as (session, space):
        ref = made(space)
        space.faults.fail_next(endpoint, fault, times=2)
        assert await READS[endpoint](session, ref)
        assert sends(space, endpoint) == 3
    assert [event.endpoint for event in events if isinstance(event, Retried)] == [endpoint] * 2
    assert sum(isinstance(event, RequestSent) for event in events) == 3


@pytest.mark.parametrize(
    ("fault", "error", "times"),
    [
        (Fault.DROP_BEFORE, TransportError, 4),
        (Fault.REFUSED, NotSent, 4),
        (Fault.ERROR_500_BEFORE, ServerError, 4),
        (Fault.TEAPOT, ApiError, 1),
        (Fault.REDIRECT, UnexpectedResponse, 1),
        (Fault.NOT_JSON, UnexpectedResponse, 1),
        (Fault.TRUNCATED, UnexpectedResponse, 1),
        (Fault.DEEP_JSON, UnexpectedResponse, 1),
        (Fault.HUGE, UnexpectedResponse, 1),
        (Fault.status(401), AuthenticationError, 3),  # two of them check the key
        (Fault.status(404), NotFound, 1),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_read_that_keeps_failing_ends(fault: Fault, error: type[HooxError], times: int) -> None:
    """A read that keeps failing raises the error of its last try, after a bounded number of tries."""
    async with on_space() as (session, space):
        ref = made(space)
        space.faults.fail_next("status", fault, times=100)
        with pytest.raises(error) as caught:
            await session.status(ref)
        assert caught.value.charged == "no"
        assert sends(space, "status") == times
        assert space.ledger == []


async def test_a_read_that_meets_only_429_ends_after_ten_tries_at_most() -> None:
    """A read that is answered with nothing but 429 raises `RateLimited` after ten tries at most."""
    async with on_space() as (session, space):
        ref = made(space)
        space.faults.fail_next("status", Fault.RATE_LIMITED, times=100)
        with pytest.raises(RateLimited):
            await session.status(ref)
        assert 2 <= sends(space, "status") <= 10


async def test_a_read_without_an_answer_ends() -> None:
    """A read that gets no answer raises `TransportError` after several tries of the read timeout each."""
    async with on_space(transport={"read": 2.0}) as (session, space):
        ref = made(space)
        space.faults.fail_next("status", Fault.HANG, times=100)
        began = asyncio.get_running_loop().time()
        with pytest.raises(TransportError):
            await session.status(ref)
        assert 8.0 <= asyncio.get_running_loop().time() - began <= 25.0


async def test_a_429_pauses_every_request() -> None:
    """After a 429 all requests wait for its Retry-After, and none is sent meanwhile."""
    events: list[Event] = []
    async with on_space(hooks=[events.append]) as (session, space):
        ref = made(space)
        space.faults.fail_next("status", Fault.rate_limited(retry_after=20))
        first = asyncio.create_task(session.status(ref))
        await asyncio.sleep(1.0)
        await asyncio.gather(first, session.avatar(ref.avatar_id), session.status(ref))
        times = [record.at for record in space.requests]
        assert len(times) == 4
        assert times[1] - times[0] >= 20.0
    assert [round(event.seconds) for event in events if isinstance(event, Paused)] == [20]


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.RATE_LIMITED_RETRY_AFTER], ids=lambda f: f.name)
async def test_a_429_costs_its_pause_and_no_more(fault: Fault) -> None:
    """After the pause of a 429 requests go on at the even interval, whatever its quota headers said."""
    async with on_space(requests_per_minute=100) as (session, space):
        ref = made(space)
        space.faults.fail_next("status", fault, after=20)
        await asyncio.gather(*[session.status(ref) for _ in range(60)])
        times = [record.at for record in space.requests]
        assert max(later - at for at, later in pairwise(times)) < 2.0
        assert times[-1] - times[0] < 60 * 0.61 + 2.0


async def test_hooks_get_an_event_for_each_answer() -> None:
    """Hooks get an `Answered` event with the HTTP status, the seconds that the answer took, and the look."""
    events: list[Event] = []
    async with on_space(hooks=[events.append], transport={"latency": 0.4}) as (session, space):
        ref = made(space)
        await session.status(ref)
    answered = [event for event in events if isinstance(event, Answered)]
    assert [(event.endpoint, event.status, event.looks) for event in answered] == [("status", 200, (ref,))]
    assert answered[0].seconds == pytest.approx(0.4)


async def test_a_read_without_a_connection_counts_nothing_against_the_quota() -> None:
    """A read that got no connection uses no quota, and one that was answered uses one request."""
    async with on_space(requests_per_minute=100) as (session, space):
        ref = made(space)
        space.faults.fail_next("status", Fault.REFUSED, times=4)
        with pytest.raises(NotSent):
            await session.status(ref)
        assert session.quota.remaining == 100
        await session.status(ref)
        assert session.quota.remaining == 99


async def test_a_lost_read_counts_against_the_quota() -> None:
    """A read that was lost uses quota, since the API may have received it."""
    async with on_space(requests_per_minute=100) as (session, space):
        ref = made(space)
        space.faults.fail_next("status", Fault.DROP_BEFORE)
        await session.status(ref)
        assert session.quota.remaining == 98


@pytest.mark.default_forms
async def test_the_quota_headers_of_an_answer_show_what_other_clients_use() -> None:
    """Requests of another client of the workspace lower what is left for us."""
    space = Space(rng=Random(1), requests_per_minute=100)
    async with on_space(space, requests_per_minute=100) as (session, _):
        ref = made(space)
        for _ in range(40):
            space.window.take(asyncio.get_running_loop().time())
        await session.status(ref)
        assert session.quota.remaining <= 60


async def test_an_outstanding_read_ends_with_the_session() -> None:
    """Closing ends an outstanding read at once with `SessionClosed`."""

    class Cut(InProcessTransport):
        """Its outstanding requests fail when it is closed, as those of real connections do."""

        closed: asyncio.Event

        async def start(self) -> None:
            self.closed = asyncio.Event()
            await super().start()

        async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
            await self.closed.wait()
            raise TransportError("the connection was closed")

        async def aclose(self) -> None:
            self.closed.set()
            await super().aclose()

    space = Space(rng=Random(1))
    loop = asyncio.get_running_loop()
    async with HooxSession(space.api_key, transport=Cut(space)) as session:
        task = asyncio.create_task(session.status(LookRef("avtr_1", "look_1")))
        await asyncio.sleep(1.0)
        at = loop.time()
    with pytest.raises(SessionClosed):
        await task
    assert loop.time() == at


async def test_a_read_that_is_cancelled_while_it_waits_sends_nothing() -> None:
    """A read that is cancelled while it waits for a permit sends nothing; the next read gets the permit."""
    async with on_space(requests_per_minute=1) as (session, space):
        ref = made(space)
        await session.status(ref)
        waiting = asyncio.create_task(session.status(ref))
        await asyncio.sleep(1.0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert sends(space, "status") == 1
        await session.status(ref)
        assert space.requests[1].at - space.requests[0].at >= 60.0


class SlowToSettle(MemoryLedger):
    """Returns from the write that settles an intent only a second after it."""

    async def advance(self, key: str, *steps: Transition) -> Intent:
        after = await super().advance(key, *steps)
        if isinstance(steps[-1], Settle):
            await asyncio.sleep(1)
        return after


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_waiter_learns_what_a_callers_status_request_found(leaves: bool) -> None:
    """A caller's status request ends the wait of a waiter, even if that caller is cancelled."""
    async with on_space(store=SlowToSettle()) as (session, space):
        space.hold(0.0)
        job = await session.submit(prompt())
        waiter = asyncio.create_task(job.wait(timeout=10_000))
        await asyncio.sleep(0)
        space.settle(job, "ready", asyncio.get_running_loop().time())
        began = asyncio.get_running_loop().time()
        asking = asyncio.create_task(session.status(job))
        await asyncio.sleep(0.9)
        assert not asking.done()
        if leaves:
            asking.cancel()
        assert (await waiter).ref == job.ref
        assert asyncio.get_running_loop().time() - began < 5
        if not leaves:
            assert (await asking).ref == job.ref
