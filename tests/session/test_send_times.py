"""Send times are counted when the bytes leave, and are durable before that."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from internals_kit import BeforeSend, WireRequest, WireResponse, runtime_of
from rate_limiter_kit import most_in_a_minute
from session_kit import edit, made, now, on_space

from hoox_async import HooxSession
from hoox_async.events import Event, RequestSent
from hoox_async.sandbox import Fault, InProcessTransport, Space
from hoox_async.testing import VirtualTimeLoop

pytestmark = pytest.mark.virtual_time


def block(seconds: float) -> None:
    """Let time pass without a turn of the loop, as a blocking call does."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop._jumping.now += seconds


class DelayedWrite(InProcessTransport):
    """Lets the loop turn once between ``before_send`` and the sending, as aiohttp does."""

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        async def then_turn() -> None:
            if before_send is not None:
                await before_send()
            await asyncio.sleep(0)

        return await super().send(request, then_turn if request.endpoint.paid else before_send)


@pytest.mark.parametrize("transport", [InProcessTransport, DelayedWrite])
async def test_a_hook_that_blocks_lets_no_more_requests_go(transport: type[InProcessTransport]) -> None:
    """A request counts from when its bytes leave, also if hooks block for 0.7 s at each of ten sends."""
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


async def test_a_permit_that_was_held_while_the_loop_stood_still_is_replaced_before_sending() -> None:
    """The POST waits for a second permit before SENDING is written, and is sent once."""
    space = Space(rng=Random(1), requests_per_minute=None)
    async with HooxSession(space.api_key, transport=InProcessTransport(space)) as session:
        ref = made(space)
        submitting = asyncio.create_task(session.submit(edit(ref)))
        await asyncio.sleep(0.01)
        block(60.0)
        await submitting
        assert runtime_of(session).rate_limiter.window._last_permit == 2  # type: ignore[union-attr]
        assert len(space.ledger) == 1


_TIMES = "SELECT (SELECT count(*) FROM sends) + (SELECT count(*) FROM attempts)"


class FileReader(InProcessTransport):
    """Checks before each sending that its send time is in the store's file."""

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
            (count,) = reader.execute(_TIMES).fetchone()
            return int(count)
        finally:
            reader.close()


@pytest.fixture
async def with_file(tmp_path: Path) -> AsyncIterator[tuple[HooxSession, Space]]:
    space = Space(rng=Random(1), requests_per_minute=None)
    carrier = FileReader(space)
    carrier.path = tmp_path / "sends.db"
    async with HooxSession(space.api_key, transport=carrier, store=carrier.path) as session:
        yield session, space


async def test_no_request_leaves_before_its_time_is_in_the_file(
    with_file: tuple[HooxSession, Space],
) -> None:
    """However a process is killed, the next one counts every request that it sent."""
    session, space = with_file
    ref = made(space)
    await asyncio.gather(*(session.status(ref) for _ in range(10)))
    await asyncio.gather(*(session.submit(edit(ref, f"e{n}")) for n in range(5)))
    assert len(space.requests) >= 15


async def test_the_next_session_on_a_store_counts_each_earlier_request_once(tmp_path: Path) -> None:
    """The next session counts each read and paid request of the earlier one once, reverted ones too."""
    space = Space(rng=Random(1), requests_per_minute=None)
    path = tmp_path / "sends.db"
    ref = made(space)
    for round_ in range(3):
        carrier = InProcessTransport(space)
        async with HooxSession(space.api_key, transport=carrier, store=path, poll="awaited") as session:
            assert session.quota.remaining == 100 - len(space.requests)
            space.faults.fail_next("edit", Fault.rate_limited(retry_after=1))
            await session.status(ref)
            await session.submit(edit(ref, f"e{round_}"))
    assert len(space.requests) >= 9


async def test_the_next_session_on_a_store_gets_no_second_burst(tmp_path: Path) -> None:
    """The pace continues where it was: a program gains nothing by crashing again and again."""
    space = Space(rng=Random(1), requests_per_minute=None)
    ref, took = made(space), []
    for _ in range(2):
        began = now()
        carrier = InProcessTransport(space, latency=0.01)
        async with HooxSession(space.api_key, transport=carrier, store=tmp_path / "sends.db") as session:
            await asyncio.gather(*(session.status(ref) for _ in range(9)))
        took.append(now() - began)
    assert took[0] <= 0.1
    assert took[1] >= 4.0


async def test_a_session_on_a_new_store_sends_a_burst_at_once() -> None:
    """The first requests of a session on a new store are sent at once, without the pace."""
    async with on_space(requests_per_minute=100) as (session, space):
        ref = made(space)
        began = now()
        await asyncio.gather(*(session.status(ref) for _ in range(9)))
        assert now() - began <= 0.5
