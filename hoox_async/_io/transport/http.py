"""The API over HTTP by aiohttp: connections, timeouts, and the callback before a paid request is sent."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import SimpleNamespace, TracebackType
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from ..._api.endpoints import WireRequest, WireResponse
from ..._core.settings import Timeouts
from ..._core.webhook_tokens import without_secrets
from ...errors import NotSent, SessionClosed, TransportError, UnexpectedResponse
from ..protocols import BeforeSend, Fetched
from .aiohttp_client import host_of, map_error, open_client
from .picture_fetcher import PictureFetcher

_KNOWN_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})


class _PaidSend:
    """One paid request, as aiohttp's trace sees it: calls ``before_send`` before the first byte leaves."""

    def __init__(self, before_send: BeforeSend | None, deadline: Deadline, answer: float, host: str) -> None:
        self._before_send = before_send
        self._deadline = deadline
        self._answer = answer
        self._host = host
        self.has_begun = False
        self.failure: Exception | None = None
        """What ``before_send`` raised."""

    def __deepcopy__(self, _: object) -> _PaidSend:
        return self  # mocks of aiohttp copy the arguments of a call; a loop must not be copied

    async def begin(self) -> None:
        """Run ``before_send`` without a timeout; then the timeout for the answer starts."""
        self.has_begun = True
        self._deadline.suspend()
        try:
            if self._before_send is not None:
                await self._before_send()
        except Exception as error:
            self.failure = error
            raise
        self._deadline.restart(self._answer)

    def map_error(self, error: Exception) -> Exception:
        """Our error for it: once the request has begun, no error proves that it was not received."""
        if self.failure is not None:
            return self.failure
        found = map_error(error, self._host)
        if self.has_begun:
            return TransportError(str(found)) if isinstance(found, NotSent) else found
        if self._deadline.expired:
            return NotSent(f"cannot reach {self._host}: no connection was made in time")
        if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
            return NotSent(f"cannot reach {self._host}: the request could not be written")
        return found


async def _on_headers_sent(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    # aiohttp awaits this when the headers are ready, before any byte of them leaves
    send = context.trace_request_ctx
    if isinstance(send, _PaidSend):
        await send.begin()


async def _prevent_silent_resend(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp sends a GET again by itself if a kept-alive connection breaks: that request would not be
    # counted in the quota. It does not retry an error of another class.
    try:
        return await handler(request)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        if isinstance(error, aiohttp.ClientConnectorError):
            raise
        raise map_error(error) from None


class HttpTransport:
    """The API over HTTP. Each paid request has a new connection; reads use a pool.

    On a stale kept-alive connection, it could not be determined whether a paid request was received.
    """

    def __init__(self, base_url: str, api_key: str, timeouts: Timeouts) -> None:
        self._base_url = base_url
        self._host = host_of(URL(base_url))
        self._key = api_key.encode()
        self._headers = {"Accept": "application/json", "Authorization": f"Bearer {api_key}"}
        self._timeouts = timeouts
        self._pictures = PictureFetcher(timeouts)
        self._paid: aiohttp.ClientSession | None = None
        self._reads: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Make the client sessions; no connection yet."""
        connect = self._timeouts.connect
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_on_headers_sent)
        one_each = aiohttp.TCPConnector(force_close=True, limit=0)
        self._paid = open_client(
            one_each, self._headers, connect=connect, trace_configs=[trace], middlewares=()
        )
        pool = aiohttp.TCPConnector(limit=0)
        self._reads = open_client(pool, self._headers, connect=connect, middlewares=(_prevent_silent_resend,))
        await self._pictures.__aenter__()

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        """Send once and read the whole answer. `Transport.send` says what is raised."""
        if self._paid is None or self._reads is None:
            raise SessionClosed("the transport is not open")
        if request.endpoint.paid:
            return await self._send_paid(self._paid, request, before_send)
        if before_send is not None:
            await before_send()
        return await self._send_read(self._reads, request)

    async def _send_read(self, http: aiohttp.ClientSession, request: WireRequest) -> WireResponse:
        url = self._url(request.path)
        try:
            async with (
                Deadline(self._timeouts.read),
                http.request(request.method, url, params=request.params, allow_redirects=False) as response,
            ):
                return self._answer(response, await _read(response, request.max_bytes))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise map_error(error, self._host) from None

    async def _send_paid(
        self, http: aiohttp.ClientSession, request: WireRequest, before_send: BeforeSend | None
    ) -> WireResponse:
        # until the connection is made: aiohttp has no timeout for name resolution
        deadline = Deadline(2 * self._timeouts.connect)
        send = _PaidSend(before_send, deadline, self._timeouts.answer, self._host)
        url = self._url(request.path)
        try:
            async with (
                deadline,
                http.request(
                    request.method, url, json=request.body, allow_redirects=False, trace_request_ctx=send
                ) as response,
            ):
                if not send.has_begun:  # a mock of aiohttp that skips the traces
                    await send.begin()
                return self._answer(response, await _read(response, request.max_bytes))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise send.map_error(error) from None

    def _answer(self, response: aiohttp.ClientResponse, body: bytes) -> WireResponse:
        # the key is kept out of the locals of what can raise: error reporters send those along
        status = response.status
        return WireResponse(status, response.headers, without_secrets(status, body, self._key))

    def _url(self, path: str) -> URL:
        return URL(f"{self._base_url}/{quote(path)}", encoded=True)

    def fetch(self, url: str) -> AbstractAsyncContextManager[Fetched]:
        """Open a picture's URL, without the API key."""
        return self._pictures.fetch(url)

    async def aclose(self) -> None:
        """Close all connections, also if the caller is cancelled meanwhile. Can be called again."""
        paid, reads, self._paid, self._reads = self._paid, self._reads, None, None
        async with AsyncExitStack() as closing:  # it closes the others too if one wait is cancelled
            closing.push_async_callback(self._pictures.aclose)
            for http in (reads, paid):
                if http is not None:
                    closing.push_async_callback(http.close)


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The whole body. Raises `UnexpectedResponse` if it has over ``max_bytes``, also decompressed."""
    if (response.content_length or 0) > max_bytes:
        raise _too_large(response, max_bytes)
    parts, size = [], 0
    while part := await response.content.readany():
        size += len(part)
        if size > max_bytes:
            raise _too_large(response, max_bytes)
        parts.append(part)
    body = b"".join(parts)
    if "content-encoding" in response.headers:  # though none was asked for
        body = _decompressed(body, _encodings(response), max_bytes)
        if len(body) > max_bytes:
            raise _too_large(response, max_bytes)
    return body


def _too_large(response: aiohttp.ClientResponse, max_bytes: int) -> UnexpectedResponse:
    return UnexpectedResponse(f"the answer is larger than {max_bytes} bytes", status=response.status)


def _encodings(response: aiohttp.ClientResponse) -> list[str]:
    """The codings of the body, in the order in which they were applied (RFC 9110: case-insensitive)."""
    listed = ",".join(response.headers.getall("content-encoding")).lower().split(",")
    return [name for name in map(str.strip, listed) if name not in ("", "identity")]


def _decompressed(body: bytes, encodings: list[str], max_bytes: int) -> bytes:
    """The decompressed body, up to one byte more than the limit; as it came, if it cannot be decompressed."""
    decompressed = body
    for name in reversed(encodings):
        if name not in _KNOWN_ENCODINGS:
            return body
        try:
            decompressed = _inflate(decompressed, name, max_bytes)
        except zlib.error:
            return body
        if len(decompressed) > max_bytes:
            break
    return decompressed


def _inflate(body: bytes, name: str, max_bytes: int) -> bytes:
    try:
        return zlib.decompressobj(wbits=47).decompress(body, max_bytes + 1)  # 47: gzip or zlib
    except zlib.error:
        if name != "deflate":
            raise
        # some servers leave out zlib's header
        return zlib.decompressobj(wbits=-15).decompress(body, max_bytes + 1)


_MIN_GRACE = 0.01  # seconds; uvloop reads nothing in less than a millisecond
_MAX_GRACE = 5.0


class Deadline:
    """Ends the block after so many seconds and a grace period, with `TimeoutError`; for ``async with``.

    After a suspension (stopped, in a debugger, starved of CPU) timers have expired, answers are in the
    sockets, and some event loops run the timers first. So a request that has timed out gets a short grace
    period, as long as the timer was late, in which the loop can read what has arrived.

    It is built on `asyncio.Timeout`, which can tell its own cancellation from the caller's.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Deadline:
        await self._timeout.__aenter__()
        self.restart(self._seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.suspend()
        await self._timeout.__aexit__(kind, error, trace)

    @property
    def expired(self) -> bool:
        """Whether it has ended the block."""
        return self._timeout.expired()

    def restart(self, seconds: float) -> None:
        """Restart the timeout: the block has so many seconds from now on."""
        self.suspend()
        self._seconds = seconds
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._begin_grace, loop.time() + seconds)

    def suspend(self) -> None:
        """Suspend the timeout until `restart`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin_grace(self, due_at: float) -> None:
        loop = asyncio.get_running_loop()
        grace = min(max(loop.time() - due_at, _MIN_GRACE), _MAX_GRACE, self._seconds)
        self._timer = loop.call_later(grace, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._timeout.reschedule(asyncio.get_running_loop().time())
