"""The hub as a route of an aiohttp application, over real sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from webhook_kit import FOREIGN, READY, Session, hub, token_of

from hoox_async.webhooks import WebhookHub

pytestmark = pytest.mark.both_loops

Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def serving(a_hub: WebhookHub, **options: Any) -> AsyncIterator[Client]:
    """A client of an application that has the hub's route and another one."""

    async def home(request: web.Request) -> web.Response:
        return web.Response(text="home")

    app = web.Application()
    app.add_routes([web.get("/", home), *a_hub.aiohttp_routes(**options)])
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_deliveries_come_in_at_the_path_of_the_public_url() -> None:
    """A delivery posted to the attempt's URL reaches the session; bad tokens and bodies don't."""
    a_hub, session = hub(), Session("a1")
    a_hub.subscribe(session)
    path = "/hooks/hoox/" + token_of(a_hub, "a1")
    async with serving(a_hub) as client:
        assert (await client.post(path, data=READY)).status == 200
        assert (await client.post(path, data=FOREIGN)).status == 200
        assert (await client.post(path, data=b"{")).status == 400
        assert (await client.post("/hooks/hoox/" + token_of(a_hub, "a2"), data=READY)).status == 503
        assert (await client.post("/hooks/hoox/bad", data=READY)).status == 404
    assert [attempt_id for attempt_id, _ in session.calls] == ["a1", "a2"]


async def test_the_route_accepts_only_posts_and_leaves_other_paths_alone() -> None:
    """Other methods are 405, other paths are the application's."""
    a_hub = hub()
    path = "/hooks/hoox/" + token_of(a_hub, "a1")
    async with serving(a_hub) as client:
        assert (await client.get(path)).status == 405
        assert (await client.put(path, data=READY)).status == 405
        assert (await client.post("/hooks/hoox", data=READY)).status == 404
        assert (await client.post(path + "/more", data=READY)).status == 404
        assert await (await client.get("/")).text() == "home"


@pytest.mark.parametrize(
    ("public_url", "options", "path"),
    [
        ("https://example.com", {}, "/"),
        ("https://example.com/hooks/", {}, "/hooks/"),
        ("https://example.com/outer/hooks", {"path": "/hooks/"}, "/hooks/"),
        ("https://example.com/outer/hooks", {"path": ""}, "/"),
    ],
)
async def test_the_routes_path_can_differ_from_the_public_url(
    public_url: str, options: dict[str, Any], path: str
) -> None:
    """The route is at the public path, or at the given one, for a proxy that changes it."""
    a_hub, session = WebhookHub(public_url, "a secret that is long enough"), Session("a1")
    a_hub.subscribe(session)
    async with serving(a_hub, **options) as client:
        assert (await client.post(path + token_of(a_hub, "a1"), data=READY)).status == 200


async def test_a_chunked_body_is_read_up_to_the_limit() -> None:
    """A body without a length that is too long is 413 long before its end."""
    a_hub, session = hub(), Session("a1")
    a_hub.subscribe(session)
    path = "/hooks/hoox/" + token_of(a_hub, "a1")

    async def chunked(*parts: bytes) -> AsyncIterator[bytes]:
        for part in parts:
            yield part
            await asyncio.sleep(0)

    async with serving(a_hub) as client:
        assert (await client.post(path, data=chunked(READY[:5], READY[5:]))).status == 200
        assert (await client.post(path, data=chunked(READY, b" " * 300_000))).status == 413
        assert (await client.post(path, data=READY + b" " * 300_000)).status == 413
    assert len(session.calls) == 1


async def test_a_client_that_disconnects_in_the_middle_causes_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is received, and the delivery no longer counts as in flight."""
    a_hub, session = hub(max_in_flight=1), Session("a1")
    a_hub.subscribe(session)
    path = "/hooks/hoox/" + token_of(a_hub, "a1")
    async with serving(a_hub) as client:
        assert client.port is not None
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n".encode() + READY)
        await writer.drain()
        while a_hub._in_flight == 0:
            await asyncio.sleep(0.001)
        writer.close()
        await a_hub.aclose()
        async with a_hub:
            assert (await client.post(path, data=READY)).status == 200
    assert len(session.calls) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_the_access_log_holds_no_token_once_redacted(caplog: pytest.LogCaptureFixture) -> None:
    """aiohttp logs each URL; with redact_logs the token is left out of it."""
    a_hub = hub()
    a_hub.subscribe(Session("a1"))
    token = token_of(a_hub, "a1")
    undo = a_hub.redact_logs()
    try:
        with caplog.at_level(logging.INFO, "aiohttp.access"):
            async with serving(a_hub) as client:
                await client.post("/hooks/hoox/" + token, data=READY)
    finally:
        undo()
    lines = [record for record in caplog.records if record.name == "aiohttp.access"]
    assert len(lines) == 1
    assert "POST /hooks/hoox/[token]" in lines[0].getMessage()
    assert token not in str(lines[0].__dict__)


async def test_a_hundred_deliveries_at_once_are_all_received() -> None:
    """Each reaches the session once, with its own attempt."""
    a_hub, session = hub(), Session(*(f"a{index}" for index in range(100)))
    a_hub.subscribe(session)
    async with serving(a_hub) as client:

        async def deliver(index: int) -> int:
            path = "/hooks/hoox/" + token_of(a_hub, f"a{index}")
            async with client.post(path, data=READY, timeout=aiohttp.ClientTimeout(10)) as response:
                return response.status

        assert await asyncio.gather(*map(deliver, range(100))) == [200] * 100
    assert sorted(attempt_id for attempt_id, _ in session.calls) == sorted(session.known)
