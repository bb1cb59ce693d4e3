"""The transport without sockets, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from internals_kit import WireRequest, WireResponse
from session_kit import now

from hoox_async import Endpoint
from hoox_async.errors import NotSent, TransportError, UnexpectedResponse
from hoox_async.sandbox import Fault, InProcessTransport, Space

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def opened(space: Space, **options: Any) -> AsyncIterator[InProcessTransport]:
    transport = InProcessTransport(space, **options)
    await transport.start()
    try:
        yield transport
    finally:
        await transport.aclose()


async def create(transport: InProcessTransport) -> WireResponse:
    body = {"imageUrls": ["https://example.com/a.jpg"]}
    return await transport.send(WireRequest(Endpoint.CREATE, "POST", "avatar/create", body=body))


def listing() -> WireRequest:
    return WireRequest(Endpoint.LIST, "GET", "avatar/list")


async def test_a_request_takes_the_latency_and_half_of_it_to_arrive() -> None:
    """`before_send` runs after `connect` seconds; the workspace gets the request half a latency later."""
    space = Space()
    sent: list[float] = []

    async def before_send() -> None:
        sent.append(now())

    async with opened(space, latency=0.3, connect=0.05) as transport:
        start = now()
        body = {"prompt": "x"}
        request = WireRequest(Endpoint.CREATE, "POST", "avatar/create", body=body)
        answer = await transport.send(request, before_send)
        assert answer.status == 201
        assert sent == [pytest.approx(start + 0.05)]
        assert space.requests[0].at == pytest.approx(start + 0.2)
        assert now() == pytest.approx(start + 0.35)


async def test_headers_are_in_lower_case_and_agree_with_the_loops_epoch() -> None:
    """The reset time and the date are in the Unix time that the loop's epoch defines."""
    space = Space()
    loop = asyncio.get_running_loop()
    async with opened(space) as transport:
        headers = (await transport.send(listing())).headers
        epoch = getattr(loop, "epoch", None)
        if epoch is not None:
            assert space.epoch == epoch.timestamp()
        assert int(headers["x-ratelimit-reset"]) == pytest.approx(space.epoch + 60.15, abs=1)
        assert "date" in headers


async def test_an_exception_of_before_send_is_raised_and_nothing_is_sent() -> None:
    """An exception of before_send is raised, and the workspace receives no request."""

    async def before_send() -> None:
        raise RuntimeError("no slot")

    space = Space()
    async with opened(space) as transport:
        with pytest.raises(RuntimeError, match="no slot"):
            await transport.send(listing(), before_send)
    assert space.requests == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.DROP_BEFORE, TransportError),
        (Fault.DROP_AFTER, TransportError),
        (Fault.DROP_IN_BODY, TransportError),
        (Fault.HANG, TransportError),
        (Fault.HANG_BEFORE, TransportError),
        (Fault.HUGE, UnexpectedResponse),
        (Fault.REFUSED, NotSent),
    ],
    ids=lambda value: getattr(value, "name", value.__name__ if isinstance(value, type) else None),
)
async def test_a_fault_without_a_response_raises_the_transports_error(
    fault: Fault, error: type[Exception]
) -> None:
    """The error is that of the `Transport` protocol, and the request is charged as the fault says."""
    space = Space(faults=[("create", 1, fault)])
    async with opened(space, answer=120.0) as transport:
        with pytest.raises(error):
            await create(transport)
        assert len(space.ledger) == fault.charges
        assert space.requests[0].fault == fault.name
        assert now() == pytest.approx(120.05) if fault.kind == "hang" else now() < 1


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.ERROR_500_AFTER, 500),
        (Fault.BAD_GATEWAY, 502),
        (Fault.RATE_LIMITED, 429),
        (Fault.NOT_JSON, 200),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
async def test_a_fault_with_a_response_gives_its_status(fault: Fault, status: int) -> None:
    """The response has the fault's status, and the request is charged as the fault says."""
    space = Space(faults=[("create", 1, fault)])
    async with opened(space) as transport:
        assert (await create(transport)).status == status
        assert len(space.ledger) == fault.charges


async def test_a_truncated_body_is_no_json_and_a_slow_body_takes_its_seconds() -> None:
    """TRUNCATED gives invalid JSON; a slow body of 5 s arrives 5 s later than others."""
    space = Space(faults=[("create", 1, Fault.TRUNCATED), ("create", 2, Fault.slow(5))])
    async with opened(space) as transport:
        with pytest.raises(ValueError):
            json.loads((await create(transport)).body)
        start = now()
        await create(transport)
        assert now() == pytest.approx(start + 5.35)


async def test_a_response_larger_than_the_requests_limit_is_an_error() -> None:
    """The limit `max_bytes` of a request applies in process too."""
    async with opened(Space()) as transport:
        with pytest.raises(UnexpectedResponse, match="larger"):
            await transport.send(WireRequest(Endpoint.LIST, "GET", "avatar/list", max_bytes=100))


async def test_a_transport_with_a_wrong_key_is_answered_401() -> None:
    """`api_key` replaces the workspace's own key."""
    async with opened(Space(), api_key="hx_live_other") as transport:
        assert (await transport.send(listing())).status == 401


async def test_a_webhook_is_passed_to_deliver_when_its_look_settles() -> None:
    """`deliver` is called at the virtual time at which the look settles."""
    got: list[tuple[float, str, dict[str, Any]]] = []

    async def deliver(url: str, body: dict[str, Any]) -> int:
        got.append((now(), url, body))
        return 200

    space = Space(duration=lambda index, body: 40.0)
    async with opened(space, deliver=deliver) as transport:
        body = {"prompt": "x", "webhook_url": "https://example.com/hook"}
        await transport.send(WireRequest(Endpoint.CREATE, "POST", "avatar/create", body=body))
        await asyncio.sleep(100)
    look = space.ledger[0].look_id
    assert [(at, url, body["look_id"]) for at, url, body in got] == [
        (space.done_at(look), "https://example.com/hook", look)
    ]


async def test_a_picture_is_fetched_without_a_key() -> None:
    """The response is a JPEG, and an unknown name is an error."""
    pytest.importorskip("PIL")
    space = Space()
    async with opened(space) as transport:
        await create(transport)
        url = space.picture_url(space.look(space.ledger[0].look_id))
        async with transport.fetch(url) as fetched:
            data = b"".join([chunk async for chunk in fetched.chunks])
        assert (fetched.content_type, data[:3]) == ("image/jpeg", b"\xff\xd8\xff")
        assert (space.requests[-1].endpoint, space.requests[-1].authorized) == ("picture", False)
        with pytest.raises(UnexpectedResponse):
            async with transport.fetch(space.picture_base + "/look_x.jpg"):
                pass
