"""Single submissions in an outage of the API: few are put at risk, and they go on by themselves."""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import Any

import pytest
from internals_kit import BeforeSend, WireRequest, WireResponse
from session_kit import edit, made, on_space, sends

from hoox_async import Endpoint, HooxSession, LookRef, NotSent, OutcomeUnknown
from hoox_async.sandbox import Fault, InProcessTransport, Space

pytestmark = pytest.mark.virtual_time
ORDERS = 59


def space_of() -> Space:
    """A workspace whose quota is not the limit."""
    return Space(rng=Random(1), requests_per_minute=None)


async def order(session: HooxSession, source: LookRef, max_wait: float | None = None) -> list[str]:
    """The names of the ends of many submissions that are made at once."""
    orders = [session.submit(edit(source, f"e{n}"), key=f"e{n}", max_wait=max_wait) for n in range(ORDERS)]
    return [type(end).__name__ for end in await asyncio.gather(*orders, return_exceptions=True)]


@pytest.mark.parametrize(
    ("fault", "max_wait", "most"),
    [
        (Fault.BAD_GATEWAY, 200.0, 6),
        (Fault.HANG_BEFORE, 200.0, 6),
        (Fault.NOT_JSON, 100.0, 12),
        (Fault.TEAPOT, 100.0, 12),
    ],
    ids=["502", "no answer", "HTML with 200", "418"],
)
async def test_a_server_that_answers_nothing_of_use_gets_few_submissions(
    fault: Fault, max_wait: float, most: int
) -> None:
    """Where no outcome is known, few of 59 orders become unknown; the others are not sent."""
    async with on_space(space_of(), requests_per_minute=100) as (session, space):
        source = made(space)
        for endpoint in ("edit", "status", "avatar"):
            space.faults.fail_next(endpoint, fault, times=100_000)
        ends = await order(session, source, max_wait=max_wait)
        assert ends.count("OutcomeUnknown") <= most
        assert ends.count("NotSent") == ORDERS - ends.count("OutcomeUnknown")
        assert sends(space, "edit") == ends.count("OutcomeUnknown")


async def test_a_server_that_falls_silent_in_the_middle_gets_nothing_new_after_ten_seconds() -> None:
    """Though requests were in flight when the last answer came, only what ten seconds take is lost."""
    space = space_of()
    async with on_space(space, transport={"latency": 0.3}) as (session, _):
        source, loop = made(space), asyncio.get_running_loop()
        orders: list[asyncio.Task[Any]] = []
        for n in range(300):
            if n == 25:
                for endpoint in ("edit", "status", "avatar"):
                    space.faults.fail_next(endpoint, Fault.HANG_BEFORE, times=100_000)
                silent_from = loop.time()
            orders.append(asyncio.create_task(session.submit(edit(source, f"e{n}"), max_wait=1.0)))
            await asyncio.sleep(0.2)
        await asyncio.gather(*orders, return_exceptions=True)
        late = [record.at for record in space.requests if record.endpoint == "edit"][-1]
        assert (late - silent_from) <= 11.0


async def test_a_free_request_that_fails_in_any_way_is_sent_again() -> None:
    """A transport that raises what it likes does not leave submissions held back for ever."""
    space = space_of()
    transport = InProcessTransport(space)
    send, failed = transport.send, [RuntimeError("a defect")]

    async def failing(request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        if request.endpoint is Endpoint.STATUS and failed:
            raise failed.pop()
        return await send(request, before_send)

    transport.send = failing  # type: ignore[method-assign]
    async with HooxSession(space.api_key, transport=transport, poll="awaited") as session:
        source = made(space)
        space.faults.fail_next("edit", Fault.BAD_GATEWAY, times=5)
        for n in range(5):
            with pytest.raises(OutcomeUnknown):
                await session.submit(edit(source), key=f"e{n}")
        async with asyncio.timeout(100.0):
            await session.submit(edit(source), key="held")
        assert not failed


async def test_held_submissions_go_on_once_a_free_request_is_answered() -> None:
    """Five orders are lost; the others wait for the API to answer, and are then made without a word."""
    async with on_space(space_of(), requests_per_minute=100) as (session, space):
        source = made(space)
        space.faults.fail_next("edit", Fault.BAD_GATEWAY, times=5)
        space.faults.fail_next("status", Fault.BAD_GATEWAY, times=3)
        orders = asyncio.create_task(order(session, source))
        await asyncio.sleep(6.0)
        assert (await session.health()).held > 0
        ends = await orders
        assert {end: ends.count(end) for end in set(ends)} == {"OutcomeUnknown": 5, "LookJob": ORDERS - 5}
        assert (await session.health()).held == 0


async def test_a_paid_request_without_an_answer_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """After 20 s without an answer there is a warning that names the key, and `health` has the seconds."""
    async with on_space(space_of()) as (session, space):
        source = made(space)
        space.faults.fail_next("edit", Fault.HANG)
        with caplog.at_level(logging.WARNING, "hoox_async"):
            job = asyncio.create_task(session.submit(edit(source), key="slow"))
            await asyncio.sleep(25.0)
            assert (await session.health()).unanswered == pytest.approx(25.0, abs=1.0)
        assert any("slow has had no answer for 20 s" in record.getMessage() for record in caplog.records)
        with pytest.raises(OutcomeUnknown):
            await job
        assert (await session.health()).unanswered is None


async def test_a_held_submission_ends_with_its_max_wait() -> None:
    """A submission that is held back raises `NotSent` after ``max_wait`` seconds, and cost nothing."""
    async with on_space(space_of()) as (session, space):
        source = made(space)
        for endpoint in ("edit", "status", "avatar"):
            space.faults.fail_next(endpoint, Fault.BAD_GATEWAY, times=1_000)
        for n in range(5):
            with pytest.raises(OutcomeUnknown):
                await session.submit(edit(source), key=f"e{n}")
        began = asyncio.get_running_loop().time()
        with pytest.raises(NotSent) as caught:
            await session.submit(edit(source), key="late", max_wait=7.0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(7.0, abs=0.1)
        assert caught.value.charged == "no"
