"""Test a program of your own: no mocks, a local server with charges, quota and faults.

    pip install pytest pytest-asyncio
    pytest examples/testing_my_program.py

`make_poster` is the program; the rest are its tests. The fixtures come with the package: ``hoox_sandbox`` is
the server, ``hoox_session`` an open session on it. Test what money depends on: that a repeated call does not
pay again, and what the program says when an answer is lost, a look fails, or the credits are used up.
Whatever your tests do, they cannot reach the real API: requests to it are blocked.
"""

from __future__ import annotations

import pytest

from hoox_async import GenerationFailed, HooxSession, InsufficientCredits, LookEdit, OutcomeUnknown
from hoox_async.sandbox import Fault, Sandbox

ADA = "avtr_public_ada:look_public_ada"


async def make_poster(session: HooxSession, order: str, prompt: str) -> str:
    """The program: a look for an order, and what the customer is told."""
    try:
        look = await session.run(LookEdit(ADA, prompt), key=order)
    except OutcomeUnknown:
        return "we are looking into it"
    except GenerationFailed:
        return "it could not be made: ask for something else"
    except InsufficientCredits:
        return "closed for today"
    return f"ready: {look.thumbnail_url}"


@pytest.mark.asyncio
async def test_an_order_is_paid_once(hoox_session: HooxSession, hoox_sandbox: Sandbox) -> None:
    """A form that is sent twice is one order."""
    first = await make_poster(hoox_session, "17", "at the sea")
    assert first.startswith("ready: http")
    assert await make_poster(hoox_session, "17", "at the sea") == first
    assert [charge.credits for charge in hoox_sandbox.ledger] == [2]


@pytest.mark.asyncio
async def test_a_lost_answer_is_not_paid_again(hoox_session: HooxSession, hoox_sandbox: Sandbox) -> None:
    """The customer is told so each time, and the request is sent once."""
    hoox_sandbox.fail_next("edit", Fault.DROP_AFTER)
    for _ in range(2):
        assert await make_poster(hoox_session, "17", "at the sea") == "we are looking into it"
    assert len(hoox_sandbox.ledger) == 1
    [unknown] = await hoox_session.unknowns()
    assert unknown.key == "17"


@pytest.mark.asyncio
async def test_a_look_that_cannot_be_made(hoox_session: HooxSession) -> None:
    """A prompt with [fail] fails in every sandbox."""
    assert "could not be made" in await make_poster(hoox_session, "17", "[fail] nothing")


@pytest.mark.asyncio
@pytest.mark.hoox_sandbox(credits=3)
async def test_the_last_credits(hoox_session: HooxSession, hoox_sandbox: Sandbox) -> None:
    """Three credits are enough for one look of two."""
    assert (await make_poster(hoox_session, "17", "at the sea")).startswith("ready: ")
    assert await make_poster(hoox_session, "18", "in a car") == "closed for today"
    assert hoox_sandbox.credits_spent == 2
