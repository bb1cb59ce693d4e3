"""HTTP by aiohttp: the one place that knows aiohttp's exceptions, connectors and traces."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from ._core.redaction import without_secrets
from ._core.settings import Timeouts
from ._protocols import BeforeSend, Fetched, WireRequest, WireResponse
from .errors import HooxError, NotSent, SessionClosed, TransportError, UnexpectedResponse

_CHUNK = 1 << 16
_PICTURE_READS = 10  # a picture may take this many read timeouts as a whole
_NO_ADDRESS = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)
_NEVER_MADE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


def mapped(error: BaseException) -> HooxError:
    """Our error for one of aiohttp's (or of the loop's), by what it proves.

    Only a connection that was never made proves that nothing was received. A server that hangs up can
    have taken the request first.
    """
    name = type(error).__name__
    if isinstance(error, HooxError):
        return error
    if isinstance(error, _NEVER_MADE):
        return NotSent(f"no connection: {_host_of(error)}{name}")
    if isinstance(error, _NO_ADDRESS) and not isinstance(error, aiohttp.RedirectClientError):
        return NotSent(f"no connection: {name}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return TransportError("the answer broke off")
    if isinstance(error, TimeoutError):
        return TransportError("no answer in time")
    return TransportError(f"the connection was lost: {name}")


def _host_of(error: BaseException) -> str:
    host = getattr(error, "host", None)
    return f"{host}: " if isinstance(host, str) else ""


class _Sending:
    """What happens in the moment before a paid request's first byte leaves."""

    def __init__(self, before_send: BeforeSend | None, deadline: asyncio.Timeout, answer: float) -> None:
        self._before_send = before_send
        self._deadline = deadline
        self._answer = answer
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
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._answer)


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


class PictureFetcher:
    """Fetches pictures from wherever the API keeps them. It has no API key that it could send."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> PictureFetcher:
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeouts.connect, sock_read=self._timeouts.read
        )
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=16),
            timeout=limits,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "image/*", "Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    @asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator[Fetched]:
        """Open a picture's URL. Raises `TransportError`, `NotSent` or `UnexpectedResponse`."""
        if self._http is None:
            raise SessionClosed("the picture fetcher is not open")
        longest = _PICTURE_READS * self._timeouts.read
        # what the block raises is its own, and not to be taken for a failure of the connection
        async with await _answer_of(self._http, url, longest) as response:
            if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
                raise UnexpectedResponse(
                    f"picture: HTTP {response.status} from {response.url.host}", status=response.status
                )
            yield Fetched(response.content_type, _chunks(response, longest))


async def _answer_of(http: aiohttp.ClientSession, url: str, longest: float) -> aiohttp.ClientResponse:
    """The answer without its body. Headers that come in a drip end after ``longest`` seconds."""
    try:
        address = URL(url)
        if address.scheme in ("http", "https") and address.host:
            async with asyncio.timeout(longest):
                return await http.get(address, max_redirects=3)
    except (*_NO_ADDRESS, ValueError):
        pass
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise mapped(error) from None
    raise UnexpectedResponse("picture: not a usable URL")


async def _chunks(response: aiohttp.ClientResponse, longest: float) -> AsyncIterator[bytes]:
    """The body as it comes. Each piece has the read timeout, and a drip of them ends after ``longest`` s."""
    time = asyncio.get_running_loop().time
    until = time() + longest
    try:
        async for chunk in response.content.iter_chunked(_CHUNK):
            yield chunk
            if time() > until:
                raise TransportError(f"the picture is not whole after {longest:g} s")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
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
        self._pictures = PictureFetcher(timeouts)
        self._paid: aiohttp.ClientSession | None = None
        self._reads: aiohttp.ClientSession | None = None

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
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            # a compressed answer could unfold to any size
            auto_decompress=False,
            **options,
        )

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        """Send once and read the whole answer; the protocol tells what is raised."""
        if self._paid is None or self._reads is None:
            raise SessionClosed("the transport is not open")
        if request.endpoint.paid:
            status, headers, body = await self._send_paid(self._paid, request, before_send)
        else:
            status, headers, body = await self._send_read(self._reads, request, before_send)
        return WireResponse(status, headers, without_secrets(status, body, self._key))

    async def _send_read(
        self, http: aiohttp.ClientSession, request: WireRequest, before_send: BeforeSend | None
    ) -> WireResponse:
        if before_send is not None:
            await before_send()
        try:
            async with (
                asyncio.timeout(self._timeouts.read),
                http.request(
                    request.method, self._url(request), params=request.params, allow_redirects=False
                ) as response,
            ):
                return await _read(response, request.max_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise mapped(error) from None

    async def _send_paid(
        self, http: aiohttp.ClientSession, request: WireRequest, before_send: BeforeSend | None
    ) -> WireResponse:
        # until the connection stands: resolving the name has no timeout of its own in aiohttp
        deadline = asyncio.timeout(2 * self._timeouts.connect)
        sending = _Sending(before_send, deadline, self._timeouts.answer)
        try:
            async with (
                deadline,
                http.request(
                    request.method,
                    self._url(request),
                    json=request.body,
                    allow_redirects=False,
                    trace_request_ctx=sending,
                ) as response,
            ):
                if not sending.begun:  # a mock that skips the traces
                    await sending.begin()
                return await _read(response, request.max_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _why_paid_failed(error, sending, deadline) from None

    def _url(self, request: WireRequest) -> URL:
        return URL(f"{self._base_url}/{quote(request.path)}", encoded=True)

    def fetch(self, url: str) -> Any:
        """Open a picture's URL, without the API key."""
        return self._pictures.fetch(url)

    async def aclose(self) -> None:
        """Close all connections."""
        for http in (self._paid, self._reads):
            if http is not None:
                await http.close()
        self._paid = self._reads = None
        await self._pictures.aclose()


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


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> WireResponse:
    if (response.content_length or 0) > max_bytes:
        raise _too_large(response, max_bytes)
    parts: list[bytes] = []
    size = 0
    while part := await response.content.readany():
        size += len(part)
        if size > max_bytes:
            raise _too_large(response, max_bytes)
        parts.append(part)
    headers = {name.lower(): value for name, value in response.headers.items()}
    body = b"".join(parts)
    if headers.get("content-encoding") in ("gzip", "deflate"):  # though none was asked for
        body = _unpacked(body, max_bytes)
        if len(body) > max_bytes:
            raise _too_large(response, max_bytes)
    return WireResponse(response.status, headers, body)


def _too_large(response: aiohttp.ClientResponse, max_bytes: int) -> UnexpectedResponse:
    return UnexpectedResponse(f"the answer is larger than {max_bytes} bytes", status=response.status)


def _unpacked(body: bytes, max_bytes: int) -> bytes:
    """The body without its compression, a byte more than the cap at most; as it came, if it is broken."""
    try:
        return zlib.decompressobj(wbits=47).decompress(body, max_bytes + 1)  # 47: gzip or zlib
    except zlib.error:
        return body
