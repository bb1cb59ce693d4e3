"""Helpers of the Look Studio tests: the app on a free port, and a sandbox that lives longer than it."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from hoox_async.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[2] / "examples"
if str(EXAMPLES) not in sys.path:
    sys.path.insert(0, str(EXAMPLES))

from look_studio import Settings, create_app  # noqa: E402
from look_studio.__main__ import main  # noqa: E402
from look_studio.feed import Feed  # noqa: E402
from look_studio.journal import Journal  # noqa: E402
from look_studio.server import Server  # noqa: E402
from look_studio.wishes import Order, Wish  # noqa: E402
from look_studio.world import PersistentSandbox  # noqa: E402

__all__ = [
    "ADA", "SECRET", "Feed", "Journal", "Order", "PersistentSandbox", "Settings", "Studio", "Wish",
    "main", "serving", "settings_for", "studio",
]  # fmt: skip

SECRET = "a secret that is long enough"
ADA = "avtr_public_ada:look_public_ada"


def unused_port() -> int:
    """A free port, whose next one is free too, outside the range from which other sockets get theirs."""
    for _ in range(1000):
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError("of 1000 ports none was free")


class Studio:
    """The app as a browser would use it, for one customer."""

    def __init__(self, client: httpx.AsyncClient, base: str) -> None:
        self.client = client
        self.base = base
        self._count = 0

    async def start(self, *scenes: str, token: str | None = None, **fields: Any) -> httpx.Response:
        """Start scenes, of Ada of the public catalogue by default."""
        form = {"token": token or self.token(), "avatars": [ADA], "scenes": "\n".join(scenes)}
        return await self.client.post("/api/looks", json={**form, **fields})

    def token(self) -> str:
        self._count += 1
        return f"token-{self._count:04d}"

    async def state(self) -> dict[str, Any]:
        """The state that a page gets when it opens."""
        async with self.events() as events:
            name, data = await anext(events)
            assert name == "state"
            found: dict[str, Any] = data
            return found

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
        """The server-sent events, by name."""
        async with self.client.stream("GET", "/api/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            yield _parsed(response.aiter_lines())

    async def until(self, *states: str) -> dict[str, Any]:
        """Wait until the cards, oldest first, are in these states. What a page shows then."""
        async with asyncio.timeout(60), self.events() as events:
            shown: dict[str, Any] = {}
            cards: dict[str, dict[str, Any]] = {}
            async for name, data in events:
                if name == "state":
                    shown, cards = data, {card["id"]: card for card in data["cards"]}
                elif name == "card":
                    cards[data["id"]] = data
                elif name == "credits":
                    shown["credits"] = data
                if name != "card" and [card["state"] for card in cards.values()] == list(states):
                    return {**shown, "cards": list(cards.values())}
        raise AssertionError("the stream ended")


async def _parsed(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def settings_for(sandbox: Sandbox, data: Path, port: int | None, **options: Any) -> Settings:
    """The app on this sandbox, as it would be on the real API. Without a port: without webhooks."""
    return Settings(
        data=data,
        public_url=None if port is None else f"http://127.0.0.1:{port}",
        api_key=sandbox.api_key,
        base_url=sandbox.base_url,
        webhook_secret=SECRET,
        **{"credits": Decimal(100), **options},
    )


@asynccontextmanager
async def serving(settings: Settings, port: int) -> AsyncIterator[Studio]:
    """The app on this port, until the end of the block; then it shuts down as on Ctrl-C."""
    app = create_app(settings)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, ws="none")
    server = Server(app, config)
    running = asyncio.ensure_future(server.serve())
    until = asyncio.get_running_loop().time() + 60
    while not server.started:
        if running.done():
            running.result()
            raise AssertionError(f"the server did not start: {server.failure}")
        assert asyncio.get_running_loop().time() < until, "the server did not start within 60 s"
        await asyncio.sleep(0.005)
    base = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=base, timeout=60) as client:
            yield Studio(client, base)
    finally:
        server.should_exit = True
        async with asyncio.timeout(60):
            await running


@asynccontextmanager
async def studio(
    data: Path, *, webhooks: bool = True, sandbox: Sandbox | None = None, **options: Any
) -> AsyncIterator[tuple[Studio, Sandbox]]:
    """The app and its sandbox, both new."""
    port = unused_port()
    async with sandbox or Sandbox() as world:
        settings = settings_for(world, data, port if webhooks else None, **options)
        async with serving(settings, port) as served:
            yield served, world
