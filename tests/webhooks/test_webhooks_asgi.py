"""The hub as an ASGI application: by hand, mounted in FastAPI, and served by uvicorn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fastapi
import httpx
import pytest
import uvicorn
from webhook_kit import FOREIGN, READY, Session, hub, token_of

from hoox_async.webhooks import WebhookHub

pytestmark = pytest.mark.both_loops


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")


async def call(
    a_hub: WebhookHub, scope: dict[str, Any], *messages: dict[str, Any]
) -> tuple[list[dict[str, Any]], int]:
    """Run the application by hand: what it sent, and how many messages it did not ask for."""
    waiting, sent = list(messages), []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await a_hub.asgi_app(scope, receive, send)
    return sent, len(waiting)


def post(path: str) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": path, "headers": []}


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_the_asgi_app_can_be_mounted_in_fastapi_under_any_path() -> None:
    """The last part of the path is the token; the other routes work as before."""
    a_hub, session = hub(), Session("a1")
    a_hub.subscribe(session)
    app = fastapi.FastAPI()
    app.mount("/hooks/hoox", a_hub.asgi_app)

    @app.get("/")
    async def home() -> str:
        return "home"

    path = "/hooks/hoox/" + token_of(a_hub, "a1")
    async with client_of(app) as client:
        assert (await client.post(path, content=READY)).status_code == 200
        assert (await client.post(path, content=FOREIGN)).status_code == 200
        assert (await client.post(path, content=b"{")).status_code == 400
        assert (await client.post("/hooks/hoox/" + token_of(a_hub, "a2"), content=READY)).status_code == 503
        assert (await client.post("/hooks/hoox/bad", content=READY)).status_code == 404
        assert (await client.post("/hooks/hoox/", content=READY)).status_code == 404
        assert (await client.get("/")).json() == "home"
    assert [attempt_id for attempt_id, _ in session.calls] == ["a1", "a2"]


async def test_the_asgi_app_accepts_only_posts() -> None:
    """Other methods are 405 with an Allow header, before anything is read."""
    a_hub = hub()
    async with client_of(a_hub.asgi_app) as client:
        answer = await client.get("/" + token_of(a_hub, "a1"))
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")


async def test_a_body_in_several_messages_is_read_up_to_the_limit() -> None:
    """A body that is too long is 413, and its rest is not read."""
    a_hub, session = hub(), Session("a1")
    a_hub.subscribe(session)
    path = "/" + token_of(a_hub, "a1")
    sent, _ = await call(a_hub, post(path), part(READY[:7], True), part(READY[7:], True), part(b""))
    assert sent[0]["status"] == 200
    big = part(b" " * 200_000, True)
    sent, unread = await call(a_hub, post(path), big, big, big, big)
    assert (sent[0]["status"], unread) == (413, 2)
    assert len(session.calls) == 1


async def test_an_invalid_token_is_404_before_the_body_is_read() -> None:
    """The application never receives the body."""
    sent, unread = await call(hub(), post("/hooks/bad"), part(READY))
    assert (sent[0]["status"], unread) == (404, 1)


async def test_a_client_that_disconnects_causes_no_error() -> None:
    """A disconnect in the middle of the body: no delivery reaches the session."""
    a_hub, session = hub(), Session("a1")
    a_hub.subscribe(session)
    path = "/" + token_of(a_hub, "a1")
    sent, _ = await call(a_hub, post(path), part(READY, True), {"type": "http.disconnect"})
    assert sent[0]["status"] == 400
    assert session.calls == []
    await a_hub.aclose()


async def test_the_lifespan_opens_and_closes_the_hub() -> None:
    """Served on its own, the hub is open from the server's start to its stop."""
    a_hub = hub()
    a_hub.subscribe(Session("a1"))
    await a_hub.aclose()
    waiting, sent = asyncio.Queue[dict[str, Any]](), []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    serving = asyncio.ensure_future(a_hub.asgi_app({"type": "lifespan"}, waiting.get, send))
    waiting.put_nowait({"type": "lifespan.startup"})
    while not sent:
        await asyncio.sleep(0)
    token = token_of(a_hub, "a1")
    assert await a_hub.handle(token, READY) == 200
    waiting.put_nowait({"type": "lifespan.shutdown"})
    await serving
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert await a_hub.handle(token, READY) == 503


async def test_other_kinds_of_connection_are_refused() -> None:
    """A websocket is closed; an unknown kind is an error, as the ASGI specification requires."""
    sent, _ = await call(hub(), {"type": "websocket", "path": "/"})
    assert [message["type"] for message in sent] == ["websocket.close"]
    with pytest.raises(RuntimeError, match="telepathy"):
        await call(hub(), {"type": "telepathy"})


@asynccontextmanager
async def uvicorn_serving(app: Any) -> AsyncIterator[str]:
    """A real uvicorn on a free port, in this loop. Its base URL."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="on", ws="none")
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


async def test_uvicorn_serves_the_asgi_app_and_logs_no_token(caplog: pytest.LogCaptureFixture) -> None:
    """Over real sockets, also with a body that is too long; `redact_logs` redacts the access log."""
    a_hub, session = hub(), Session("a1")
    a_hub.subscribe(session)
    token = token_of(a_hub, "a1")
    undo = a_hub.redact_logs()
    try:
        with caplog.at_level(logging.INFO):
            async with uvicorn_serving(a_hub.asgi_app) as base, httpx.AsyncClient() as client:
                assert (await client.post(f"{base}/{token}", content=READY)).status_code == 200
                assert (await client.post(f"{base}/{token}", content=b" " * 300_000)).status_code == 413
                assert (await client.post(f"{base}/bad", content=READY)).status_code == 404
    finally:
        undo()
    lines = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert len(lines) == 3
    assert "/[token]" in lines[0]
    assert not [line for line in lines if token in line]
    assert len(session.calls) == 1
