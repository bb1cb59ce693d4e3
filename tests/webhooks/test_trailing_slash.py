"""A slash at the end of a delivery's path does not count: frameworks and proxies add one."""

from __future__ import annotations

from typing import Any

import fastapi
import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from starlette.applications import Starlette
from starlette.routing import Mount
from webhook_kit import READY, Session, hub, token_of

from hoox_async.webhooks import WebhookHub

pytestmark = pytest.mark.both_loops


def attached() -> tuple[WebhookHub, str]:
    """A hub with a session that knows an attempt, and that attempt's token."""
    a_hub = hub()
    a_hub.subscribe(Session("a1"))
    return a_hub, token_of(a_hub, "a1")


def litestar_mount(app: Any, prefix: str) -> Any:
    """What Litestar does for ``@asgi(prefix, is_mount=True)``.

    It takes the prefix from the path, and leaves what remains with a slash at its end.
    """

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        remaining = scope["path"].removeprefix(prefix) or "/"
        inner = {
            **scope,
            "path": remaining if remaining.endswith("/") else f"{remaining}/",
            "path_params": {},
            "route_handler": outer,
        }
        await app(inner, receive, send)

    return outer


@pytest.mark.parametrize("framework", ["litestar", "starlette", "fastapi", "none"])
@pytest.mark.parametrize("end", ["", "/"])
async def test_a_hub_mounted_in_any_framework_receives_deliveries(framework: str, end: str) -> None:
    """A valid token is 200, an invalid and an empty one 404."""
    a_hub, token = attached()
    app: Any
    if framework == "litestar":
        app = litestar_mount(a_hub.asgi_app, "/hooks/hoox")
    elif framework == "starlette":
        app = Starlette(routes=[Mount("/hooks/hoox", app=a_hub.asgi_app)])
    elif framework == "fastapi":
        app = fastapi.FastAPI()
        app.mount("/hooks/hoox", a_hub.asgi_app)
    else:
        app = a_hub.asgi_app
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver/hooks/hoox/") as client:
        assert (await client.post(f"{token}{end}", content=READY)).status_code == 200
        assert (await client.post(f"{token[:-1]}{end}", content=READY)).status_code == 404
        assert (await client.post("", content=READY)).status_code == 404


@pytest.mark.parametrize("end", ["", "/"])
async def test_the_aiohttp_route_accepts_a_slash_at_the_end(end: str) -> None:
    """The aiohttp route accepts a slash at the end without a redirect."""
    a_hub, token = attached()
    app = web.Application()
    app.add_routes(a_hub.aiohttp_routes())
    async with TestClient(TestServer(app)) as client:
        answer = await client.post(f"/hooks/hoox/{token}{end}", data=READY, allow_redirects=False)
        assert answer.status == 200
        answer = await client.post(f"/hooks/hoox/bad{end}", data=READY, allow_redirects=False)
        assert answer.status == 404


async def test_handle_ignores_one_slash_at_the_end_of_the_token() -> None:
    """A framework's catch-all parameter contains it; with more than one slash the token is invalid."""
    a_hub, token = attached()
    assert await a_hub.handle(f"{token}/", READY) == 200
    assert await a_hub.handle(f"{token}//", READY) == 404
    assert await a_hub.handle("/", READY) == 404
