"""The aiohttp transport over real sockets: what leaves, when, and what an error proves."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import aiohttp.client_exceptions
import pytest
from aioresponses import aioresponses
from multidict import CIMultiDict, CIMultiDictProxy
from session_kit import ACCEPTED, RawServer, answer
from yarl import URL

from hoox_async import Timeouts
from hoox_async._core.models import LookRef
from hoox_async._core.wire import read_accepted, read_status, status_request
from hoox_async._download import read_picture
from hoox_async._protocols import Endpoint, WireRequest, WireResponse
from hoox_async._transport import HttpTransport, PictureFetcher, mapped
from hoox_async.errors import (
    HooxError,
    NotSent,
    OutcomeUnknown,
    SessionClosed,
    StoreError,
    TransportError,
    UnexpectedResponse,
)

KEY = "hx_live_marked"
POST = WireRequest(Endpoint.CREATE, "POST", "avatar/create", body={"prompt": "x"})
GET = status_request(LookRef("avtr_1", "look_1"))
STATUS = b'{"avatar_id": "avtr_1", "look_id": "look_1", "status": "pending"}'
SHORT = Timeouts(connect=0.5, read=0.4, answer=0.4)


@asynccontextmanager
async def transport_to(url: str, timeouts: Timeouts = SHORT) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(url, KEY, timeouts)
    await transport.start()
    try:
        yield transport
    finally:
        await transport.aclose()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- a paid request


async def test_nothing_leaves_before_before_send() -> None:
    """The connection stands, and not one byte has come while before_send runs."""
    seen: list[tuple[int, int]] = []
    async with RawServer() as server, transport_to(server.url) as transport:

        async def before_send() -> None:
            await asyncio.sleep(0.05)
            seen.append((server.connections, len(server.requests)))

        response = await transport.send(POST, before_send)
        assert seen == [(1, 0)]
        assert (response.status, response.body) == (201, ACCEPTED)
        assert b'{"prompt": "x"}' in server.requests[0]


@pytest.mark.parametrize(
    "error", [StoreError("disk full"), OSError("disk full"), TimeoutError(), ValueError("x")]
)
async def test_a_before_send_that_fails_sends_nothing(error: Exception) -> None:
    """Its own error comes out, and the server has seen a connection without a byte."""
    received: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        received.append(await reader.read())

    async def before_send() -> None:
        raise error

    async with RawServer(listen) as server, transport_to(server.url) as transport:
        with pytest.raises(type(error)) as caught:
            await transport.send(POST, before_send)
        assert caught.value is error
        await asyncio.sleep(0.02)
        assert received == [b""]


async def test_a_cancelled_before_send_sends_nothing() -> None:
    """Cancelled in the last moment, it still has not left."""
    received: list[bytes] = []
    begun = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        received.append(await reader.read())

    async def before_send() -> None:
        begun.set()
        await asyncio.sleep(60)

    async with RawServer(listen) as server, transport_to(server.url) as transport:
        task = asyncio.create_task(transport.send(POST, before_send))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.02)
        assert received == [b""]


async def test_the_answer_timeout_counts_from_the_sending() -> None:
    """However long before_send takes, the answer has its whole time, and no more than that."""
    loop = asyncio.get_running_loop()
    sent_at = 0.0

    async def before_send() -> None:
        nonlocal sent_at
        await asyncio.sleep(0.3)
        sent_at = loop.time()

    async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    timeouts = Timeouts(connect=0.1, answer=0.25)
    async with RawServer(never) as server, transport_to(server.url, timeouts) as transport:
        with pytest.raises(TransportError, match="in time"):
            await transport.send(POST, before_send)
        assert sent_at > 0
        assert loop.time() >= sent_at + 0.25


async def test_each_paid_request_has_a_connection_of_its_own() -> None:
    """A kept-alive socket may be stale, and then its request's fate is unknown without need."""
    async with RawServer() as server, transport_to(server.url) as transport:
        for _ in range(3):
            await transport.send(POST)
        assert (server.connections, len(server.requests)) == (3, 3)
        assert b"connection: close" in server.requests[0].lower()


async def test_a_refused_connection_is_not_sent() -> None:
    """Nobody listens: the one case, beside 429, in which a paid request may be sent again."""
    sent: list[int] = []

    async def before_send() -> None:
        sent.append(1)

    async with transport_to(f"http://127.0.0.1:{free_port()}") as transport:
        with pytest.raises(NotSent):
            await transport.send(POST, before_send)
        with pytest.raises(NotSent):
            await transport.send(GET)
    assert sent == []


async def test_a_connection_that_takes_too_long_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is the name that is not resolved: aiohttp has no timeout for that."""

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    monkeypatch.setattr("aiohttp.connector.DefaultResolver.resolve", resolve)
    async with transport_to("https://hoox.invalid", Timeouts(connect=0.05)) as transport:
        with pytest.raises(NotSent, match="in time"):
            await transport.send(POST)


async def test_a_certificate_that_is_wrong_is_not_sent() -> None:
    """The key has not travelled: TLS comes first."""

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    async with RawServer(no_tls) as server, transport_to(f"https://127.0.0.1:{server.port}") as transport:
        with pytest.raises(NotSent):
            await transport.send(POST)


async def test_a_hang_up_may_follow_an_accepted_request() -> None:
    """The server took it and hung up without an answer: that proves nothing, and it is sent once."""

    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await server.read(reader)

    async with RawServer(hang_up) as server, transport_to(server.url) as transport:
        with pytest.raises(TransportError):
            await transport.send(POST)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "error", [aiohttp.ServerDisconnectedError(), TimeoutError(), aiohttp.ServerTimeoutError()]
)
async def test_a_mocked_loss_is_no_proof(mocked_api: aioresponses, error: Exception) -> None:
    """A mock skips connector and traces; what it raises may still follow an accepted request."""
    mocked_api.post("https://hoox.example/v1/avatar/create", exception=error)
    async with transport_to("https://hoox.example/v1") as transport:
        with pytest.raises(TransportError):
            await transport.send(POST)


async def test_a_mocked_answer_runs_before_send_too(mocked_api: aioresponses) -> None:
    """So that users' mocks meet the same bookkeeping as the API."""
    mocked_api.post("https://hoox.example/v1/avatar/create", status=201, body=ACCEPTED)
    ran: list[int] = []

    async def before_send() -> None:
        ran.append(1)

    async with transport_to("https://hoox.example/v1") as transport:
        assert (await transport.send(POST, before_send)).status == 201
    assert ran == [1]


# --- a read


async def test_reads_share_connections() -> None:
    """A status request does not pay for a handshake each time."""
    async with RawServer(reply=answer(STATUS, 200)) as server, transport_to(server.url) as transport:
        for _ in range(3):
            response = await transport.send(GET)
        assert read_status(response, LookRef("avtr_1", "look_1")).status == "pending"
        assert (server.connections, len(server.requests)) == (1, 3)


async def test_a_read_is_not_silently_sent_again() -> None:
    """aiohttp repeats a GET on a stale connection by itself: that would not be counted in the quota."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(answer(STATUS, 200))
        await server.read(reader)  # a second request, never answered

    async with RawServer(once) as server, transport_to(server.url) as transport:
        await transport.send(GET)
        with pytest.raises(TransportError):
            await transport.send(GET)
        assert (server.connections, len(server.requests)) == (1, 2)


async def test_a_read_has_its_time() -> None:
    """From its start to the last byte."""

    async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with RawServer(never) as server, transport_to(server.url) as transport:
        with pytest.raises(TransportError, match="in time"):
            await transport.send(GET)


# --- where the key goes


@pytest.mark.parametrize("request_", [POST, GET], ids=["paid", "read"])
async def test_redirects_are_not_followed(request_: WireRequest) -> None:
    """The key never travels to another host; the answer is read as what it is."""
    async with RawServer() as elsewhere:
        away = answer(b"", 302, f"Location: {elsewhere.url}/avatar/create\r\n")
        async with RawServer(reply=away) as server, transport_to(server.url) as transport:
            response = await transport.send(request_)
            assert response.status == 302
            assert f"Authorization: Bearer {KEY}".encode() in server.requests[0]
        assert elsewhere.connections == 0


async def test_a_picture_is_fetched_without_the_key() -> None:
    """Not at its first address and not where that redirects to."""
    picture = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 3\r\n\r\nJPG"
    async with RawServer(reply=picture) as elsewhere:
        away = answer(b"", 302, f"Location: {elsewhere.url}/p.jpg\r\nSet-Cookie: a=b\r\n")
        async with RawServer(reply=away) as server, transport_to(server.url) as transport:
            async with transport.fetch(f"{server.url}/p.jpg") as fetched:
                assert b"".join([chunk async for chunk in fetched.chunks]) == b"JPG"
                assert fetched.content_type == "image/jpeg"
            everything = b"".join(server.requests + elsewhere.requests)
            assert KEY.encode() not in everything
            assert b"Cookie" not in everything


async def test_ids_cannot_lead_elsewhere_on_the_host() -> None:
    """What is in a path is quoted."""
    async with RawServer(reply=answer(b"{}", 200)) as server, transport_to(server.url + "/v1") as transport:
        await transport.send(WireRequest(Endpoint.AVATAR, "GET", "avatar/a b?c#d%2e"))
        assert server.requests[0].startswith(b"GET /v1/avatar/a%20b%3Fc%23d%252e HTTP/1.1")


async def test_the_key_is_in_no_error_and_no_repr() -> None:
    """Whatever goes wrong."""
    async with transport_to(f"http://127.0.0.1:{free_port()}") as transport:
        with pytest.raises(NotSent) as caught:
            await transport.send(POST)
        shown = repr(caught.value) + str(caught.value) + repr(transport)
        assert KEY not in shown
        assert caught.value.__cause__ is None


# --- hostile answers


def hostile(head: bytes, forever: bytes, pause: float = 0.0) -> Any:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(forever)
            await writer.drain()
            await asyncio.sleep(pause)

    return serve


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("request_", [POST, GET], ids=["paid", "read"])
@pytest.mark.parametrize(
    ("head", "forever", "pause", "error"),
    [
        (HEAD + b"\r\n", b"x" * 65536, 0.0, UnexpectedResponse),
        (HEAD + b"Content-Length: 9000000000\r\n\r\n", b"x" * 65536, 0.0, UnexpectedResponse),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 5000, 0.0, HooxError),
        (HEAD + b"\r\n", b"x", 0.01, TransportError),
        (HEAD, b"X-More: " + b"y" * 4000 + b"\r\n", 0.0, TransportError),
        (HEAD + b"X-Long: ", b"y" * 65536, 0.0, TransportError),
        (b"HTTP/1.1 ", b"z" * 65536, 0.0, TransportError),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500, 0.0, TransportError),
    ],
    ids=["endless", "announced", "crumbs", "drip", "headers", "one header", "status line", "1xx"],
)
async def test_a_hostile_answer_is_bounded(
    request_: WireRequest, head: bytes, forever: bytes, pause: float, error: type[HooxError]
) -> None:
    """In memory and in time, whatever the server goes on sending."""
    async with RawServer(hostile(head, forever, pause)) as server, transport_to(server.url) as transport:
        tracemalloc.start()
        try:
            async with asyncio.timeout(5):
                with pytest.raises(error):
                    await transport.send(request_)
            assert tracemalloc.get_traced_memory()[1] < 24 << 20
        finally:
            tracemalloc.stop()


async def test_an_answer_of_just_the_cap_is_taken() -> None:
    """One byte more is not."""
    request = WireRequest(Endpoint.STATUS, "GET", "avatar/status", max_bytes=1000)
    for size, fits in ((1000, True), (1001, False)):
        body = b"x" * size
        async with RawServer(reply=answer(body, 200)) as server, transport_to(server.url) as transport:
            if fits:
                assert (await transport.send(request)).body == body
            else:
                with pytest.raises(UnexpectedResponse, match="1000"):
                    await transport.send(request)


async def test_deep_json_is_bounded() -> None:
    """A hundred thousand brackets are no look, and no crash."""
    deep = b"[" * 100_000 + b"]" * 100_000
    async with RawServer(reply=answer(deep)) as server, transport_to(server.url) as transport:
        response = await transport.send(POST)
        with pytest.raises(OutcomeUnknown):
            read_accepted(response, None)
        with pytest.raises(UnexpectedResponse):
            read_status(WireResponse(200, {}, deep), LookRef("avtr_1", "look_1"))


async def test_a_packed_answer_is_unpacked_within_the_cap() -> None:
    """None is asked for; but where a proxy packs, a paid answer must not be lost, nor fill the memory."""
    packed = answer(gzip.compress(ACCEPTED), 201, "Content-Encoding: gzip\r\n")
    bomb = answer(gzip.compress(b"0" * (50 << 20)), 201, "Content-Encoding: gzip\r\n")
    broken = answer(b"not gzip", 201, "Content-Encoding: gzip\r\n")
    async with RawServer(reply=packed) as server, transport_to(server.url) as transport:
        assert (await transport.send(POST)).body == ACCEPTED
        assert b"Accept-Encoding: identity" in server.requests[0]
    async with RawServer(reply=bomb) as server, transport_to(server.url) as transport:
        with pytest.raises(UnexpectedResponse):
            await transport.send(POST)
    async with RawServer(reply=broken) as server, transport_to(server.url) as transport:
        assert (await transport.send(POST)).body == b"not gzip"


async def test_a_broken_answer_is_an_error_of_ours() -> None:
    """Closed in the middle of the body."""
    whole = answer(b"x" * 1000)

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(whole[:-500])

    async with RawServer(half) as server, transport_to(server.url) as transport:
        for request in (POST, GET):
            with pytest.raises(TransportError):
                await transport.send(request)


@pytest.mark.parametrize(
    "noise", [b"\x00\xff garbage\r\n\r\n", b"HTTP/9.9 abc\r\n\r\n", b"SSH-2.0-OpenSSH\r\n"]
)
async def test_what_is_no_http_is_an_error_of_ours(noise: bytes) -> None:
    """Any bytes at all."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(noise)

    async with RawServer(speak) as server, transport_to(server.url) as transport:
        for request in (POST, GET):
            with pytest.raises(TransportError):
                await transport.send(request)


# --- pictures


async def test_what_the_caller_raises_in_a_picture_is_the_callers() -> None:
    """A full disk is no lost connection."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1\r\n\r\nx"
    async with RawServer(reply=reply) as server, PictureFetcher(SHORT) as fetcher:
        for error in (FileExistsError("there"), TimeoutError("mine"), ValueError("mine")):
            with pytest.raises(type(error)) as caught:
                async with fetcher.fetch(server.url + "/a"):
                    raise error
            assert caught.value is error


@pytest.mark.parametrize(
    "url", ["", "no url", "ftp://host/a", "file:///etc/passwd", "http://", "http://[x", "//h/a"]
)
async def test_a_picture_needs_a_usable_url(url: str) -> None:
    """Anything else is an answer that makes no sense."""
    async with PictureFetcher(SHORT) as fetcher:
        with pytest.raises((UnexpectedResponse, NotSent)):
            async with fetcher.fetch(url):
                pass


async def test_a_picture_that_drips_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the whole does not."""
    monkeypatch.setattr("hoox_async._transport.pictures._LONGEST", 0.1)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n"
    timeouts = Timeouts(read=4.0)
    async with RawServer(hostile(head, b"x", 0.01)) as server, PictureFetcher(timeouts) as fetcher:
        async with asyncio.timeout(5):
            with pytest.raises(TransportError, match="not whole"):
                await read_picture(fetcher.fetch, server.url + "/a")


async def test_redirects_of_a_picture_end() -> None:
    """In a circle, or at something that is no address."""
    for place in ("/again", "ftp://host/a", "http://"):
        reply = answer(b"", 302, f"Location: {place}\r\n")
        async with RawServer(reply=reply) as server, PictureFetcher(SHORT) as fetcher:
            with pytest.raises((UnexpectedResponse, TransportError)):
                async with fetcher.fetch(server.url + "/a"):
                    pass
            assert len(server.requests) <= 4


# --- what errors prove


def _arguments() -> dict[str, tuple[Any, ...]]:
    key = SimpleNamespace(host="hoox.example", port=443, ssl=True, is_ssl=True)
    info = aiohttp.RequestInfo(URL("https://hoox.example"), "POST", CIMultiDictProxy(CIMultiDict()))
    connector = (key, OSError(111, "refused"))
    return {
        "ClientOSError": (104, "reset"),
        "ClientConnectorError": connector,
        "ClientProxyConnectionError": connector,
        "ClientSSLError": connector,
        "ClientConnectorDNSError": connector,
        "ClientConnectorSSLError": connector,
        "ClientConnectorCertificateError": (key, ssl.CertificateError("bad")),
        "ServerFingerprintMismatch": (b"a", b"b", "hoox.example", 443),
        "ClientResponseError": (info, ()),
        "ClientHttpProxyError": (info, ()),
        "WSServerHandshakeError": (info, ()),
        "ContentTypeError": (info, ()),
        "InvalidURL": ("ht tp://x",),
        "InvalidUrlClientError": ("ht tp://x",),
        "NonHttpUrlClientError": ("ftp://x",),
        "InvalidUrlRedirectClientError": ("ht tp://x",),
        "NonHttpUrlRedirectClientError": ("ftp://x",),
    }


ERRORS = sorted(
    (
        kind
        for kind in vars(aiohttp.client_exceptions).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__.startswith("aiohttp")
    ),
    key=lambda kind: kind.__name__,
)
NEVER_MADE = {
    "ClientConnectorError", "ClientProxyConnectionError", "ClientConnectorDNSError", "ClientSSLError",
    "UnixClientConnectorError", "ClientConnectorSSLError", "ClientConnectorCertificateError",
    "ConnectionTimeoutError", "InvalidURL", "InvalidUrlClientError", "NonHttpUrlClientError",
}  # fmt: skip


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_aiohttp_has_one_of_ours(kind: type[Exception]) -> None:
    """Only a connection that was never made proves that nothing was received."""
    arguments = _arguments().get(kind.__name__, ())
    if kind.__name__ == "UnixClientConnectorError":
        arguments = ("/socket", *_arguments()["ClientConnectorError"])
    try:
        error = kind(*arguments)
    except TypeError:
        error = kind.__new__(kind)
    ours = mapped(error)
    assert type(ours) is (NotSent if kind.__name__ in NEVER_MADE else TransportError)
    assert ours.charged == "no"


def test_the_walk_is_over_all_of_them() -> None:
    """The list is aiohttp's own, so a new version's errors are walked too."""
    assert {kind.__name__ for kind in ERRORS} >= set(aiohttp.client_exceptions.__all__) - {
        "WSMessageTypeError"
    }
    assert {kind.__name__ for kind in ERRORS} >= NEVER_MADE


@pytest.mark.parametrize("error", [TimeoutError(), OSError("x"), ValueError("x"), ConnectionResetError()])
def test_the_loops_own_errors_prove_nothing(error: Exception) -> None:
    """They can come after the sending as well as before."""
    assert type(mapped(error)) is TransportError


def test_an_error_of_ours_stays_itself() -> None:
    """It says all that is known."""
    error = StoreError("full")
    assert mapped(error) is error


# --- opening and closing


async def test_a_transport_that_is_not_open_sends_nothing() -> None:
    """Before the start and after the end."""
    transport = HttpTransport("http://127.0.0.1:1", KEY, SHORT)
    for _ in range(2):
        with pytest.raises(SessionClosed):
            await transport.send(POST)
        with pytest.raises(SessionClosed):
            async with transport.fetch("http://127.0.0.1:1/a"):
                pass
        await transport.start()
        await transport.aclose()
        await transport.aclose()


async def test_no_connection_outlives_the_transport() -> None:
    """The server sees every one of them end."""
    async with RawServer(reply=answer(STATUS, 200)) as server:
        async with transport_to(server.url) as transport:
            await asyncio.gather(*(transport.send(GET) for _ in range(5)))
            assert len(server._writers) == server.connections > 0
        async with asyncio.timeout(2):
            while not all(writer.is_closing() for writer in server._writers):
                await asyncio.sleep(0.005)
