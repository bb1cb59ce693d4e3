"""The fake workspace behind real sockets: an aiohttp server on the loopback."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import unquote

from aiohttp import web

from ..errors import ConfigurationError
from .fault_injection import Exchange, Fault
from .workspace import Space
from .workspace_records import FakeLook, HttpResponse, IncomingRequest, RequestRecord, route

API = "/api/public/v1"
_HOST = "127.0.0.1"
_ITS_OWN = frozenset({"content-length", "transfer-encoding"})


class Accepted(Protocol):
    """Told of each look that a request made, before the request is answered."""

    async def accepted(self, look: FakeLook) -> None:
        """Deliver early, if that is wanted."""


PicturePainter = Callable[[FakeLook], Awaitable[bytes]]


class Server:
    """Serves a `Space` on 127.0.0.1. Its time is the running loop's.

    ``latency`` seconds pass between a request and its answer, half before it is accepted.
    """

    def __init__(
        self, space: Space, *, port: int, latency: float, painter: PicturePainter, webhook_sender: Accepted
    ) -> None:
        self.space = space
        self._port = port
        self._latency = latency
        self._painter = painter
        self._courier = webhook_sender
        self._runner: web.AppRunner | None = None
        self._closing = asyncio.Event()

    async def start(self) -> str:
        """Listen, and return the server's address. Raises `ConfigurationError` where the port is taken."""
        loop = asyncio.get_running_loop()
        self.space.epoch = time.time() - loop.time()
        app = web.Application()
        app.router.add_get("/pictures/{name}", self._picture)
        app.router.add_route("*", "/{path:.*}", self._api)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, _HOST, self._port)
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(f"port {self._port} of {_HOST} is not free: {error.strerror}") from None
        self._port = self._runner.addresses[0][1]
        self.space.picture_base = f"http://{_HOST}:{self._port}/pictures"
        return f"http://{_HOST}:{self._port}"

    async def aclose(self) -> None:
        """Stop listening; requests that hang are dropped."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _api(self, request: web.Request) -> web.StreamResponse:
        path = "/".join(unquote(part).replace("/", "%2F") for part in request.rel_url.raw_path.split("/"))
        if not path.startswith(API):
            return web.json_response({"error": "Not found"}, status=404)
        path = path.removeprefix(API)
        endpoint, _ = route(request.method, path)
        fault = self.space.faults.take(endpoint)
        if fault is not None and fault.silent and not fault.charges:
            exchange = self.space.receive(await self._call(request, path, read=False), self._now(), fault)
        else:
            call = await self._call(request, path)
            await self._pause(self._latency / 2)
            made = len(self.space.ledger)
            exchange = self.space.receive(call, self._now(), fault)
            for charge in self.space.ledger[made:]:
                await self._courier.accepted(self.space.looks[charge.look_id])
            await self._pause(self._latency / 2)
        return await self._send(request, exchange)

    async def _call(self, request: web.Request, path: str, *, read: bool = True) -> IncomingRequest:
        body: Any = None
        if read and request.can_read_body:
            body = await _json_of(request)
        return IncomingRequest(
            request.method, path, dict(request.query), body, request.headers.get("Authorization")
        )

    async def _send(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        seconds = exchange.fault.seconds if exchange.fault else 0.0
        match exchange.kind:
            case "drop" | "refuse":
                return _dropped(request)
            case "hang":
                await self._closing.wait()
                return _dropped(request)
            case "break":
                return await self._stream(request, exchange, break_off=True)
            case "drip":
                return await self._stream(request, exchange, seconds=seconds)
            case "endless":
                return await self._endless(request)
            case "late":
                await self._pause(seconds)
        return _response(_answer(exchange))

    async def _stream(
        self, request: web.Request, exchange: Exchange, *, seconds: float = 0.0, break_off: bool = False
    ) -> web.StreamResponse:
        answer = _answer(exchange)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = len(answer.body)
        await response.prepare(request)
        half = len(answer.body) // 2
        if break_off:
            await response.write(answer.body[:half])
            _dropped(request)
            return response
        step = max(1, len(answer.body) // 20)
        with suppress(ConnectionError):  # the client may have left
            for start in range(0, len(answer.body), step):
                await self._pause(seconds / 20)
                await response.write(answer.body[start : start + step])
        return response

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):  # the client has seen enough
            await response.write(b'{"avatar_id":"')
            while not self._closing.is_set():
                await response.write(b"x" * 65536)
        _dropped(request)
        return response

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        look = self.space.looks.get(request.match_info["name"].removesuffix(".jpg"))
        fault = self.space.faults.take("picture")
        answer = await self._painted(look, fault)
        silent = fault is not None and fault.silent
        record = RequestRecord(
            endpoint="picture",
            at=self._now(),
            status=None if silent else answer.status,
            path=request.path,
            authorized="Authorization" in request.headers,
            fault=fault.name if fault else None,
        )
        self.space.requests.append(record)
        return await self._send(request, Exchange(answer, fault, record))

    async def _painted(self, look: FakeLook | None, fault: Fault | None) -> HttpResponse:
        drawn: HttpResponse | None = None
        if look is None or self.space.generation.word(look, self._now()) != "ready":
            return HttpResponse(404, {"Content-Type": "text/plain"}, b"no such picture")
        if fault is None or fault.body is None:
            try:
                drawn = HttpResponse(200, {"Content-Type": "image/jpeg"}, await self._painter(look))
            except ConfigurationError as error:  # no Pillow
                return HttpResponse(501, {"Content-Type": "text/plain"}, str(error).encode())
        if fault is not None:
            drawn = fault.apply(drawn, {}, self.space.epoch + self._now())
        return drawn or HttpResponse(404, {}, b"")

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0 or self._closing.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _json_of(request: web.Request) -> Any:
    """The JSON that came. None for what is none, is nested too deeply, or is not packed as it says."""
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        return None


def _answer(exchange: Exchange) -> HttpResponse:
    return exchange.answer or HttpResponse(500, {}, b"")


def _response(answer: HttpResponse) -> web.Response:
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in _ITS_OWN}
    return web.Response(status=answer.status, headers=headers, body=answer.body)


def _dropped(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
