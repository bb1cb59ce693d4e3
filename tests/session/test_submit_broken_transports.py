"""Transports that fail in odd ways: after the sending each end is a loss, before it nothing was sent."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from internals_kit import BeforeSend, IntentState, WireRequest, WireResponse
from session_kit import intent_of, intents, money, prompt

from hoox_async import BatchItem, BatchRunner, Budget, HooxSession
from hoox_async.errors import (
    AuthenticationError,
    BadRequest,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    SessionClosed,
    StoreError,
    TransportError,
)
from hoox_async.sandbox import InProcessTransport, Space

pytestmark = pytest.mark.virtual_time

ENDS: list[BaseException] = [
    NotSent("no connection"),
    NotSent("no connection", retry_after=1.0),
    RateLimited(429, None, "slow down"),
    AuthenticationError(401, None, "who are you"),
    BadRequest(400, "INVALID_VALUE", "no"),
    SessionClosed("closed"),
    StoreError("full"),
    InvalidRequest("prompt", "x", "y"),
    TransportError("lost"),
    RuntimeError("broken"),
    OSError("gone"),
    asyncio.CancelledError(),
]


class Breaking(InProcessTransport):
    """Has each paid request carried out, and ends with an error all the same."""

    end: BaseException = RuntimeError()

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        response = await super().send(request, before_send)
        if request.endpoint.paid:
            raise self.end
        return response


class Repeating(InProcessTransport):
    """Sends each paid request twice, and says so each time."""

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        await super().send(request, before_send)
        return await super().send(request, before_send)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
async def test_whatever_a_transport_raises_after_the_sending_is_a_loss(end: BaseException) -> None:
    """The caller gets `OutcomeUnknown`, nothing is sent again, and the store has an unknown."""
    space = Space(rng=Random(1), requests_per_minute=None)
    carrier, budget = Breaking(space), Budget(10)
    carrier.end = end
    async with HooxSession(space.api_key, transport=carrier) as session:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown) as caught:
                await session.submit(prompt(), key="k", budget=budget)
            assert (caught.value.charged, caught.value.key) == ("maybe", "k")
        intent = await intent_of(session, "k")
        assert (intent.state, float(intent.at_risk)) == (IntentState.UNKNOWN, 2)
        assert money(budget) == (0, 2)
        (outcome,) = await BatchRunner(session).run([BatchItem("other", prompt("other"))])
        assert (str(outcome.state), float(outcome.at_risk)) == ("unknown", 2)
    assert len(space.ledger) == 2


class Unconnected(InProcessTransport):
    """Fails before it has called ``before_send``."""

    end: Exception = RuntimeError()

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        raise self.end


@pytest.mark.parametrize(
    ("end", "raised"),
    [(RuntimeError("no network in tests"), RuntimeError), (TransportError("no connection"), NotSent)],
    ids=["another error", "TransportError"],
)
async def test_what_a_transport_raises_before_the_sending_means_that_nothing_was_sent(
    end: Exception, raised: type[Exception]
) -> None:
    """The error reaches the caller, no credits are spent, and the store has nothing of the key."""
    space, budget = Space(rng=Random(1), requests_per_minute=None), Budget(10)
    carrier = Unconnected(space)
    carrier.end = end
    async with HooxSession(space.api_key, transport=carrier) as session:
        with pytest.raises(raised, match=str(end)):
            await session.submit(prompt(), key="k", budget=budget)
        assert money(budget) == (0, 0)
        assert await intents(session) == {}


async def test_a_transport_that_sends_twice_is_stopped_at_the_second() -> None:
    """A second call of before_send is refused, and what comes of that is a loss."""
    space = Space(rng=Random(1), requests_per_minute=None)
    async with HooxSession(space.api_key, transport=Repeating(space)) as session:
        with pytest.raises(OutcomeUnknown):
            await session.submit(prompt(), key="k")
        assert await intents(session) == {"k": IntentState.UNKNOWN}
    assert len(space.ledger) == 1
