"""Serves the fake workspace on the loopback interface with aiohttp, its pictures and webhooks too."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from random import Random
from typing import Any
from urllib.parse import unquote

import aiohttp
from aiohttp import web

from .._io.clock import running_loop
from ..errors import ConfigurationError
from .answers import HttpResponse
from .avatars import PictureFile
from .drawing import paint
from .fault_injection import Exchange, Fault, faulty, is_silent
from .received_requests import IncomingRequest, RequestRecord, route
from .space import Space
from .webhook_sender import DeliveryOptions, DeliveryRecord, WebhookSender

API = "/api/public/v1"
_HOST = "127.0.0.1"
_SET_BY_AIOHTTP = frozenset({"content-length", "transfer-encoding"})
_KEPT_PICTURES = 64


class HttpServer:
    """Serves a `Space` on 127.0.0.1, and sends its webhooks, on the loop that it is made on and in its time.

    A request takes ``latency`` seconds, half of them until it is accepted.
    """

    def __init__(
        self,
        space: Space,
        *,
        port: int,
        latency: float,
        options: DeliveryOptions,
        rng: Random,
        delivered: list[DeliveryRecord],
    ) -> None:
        self.space = space
        self.loop: asyncio.AbstractEventLoop = running_loop()
        self.thread_id: int = threading.get_ident()
        self.webhook_sender: WebhookSender = WebhookSender(space, self._deliver, options, rng, delivered)
        self._port = port
        self._latency = latency
        self._runner: web.AppRunner | None = None
        self._closing = asyncio.Event()
        self._drawing_thread = ThreadPoolExecutor(1, thread_name_prefix="hoox sandbox drawing")
        self._pictures: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> str:
        """Listen, and return the server's address. Raises `ConfigurationError` if the port is not free."""
        self.space.epoch = time.time() - self.loop.time()
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
        self.webhook_sender.start()
        return f"http://{_HOST}:{self._port}"

    async def aclose(self) -> None:
        """Stop. Requests that are still unanswered lose their connection."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.webhook_sender.aclose()
        if self._http is not None:
            await self._http.close()
        self._drawing_thread.shutdown(wait=False, cancel_futures=True)

    async def _deliver(self, url: str, body: dict[str, Any]) -> int:
        if self._http is None:
            self._http = aiohttp.ClientSession()
        async with self._http.post(url, json=body, allow_redirects=False) as response:
            return response.status

    async def _api(self, request: web.Request) -> web.StreamResponse:
        path = "/".join(unquote(part).replace("/", "%2F") for part in request.rel_url.raw_path.split("/"))
        if not path.startswith(API):
            return web.json_response({"error": "Not found"}, status=404)
        path = path.removeprefix(API)
        endpoint, _ = route(request.method, path)
        fault = self.space.faults.next_fault(endpoint)
        if fault is not None and is_silent(fault) and not fault.charges:
            exchange = self.space.receive(await self._call(request, path, read=False), self._now(), fault)
        else:
            call = await self._call(request, path)
            await self._sleep(self._latency / 2)
            exchange = self.space.receive(call, self._now(), fault)
            for charge in exchange.charges:
                await self.webhook_sender.accepted(self.space.looks[charge.look_id])
            await self._sleep(self._latency / 2)
        return await self._send(request, exchange)

    async def _call(self, request: web.Request, path: str, *, read: bool = True) -> IncomingRequest:
        body: Any = None
        if read and request.can_read_body:
            body = await _json_of(request)
        return IncomingRequest(
            request.method, path, dict(request.query), body, request.headers.get("Authorization")
        )

    async def _send(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        match exchange.kind:
            case "drop" | "refuse":
                return _drop_connection(request)
            case "hang":
                await self._closing.wait()
                return _drop_connection(request)
            case "break":
                return await self._stream(request, exchange.content, break_off=True)
            case "drip":
                return await self._stream(request, exchange.content, seconds=exchange.seconds)
            case "endless":
                return await self._endless(request)
            case "late":
                await self._sleep(exchange.seconds)
        return _web_response(exchange.content)

    async def _stream(
        self, request: web.Request, content: HttpResponse, *, seconds: float = 0.0, break_off: bool = False
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=content.status, headers=content.headers)
        response.content_length = len(content.body)
        await response.prepare(request)
        half = len(content.body) // 2
        if break_off:
            await response.write(content.body[:half])
            _drop_connection(request)
            return response
        step = max(1, len(content.body) // 20)
        with suppress(ConnectionError):  # the client may have left
            for start in range(0, len(content.body), step):
                await self._sleep(seconds / 20)
                await response.write(content.body[start : start + step])
        return response

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):  # the client has seen enough
            await response.write(b'{"avatar_id":"')
            while not self._closing.is_set():
                await response.write(b"x" * 65536)
        _drop_connection(request)
        return response

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        file = self.space.picture_file(request.match_info["name"])
        fault = self.space.faults.next_fault("picture")
        response = await self._picture_response(file, fault)
        silent = fault is not None and is_silent(fault)
        record = RequestRecord(
            endpoint="picture",
            at=self._now(),
            status=None if silent else response.status,
            path=request.path,
            authorized="Authorization" in request.headers,
            fault=fault.name if fault else None,
        )
        self.space.requests.append(record)
        return await self._send(request, Exchange(response, fault, record))

    async def _picture_response(self, file: PictureFile | None, fault: Fault | None) -> HttpResponse:
        drawn: HttpResponse | None = None
        if file is None or self.space.generation.state(file.look, self._now()) != "ready":
            return HttpResponse(404, {"Content-Type": "text/plain"}, b"no such picture")
        if fault is None or fault.body is None:
            try:
                made = formatdate(self.space.picture_time(file.look), usegmt=True)
                headers = {"Content-Type": file.content_type, "Last-Modified": made}
                drawn = HttpResponse(200, headers, await self._draw(file))
            except ConfigurationError as error:  # no Pillow
                return HttpResponse(501, {"Content-Type": "text/plain"}, str(error).encode())
        if fault is not None:
            drawn = faulty(fault, drawn, {}, self.space.epoch + self._now())
        return drawn or HttpResponse(404, {}, b"")

    async def _draw(self, file: PictureFile) -> bytes:
        """The picture, drawn in a thread. The latest pictures are kept in memory."""
        name = (file.look.id, file.form)
        if name in self._pictures:
            self._pictures.move_to_end(name)
            return self._pictures[name]
        data = await self.loop.run_in_executor(self._drawing_thread, paint, file)
        self._pictures[name] = data
        while len(self._pictures) > _KEPT_PICTURES:
            self._pictures.popitem(last=False)
        return data

    async def _sleep(self, seconds: float) -> None:
        if seconds <= 0 or self._closing.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _now(self) -> float:
        return self.loop.time()


async def _json_of(request: web.Request) -> Any:
    """The request's JSON. None if it is none, is nested too deeply, or its encoding is not what it claims."""
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError, web.RequestPayloadError):
        return None


def _web_response(response: HttpResponse) -> web.Response:
    headers = {name: value for name, value in response.headers.items() if name.lower() not in _SET_BY_AIOHTTP}
    return web.Response(status=response.status, headers=headers, body=response.body)


def _drop_connection(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
