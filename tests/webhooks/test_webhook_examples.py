"""The two example services, run whole: over sockets, on the sandbox, with real deliveries."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import uvicorn
from aiohttp import web
from aiohttp.test_utils import unused_port

from hoox_async.webhooks import WebhookHub

EXAMPLES = Path(__file__).parents[2] / "examples"


class CountingHub(WebhookHub):
    """A hub that remembers what it answered."""

    answers: list[int]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.answers = []

    def redact_logs(self, loggers: Iterable[str] = ()) -> Callable[[], None]:
        return super().redact_logs(loggers)  # none: the loggers are every test's

    async def handle_stream(self, token: str, chunks: AsyncIterator[bytes]) -> int:
        status = await super().handle_stream(token, chunks)
        self.answers.append(status)
        return status


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, list[CountingHub]]:
    """The example as a module, fast, and the hubs that it makes."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # FastAPI resolves annotations through sys.modules
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    hubs: list[CountingHub] = []

    def make(*args: Any, **options: Any) -> CountingHub:
        hubs.append(CountingHub(*args, **options))
        return hubs[-1]

    monkeypatch.setattr(module, "WebhookHub", make)
    monkeypatch.setattr(module, "SANDBOX_SPEED", 400.0)
    monkeypatch.delenv("HOOX_API_KEY", raising=False)
    return module, hubs


@asynccontextmanager
async def aiohttp_serving(module: ModuleType) -> AsyncIterator[str]:
    """The aiohttp example on a free port. Its base URL."""
    port = unused_port()
    base = f"http://127.0.0.1:{port}"
    runner = web.AppRunner(module.make_app(base))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield base
    finally:
        await runner.cleanup()


@asynccontextmanager
async def uvicorn_serving(module: ModuleType) -> AsyncIterator[str]:
    """The FastAPI example on a free port. Its base URL."""
    port = unused_port()
    base = f"http://127.0.0.1:{port}"
    server = uvicorn.Server(uvicorn.Config(module.make_app(base), port=port, log_config=None, ws="none"))
    running = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield base
    finally:
        server.should_exit = True
        await running


SERVING = {"webhook_aiohttp": aiohttp_serving, "webhook_fastapi": uvicorn_serving}


@pytest.mark.parametrize("name", SERVING)
async def test_an_example_makes_looks_and_learns_by_webhook_when_they_are_done(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An avatar and an edit are each accepted with 202, then settled by a delivery that got 200."""
    module, hubs = load(name, monkeypatch)
    serving: AbstractAsyncContextManager[str] = SERVING[name](module)
    async with serving as base, httpx.AsyncClient(base_url=base, timeout=60) as client:
        accepted = await client.post("/looks", json={"prompt": "Young entrepreneur, confident smile"})
        assert accepted.status_code == 202, accepted.text
        avatar = accepted.json()["ref"]
        done = (await client.get(f"/looks/{avatar}", params={"wait": 15})).json()
        assert done["status"] == "ready"
        assert done["thumbnail_url"].startswith("http")

        edit = {"source": avatar, "prompt": "podcast scene, warm light"}
        once = {"Idempotency-Key": "order-17"}
        first = await client.post("/looks", json=edit, headers=once)
        again = await client.post("/looks", json=edit, headers=once)
        assert first.json() == again.json()
        other = await client.post("/looks", json={**edit, "prompt": "another"}, headers=once)
        assert (other.status_code, other.json()["charged"]) == (409, "no")
        done = (await client.get(f"/looks/{first.json()['ref']}", params={"wait": 15})).json()
        assert done["status"] == "ready"

        refused = [
            (await client.post("/looks", json={"prompt": " "})).status_code,
            (await client.post("/looks", json={"prompt": "x", "source": "nonsense"})).status_code,
            (await client.get("/looks/avtr_x:look_x")).status_code,
            (await client.post("/hooks/hoox/forged", json={})).status_code,
        ]
        assert refused == [400, 400, 404, 404]
        failing = await client.post("/looks", json={"prompt": "[fail] no such face"})
        failed = (await client.get(f"/looks/{failing.json()['ref']}", params={"wait": 15})).json()
        assert (failed["status"], bool(failed["error"])) == ("failed", True)
    (hub,) = hubs
    assert hub.answers == [200, 200, 404, 200]
