"""`HooxSession.health` and `HooxSession.expected_wait`: what monitoring and a shop ask of an open session."""

from __future__ import annotations

import asyncio
from random import Random

import attrs
import pytest
from internals_kit import MemoryLedger
from rate_limiter_kit import virtual
from session_kit import edit, made, on_space, prompt, set_key
from shared_memory_kit import MemoryDatabase, SharedMemory

from hoox_async import HooxSession, LookJob
from hoox_async._io.protocols import StoreGauges
from hoox_async.errors import AuthenticationError, InvalidRequest, OutcomeUnknown, SessionClosed, StoreError
from hoox_async.sandbox import Fault, InProcessTransport, Space

pytestmark = virtual


async def test_health_of_a_session_that_has_done_nothing() -> None:
    """A new session reaches its store, has nothing open, has not polled, and would have a permit at once."""
    async with on_space() as (session, _):
        health = await session.health()
    assert health.store_reachable
    assert (health.unknowns, health.unsettled, health.oldest_unsettled) == (0, 0, None)
    assert health.last_poll is None
    assert health.polls_for_all
    assert (health.waiting, health.permit_wait, health.paused, health.key_refused) == (0, 0.0, 0.0, False)


async def test_health_is_a_frozen_value() -> None:
    """It can't be changed, and is equal to one with the same values."""
    async with on_space() as (session, _):
        health = await session.health()
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            health.waiting = 3  # type: ignore[misc]
        assert health == await session.health()


async def test_health_of_a_session_with_open_looks_and_an_unknown() -> None:
    """It counts unsettled looks and unknowns, and says how old the oldest look and the last poll are."""
    async with on_space() as (session, space):
        space.hold(0.0)
        await session.submit(prompt())
        await asyncio.sleep(50.0)
        await session.submit(prompt("another host"))
        space.faults.fail_next("create", Fault.DROP_AFTER, 1, 0)
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt("a third host"))
        await asyncio.sleep(10.0)
        health = await session.health()
    assert (health.unknowns, health.unsettled) == (1, 2)
    assert health.oldest_unsettled is not None
    assert 60.0 <= health.oldest_unsettled < 62.0
    assert health.last_poll is not None
    assert 0.0 <= health.last_poll < 60.0


async def test_health_without_the_store() -> None:
    """While the store fails, or does not answer for 3 s, it is not reachable, and what it counts is None."""
    store = Unreachable()
    async with on_space(store=store) as (session, _):
        loop = asyncio.get_running_loop()
        for store.trouble in ("fails", "hangs"):
            began = loop.time()
            health = await session.health()
            assert not health.store_reachable
            assert (health.unknowns, health.unsettled, health.oldest_unsettled) == (None, None, None)
            assert loop.time() - began <= 3.1
        store.trouble = None
        await asyncio.sleep(10.0)  # then the reading that hangs is given up
        assert (await session.health()).store_reachable


async def test_a_refused_key_stays_refused_while_it_is_checked_again() -> None:
    """A submission has it checked anew; a readiness probe must not flap. A request that works ends it."""
    space = Space(rng=Random(1), requests_per_minute=None)
    carrier = InProcessTransport(space, api_key="hx_live_revoked")
    async with HooxSession("hx_live_revoked", transport=carrier) as session:
        assert not (await session.health()).key_refused
        with pytest.raises(AuthenticationError):
            await session.submit(prompt())
        again = asyncio.create_task(session.submit(prompt()))
        while not again.done():
            assert (await session.health()).key_refused
            await asyncio.sleep(0.1)
        set_key(carrier)
        await session.submit(prompt())
        assert not (await session.health()).key_refused
        assert isinstance(again.exception(), AuthenticationError)


async def test_health_shows_a_pause_after_a_429() -> None:
    """While the API answers 429, `paused` and `permit_wait` say for how many seconds nothing is sent."""
    async with on_space(requests_per_minute=100) as (session, space):
        ref = made(space)
        space.faults.fail_next("status", Fault.RATE_LIMITED_RETRY_AFTER, 1, 0)
        asking = asyncio.create_task(session.status(ref))
        await asyncio.sleep(0.5)
        health = await session.health()
        assert 0.0 < health.paused <= health.permit_wait + 0.001
        await asking


async def test_who_polls_of_two_processes() -> None:
    """Of two processes on one store, health says that one polls for all; both count the same looks."""
    space = Space(rng=Random(1), requests_per_minute=None)
    space.hold(0.0)
    memory = SharedMemory()
    async with MemoryDatabase(memory) as one, MemoryDatabase(memory) as two:
        sessions = [
            HooxSession(space.api_key, transport=InProcessTransport(space), store=each.workspace("shop"))
            for each in (one, two)
        ]
        async with sessions[0], sessions[1]:
            await sessions[1].submit(prompt())
            await asyncio.sleep(5.0)
            healths = [await session.health() for session in sessions]
    assert [health.polls_for_all for health in healths].count(True) == 1
    assert [health.unsettled for health in healths] == [1, 1]


async def test_expected_wait_grows_with_what_waits() -> None:
    """It is 0 while permits are free, and then grows with the count and with the calls that wait already."""
    async with on_space(requests_per_minute=60) as (session, space):
        ref = made(space)
        assert session.expected_wait() == 0.0
        ahead = session.expected_wait(40)
        assert 25.0 < ahead < 61.0
        waiting = [asyncio.create_task(session.submit(edit(ref, f"scene {n}"))) for n in range(20)]
        await asyncio.sleep(0.1)
        expected = session.expected_wait()
        began = asyncio.get_running_loop().time()
        job = await session.submit(edit(ref, "one more"))
        assert isinstance(job, LookJob)
        assert asyncio.get_running_loop().time() - began == pytest.approx(expected, abs=4.0)  # the poller too
        assert (await session.health()).permit_wait == pytest.approx(session.expected_wait(), abs=0.1)
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "2"])
async def test_a_count_that_is_none(count: int) -> None:
    """A count that is no whole number from 1 on is an `InvalidRequest`."""
    async with on_space() as (session, _):
        with pytest.raises(InvalidRequest):
            session.expected_wait(count)


async def test_a_closed_session_has_no_health() -> None:
    """Both raise `SessionClosed` after the session was closed."""
    async with on_space() as (session, _):
        pass
    with pytest.raises(SessionClosed):
        await session.health()
    with pytest.raises(SessionClosed):
        session.expected_wait()


class Unreachable(MemoryLedger):
    """A store that fails, or does not answer."""

    trouble: str | None = None

    async def gauges(self) -> StoreGauges:
        if self.trouble == "fails":
            raise StoreError("the database is gone")
        if self.trouble == "hangs":
            await asyncio.sleep(60.0)
        return await super().gauges()
