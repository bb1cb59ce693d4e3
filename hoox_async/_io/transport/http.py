"""The API over HTTP by aiohttp: its connectors, traces and timeouts."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from ..._api.endpoints import WireRequest, WireResponse
from ..._core.redaction import without_secrets
from ..._core.settings import Timeouts
from ...errors import NotSent, SessionClosed, TransportError, UnexpectedResponse
from ..protocols import BeforeSend
from .deadlines import Deadlines
from .failures import mapped
from .picture_fetcher import PictureFetcher
from .user_agent import USER_AGENT

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
_KNOWN_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_USUAL_PATHS = ("avatar/create", "avatar/edit", "avatar/status")


class _Sending:
    """What happens in the moment before a paid request's first byte leaves."""

    def __init__(self, before_send: BeforeSend | None, deadline: asyncio.Timeout, times: Deadlines) -> None:
        self._before_send = before_send
        self._deadline = deadline
        self._times = times
        self.begun = False
        self.failure: Exception | None = None

    def __deepcopy__(self, _: object) -> _Sending:
        return self  # mocks of aiohttp copy the arguments of a call; a loop must not be copied

    async def begin(self) -> None:
        """Run ``before_send``, then start the clock of the answer."""
        self.begun = True
        self._deadline.reschedule(None)
        try:
            if self._before_send is not None:
                await self._before_send()
        except Exception as error:
            self.failure = error
            raise
        self._times.begin(self._deadline)


async def _on_headers(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    sending = context.trace_request_ctx
    if isinstance(sending, _Sending):
        await sending.begin()


async def _no_silent_resend(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp sends a GET again by itself when a kept-alive connection breaks: that request would not be
    # counted in the quota. An error of another class passes by its retry.
    try:
        return await handler(request)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        if isinstance(error, aiohttp.ClientConnectorError):
            raise
        raise mapped(error) from None


class HttpTransport:
    """The API over HTTP. Paid requests have a connection of their own; reads share a pool.

    A stale kept-alive socket makes a paid request's fate unknown without need, so each gets a fresh one.
    """

    def __init__(self, base_url: str, api_key: str, timeouts: Timeouts) -> None:
        self._base_url = base_url
        self._key = api_key.encode()
        self._headers = {**_HEADERS, "Authorization": f"Bearer {api_key}"}
        self._timeouts = timeouts
        self._read_times = Deadlines(timeouts.read)
        self._answer_times = Deadlines(timeouts.answer)
        self._pictures = PictureFetcher(timeouts)
        self._paid: aiohttp.ClientSession | None = None
        self._reads: aiohttp.ClientSession | None = None
        self._urls = {path: _joined(base_url, path) for path in _USUAL_PATHS}

    async def start(self) -> None:
        """Make the client sessions; no connection yet."""
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_on_headers)
        self._paid = self._client(
            aiohttp.TCPConnector(force_close=True, limit=0), trace_configs=[trace], middlewares=()
        )
        self._reads = self._client(aiohttp.TCPConnector(limit=0), middlewares=(_no_silent_resend,))
        await self._pictures.__aenter__()

    def _client(self, connector: aiohttp.TCPConnector, **options: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            # no total: where it ends in the turn in which the caller is cancelled, that would be lost
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            # a compressed answer could unfold to any size
            auto_decompress=False,
            **options,
        )

    def send(
        self, request: WireRequest, before_send: BeforeSend | None = None
    ) -> Coroutine[Any, Any, WireResponse]:
        """Send once and read the whole answer; the protocol tells what is raised."""
        if self._paid is None or self._reads is None:
            raise SessionClosed("the transport is not open")
        if request.endpoint.paid:
            return self._send_paid(self._paid, request, before_send)
        return self._send_read(self._reads, request, before_send)

    async def _send_read(
        self, http: aiohttp.ClientSession, request: WireRequest, before_send: BeforeSend | None
    ) -> WireResponse:
        if before_send is not None:
            await before_send()
        time = self._read_times.begin()
        try:
            async with time:
                response = await http.request(
                    request.method, self._url(request.path), params=request.params, allow_redirects=False
                )
                try:
                    body = await _read(response, request.max_bytes)
                finally:
                    if response.connection is not None:  # it was not read to its end
                        response.close()
            return self._answer(response, body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise mapped(error) from None
        finally:
            self._read_times.end(time)

    async def _send_paid(
        self, http: aiohttp.ClientSession, request: WireRequest, before_send: BeforeSend | None
    ) -> WireResponse:
        # until the connection stands: resolving the name has no timeout of its own in aiohttp
        deadline = asyncio.timeout(2 * self._timeouts.connect)
        sending = _Sending(before_send, deadline, self._answer_times)
        try:
            async with (
                deadline,
                http.request(
                    request.method,
                    self._url(request.path),
                    json=request.body,
                    allow_redirects=False,
                    trace_request_ctx=sending,
                ) as response,
            ):
                if not sending.begun:  # a mock that skips the traces
                    await sending.begin()
                return self._answer(response, await _read(response, request.max_bytes))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _why_paid_failed(error, sending, deadline) from None
        finally:
            self._answer_times.end(deadline)

    def _answer(self, response: aiohttp.ClientResponse, body: bytes) -> WireResponse:
        # the key stays out of the locals of what can raise: reporters of errors send those along
        status = response.status
        return WireResponse(status, response.headers, without_secrets(status, body, self._key))

    def _url(self, path: str) -> URL:
        return self._urls.get(path) or _joined(self._base_url, path)

    def fetch(self, url: str) -> Any:
        """Open a picture's URL, without the API key."""
        return self._pictures.fetch(url)

    async def aclose(self) -> None:
        """Close all connections, also where the caller is cancelled meanwhile, and however often."""
        paid, reads, self._paid, self._reads = self._paid, self._reads, None, None
        self._read_times.close()
        self._answer_times.close()
        # each is told to close before it is waited for; the stack goes on where such a wait is cancelled
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._pictures.aclose)
            for http in (reads, paid):
                if http is not None:
                    closing.push_async_callback(http.close)


def _why_paid_failed(error: Exception, sending: _Sending, deadline: asyncio.Timeout) -> Exception:
    """Once the request has begun, nothing proves any more that it was not received."""
    if sending.failure is not None:
        return sending.failure
    if sending.begun:
        found = mapped(error)
        return TransportError(str(found)) if isinstance(found, NotSent) else found
    if deadline.expired():
        return NotSent("no connection in time")
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
        return NotSent(f"no connection: {type(error).__name__}")
    return mapped(error)


def _joined(base_url: str, path: str) -> URL:
    return URL(f"{base_url}/{quote(path)}", encoded=True)


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    content = response.content
    if not content.is_eof() and (response.content_length or 0) > max_bytes:
        raise _too_large(response, max_bytes)
    body = await content.readany()
    if len(body) > max_bytes:
        raise _too_large(response, max_bytes)
    if not content.at_eof():
        body = await _rest(response, body, max_bytes)
    if "content-encoding" in response.headers:  # though none was asked for
        body = _unpacked(body, _encodings(response), max_bytes)
        if len(body) > max_bytes:
            raise _too_large(response, max_bytes)
    return body


async def _rest(response: aiohttp.ClientResponse, first: bytes, max_bytes: int) -> bytes:
    parts, size = [first], len(first)
    while part := await response.content.readany():
        size += len(part)
        if size > max_bytes:
            raise _too_large(response, max_bytes)
        parts.append(part)
    return b"".join(parts)


def _too_large(response: aiohttp.ClientResponse, max_bytes: int) -> UnexpectedResponse:
    return UnexpectedResponse(f"the answer is larger than {max_bytes} bytes", status=response.status)


def _encodings(response: aiohttp.ClientResponse) -> list[str]:
    """The body's codings, in the order in which they were applied. RFC 9110: in any case of letters."""
    listed = ",".join(response.headers.getall("content-encoding")).lower().split(",")
    return [name for name in map(str.strip, listed) if name not in ("", "identity")]


def _unpacked(body: bytes, encodings: list[str], max_bytes: int) -> bytes:
    """The body without its compression, a byte more than the cap at most; as it came, if it is broken."""
    unpacked = body
    for name in reversed(encodings):
        if name not in _KNOWN_ENCODINGS:
            return body
        try:
            unpacked = _inflated(unpacked, name, max_bytes)
        except zlib.error:
            return body
        if len(unpacked) > max_bytes:
            break
    return unpacked


def _inflated(body: bytes, name: str, max_bytes: int) -> bytes:
    try:
        return zlib.decompressobj(wbits=47).decompress(body, max_bytes + 1)  # 47: gzip or zlib
    except zlib.error:
        if name != "deflate":
            raise
        return zlib.decompressobj(wbits=-15).decompress(
            body, max_bytes + 1
        )  # without zlib's head, as some do
