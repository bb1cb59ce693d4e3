"""A small receiver of deliveries, which a tunnel or a proxy makes reachable at the public URL."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web

from hoox_async import ConfigurationError
from hoox_async.webhooks import WebhookHub

from .observations import ReceivedDelivery

FAILED_AT_FIRST = 3
"""So many deliveries are answered 503, to see when the API sends them again."""
_LONGEST_BODY = 256 * 1024


class _Hub(WebhookHub):
    """A hub that knows the URLs it gave, in order: only deliveries to them are recorded."""

    def __init__(self, public_url: str) -> None:
        super().__init__(public_url, secrets.token_urlsafe(32))
        self.tokens: list[str] = []

    def url_for(self, attempt_id: str) -> str:
        url = super().url_for(attempt_id)
        self.tokens.append(url.rpartition("/")[2])
        return url


class Receiver:
    """Listens on a host and port, records the deliveries to the hub's URLs, and passes them on.

    The first `FAILED_AT_FIRST` deliveries of the first POST that has one are answered 503. The path before
    the token is not looked at, since a proxy may change it. Use it with ``async with``, which raises
    `ConfigurationError` if the port is taken.
    """

    def __init__(self, public_url: str, host: str, port: int) -> None:
        self.hub: _Hub = _Hub(public_url)
        self.deliveries: list[ReceivedDelivery] = []
        self._host, self._port = host, port
        self._greeting = secrets.token_urlsafe(16)
        self._arrived = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Receiver:
        app = web.Application(client_max_size=_LONGEST_BODY)
        app.router.add_get("/{path:.*}", self._greet)
        app.router.add_post("/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(
                f"--listen {self._host}:{self._port}: nothing can listen there: {error.strerror or error}"
            ) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hub.aclose()
        if self._runner is not None:
            await self._runner.cleanup()

    async def is_reachable(self) -> bool:
        """Whether a request to the public URL, from this machine, arrives here."""
        timeout = aiohttp.ClientTimeout(total=15)
        with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.get(f"{self.hub.public_url}/reachable") as answer,
            ):
                return answer.status == 200 and await answer.text() == self._greeting
        return False

    async def wait(self, enough: Callable[[], bool], seconds: float) -> None:
        """Return when it is enough, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not enough():
                    self._arrived.clear()
                    await self._arrived.wait()

    def delivered_looks(self) -> set[object]:
        """The ids of the looks whose deliveries were answered 200."""
        bodies = [one.body for one in self.deliveries if one.answered == 200 and isinstance(one.body, dict)]
        return {body.get("look_id") or body.get("job_id") for body in bodies}

    def is_taken(self) -> bool:
        """Whether the look whose deliveries were answered 503 at first has been delivered."""
        first = self.deliveries[0].attempt
        return any(one.answered == 200 for one in self.deliveries if one.attempt == first)

    async def _greet(self, _: web.Request) -> web.Response:
        return web.Response(text=self._greeting)

    async def _receive(self, request: web.Request) -> web.Response:
        token = request.path.rstrip("/").rpartition("/")[2]
        if token not in self.hub.tokens:
            return web.Response(status=404)
        at, body, attempt = datetime.now(UTC), await request.read(), self.hub.tokens.index(token)
        first = [one for one in self.deliveries if one.attempt == self.deliveries[0].attempt]
        is_first = not first or first[0].attempt == attempt
        status = 503 if is_first and len(first) < FAILED_AT_FIRST else await self.hub.handle(token, body)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.deliveries.append(ReceivedDelivery(at, headers, _json(body), status, attempt))
        self._arrived.set()
        return web.Response(status=status)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
