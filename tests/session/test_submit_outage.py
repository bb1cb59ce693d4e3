"""Single submissions in an outage of the API: few are put at risk, and they go on by themselves."""

from __future__ import annotations

import asyncio
import logging
from random import Random

import pytest
from session_kit import edit, made, on_space, sends

from hoox_async import HooxSession, LookRef, NotSent, OutcomeUnknown
from hoox_async.sandbox import Fault, Space

pytestmark = pytest.mark.virtual_time
ORDERS = 59


def space_of() -> Space:
    """A workspace whose quota is not the limit."""
    return Space(rng=Random(1), requests_per_minute=None)


async def order(session: HooxSession, source: LookRef, max_wait: float | None = None) -> list[str]:
    """The names of the ends of many submissions that are made at once."""
    orders = [session.submit(edit(source, f"e{n}"), key=f"e{n}", max_wait=max_wait) for n in range(ORDERS)]
    return [type(end).__name__ for end in await asyncio.gather(*orders, return_exceptions=True)]


@pytest.mark.parametrize("fault", [Fault.BAD_GATEWAY, Fault.HANG_BEFORE], ids=["502", "no answer"])
async def test_a_server_that_answers_nothing_gets_few_submissions(fault: Fault) -> None:
    """Where nothing is answered, few of 59 orders become unknown; the others are not sent."""
    async with on_space(space_of(), requests_per_minute=100) as (session, space):
        source = made(space)
        for endpoint in ("edit", "status", "avatar"):
            space.faults.fail_next(endpoint, fault, times=100_000)
        ends = await order(session, source, max_wait=200.0)
        assert ends.count("OutcomeUnknown") <= 6
        assert ends.count("NotSent") == ORDERS - ends.count("OutcomeUnknown")
        assert sends(space, "edit") == ends.count("OutcomeUnknown")


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
