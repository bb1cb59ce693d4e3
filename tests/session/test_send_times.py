"""Send times: counted when the bytes go, and durable before them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from rate_limiter_kit import most_in_a_minute
from session_kit import edit, made, now, on_space

from hoox_async import HooxSession
from hoox_async._api.endpoints import WireRequest, WireResponse
from hoox_async._io.protocols import BeforeSend
from hoox_async._session.session import runtime_of
from hoox_async.events import Event, RequestSent
from hoox_async.sandbox import Fault, InProcessTransport, Space
from hoox_async.testing import VirtualTimeLoop

pytestmark = pytest.mark.virtual_time


def block(seconds: float) -> None:
    """Keep the loop from going on, as a call that blocks does."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop._jumping.now += seconds


class DeferredWrite(InProcessTransport):
    """Lets the loop go round between the word that it sends and the sending, as aiohttp does."""

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        async def then_turn() -> None:
            if before_send is not None:
                await before_send()
            await asyncio.sleep(0)

        return await super().send(request, then_turn if request.endpoint.paid else before_send)


@pytest.mark.parametrize("transport", [InProcessTransport, DeferredWrite])
async def test_a_hook_that_blocks_lets_no_more_requests_go(transport: type[InProcessTransport]) -> None:
    """A request counts when its bytes go, also where hooks blocked for 0.7 s at each of ten sends."""
    blocked: list[float] = []

    def hook(event: Event) -> None:
        if isinstance(event, RequestSent) and len(blocked) < 10:
            blocked.append(event.at)
            block(0.7)

    space = Space(rng=Random(1), requests_per_minute=None)
    carrier = transport(space, latency=0.02, connect=0.0)
    async with HooxSession(space.api_key, transport=carrier, hooks=[hook]) as session:
        ref = made(space)
        await asyncio.gather(*(session.submit(edit(ref, f"e{n}")) for n in range(130)))
    times = [record.at for record in space.requests if record.endpoint == "edit"]
    assert len(times) == 130
    assert most_in_a_minute([(at, at) for at in times]) <= 100


async def test_a_permit_that_was_held_while_the_loop_stood_still_is_taken_anew() -> None:
    """A permit that is older than connecting may take is replaced before SENDING is written."""
    space = Space(rng=Random(1), requests_per_minute=None)
    async with HooxSession(space.api_key, transport=InProcessTransport(space)) as session:
        ref = made(space)
        submitting = asyncio.create_task(session.submit(edit(ref)))
        await asyncio.sleep(0.01)
        block(60.0)
        await submitting
        assert runtime_of(session).services.rate_limiter.window._next_id == 2
        assert len(space.ledger) == 1


class Watched(InProcessTransport):
    """Notes before each sending how many send times are in the file."""

    path: Path
    sent = 0

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        async def check() -> None:
            if before_send is not None:
                await before_send()
            self.sent += 1
            assert self.in_file() >= self.sent

        return await super().send(request, check)

    def in_file(self) -> int:
        reader = sqlite3.connect(self.path)
        try:
            (count,) = reader.execute("SELECT count(*) FROM sends").fetchone()
            return int(count)
        finally:
            reader.close()


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[tuple[HooxSession, Space]]:
    space = Space(rng=Random(1), requests_per_minute=None)
    carrier = Watched(space)
    carrier.path = tmp_path / "sends.db"
    async with HooxSession(space.api_key, transport=carrier, store=carrier.path) as session:
        yield session, space


async def test_no_request_leaves_before_its_time_is_in_the_file(
    watched: tuple[HooxSession, Space],
) -> None:
    """A process that is killed at any moment has sent nothing that the next one does not count."""
    session, space = watched
    ref = made(space)
    await asyncio.gather(*(session.status(ref) for _ in range(10)))
    await asyncio.gather(*(session.submit(edit(ref, f"e{n}")) for n in range(5)))
    assert len(space.requests) >= 15


async def test_a_new_life_counts_each_request_once(tmp_path: Path) -> None:
    """Reads, paid requests, and those whose attempt was taken back."""
    space = Space(rng=Random(1), requests_per_minute=None)
    path = tmp_path / "lives.db"
    ref = made(space)
    for life in range(3):
        carrier = InProcessTransport(space)
        async with HooxSession(space.api_key, transport=carrier, store=path, poll="awaited") as session:
            assert session.quota.remaining == 100 - len(space.requests)
            space.faults.fail_next("edit", Fault.rate_limited(retry_after=1))
            await session.status(ref)
            await session.submit(edit(ref, f"e{life}"))
    assert len(space.requests) >= 9


async def test_a_burst_that_an_earlier_life_had_does_not_come_again(tmp_path: Path) -> None:
    """The pace goes on where it was: a program that crashes again and again gains nothing by it."""
    space = Space(rng=Random(1), requests_per_minute=None)
    ref, took = made(space), []
    for _ in range(2):
        began = now()
        carrier = InProcessTransport(space, latency=0.01)
        async with HooxSession(space.api_key, transport=carrier, store=tmp_path / "lives.db") as session:
            await asyncio.gather(*(session.status(ref) for _ in range(9)))
        took.append(now() - began)
    assert took[0] <= 0.1
    assert took[1] >= 4.0


async def test_a_fresh_store_has_its_burst() -> None:
    """Nothing was sent before: what is free goes at once."""
    async with on_space(requests_per_minute=100) as (session, space):
        ref = made(space)
        began = now()
        await asyncio.gather(*(session.status(ref) for _ in range(9)))
        assert now() - began <= 0.5
