"""The aiohttp transport over real sockets: what leaves, when, and what an error proves."""

from __future__ import annotations

import asyncio
import socket
from importlib.metadata import version
from typing import Any

import aiohttp
import aiohttp.client_exceptions
import pytest
from aioresponses import aioresponses
from internals_kit import HttpTransport, WireRequest, read_status
from session_kit import ACCEPTED, RawServer, answer
from transport_kit import GET, KEY, POST, SHORT, STATUS, transport_to

from hoox_async import Endpoint, HooxSession, Look, LookRef, LookStatus, Timeouts
from hoox_async.errors import NotSent, SessionClosed, StoreError, TransportError, UnexpectedResponse

pytestmark = pytest.mark.both_loops


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- a paid request


async def test_no_byte_leaves_before_before_send_has_returned() -> None:
    """While before_send runs there is a connection, and the server has received nothing."""
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
    """`send` raises the error of before_send, and the server gets no byte."""
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
    """If before_send is cancelled while it runs, the server gets no byte."""
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
    """However long before_send takes, the answer has its whole timeout after it."""
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
    """Each paid request opens a connection of its own and asks the server to close it."""
    async with RawServer() as server, transport_to(server.url) as transport:
        for _ in range(3):
            await transport.send(POST)
        assert (server.connections, len(server.requests)) == (3, 3)
        assert b"connection: close" in server.requests[0].lower()


async def test_a_refused_connection_raises_not_sent() -> None:
    """A refused connection raises NotSent for paid requests and reads, and before_send is not called."""
    sent: list[int] = []

    async def before_send() -> None:
        sent.append(1)

    async with transport_to(f"http://127.0.0.1:{free_port()}") as transport:
        with pytest.raises(NotSent):
            await transport.send(POST, before_send)
        with pytest.raises(NotSent):
            await transport.send(GET)
    assert sent == []


async def test_a_connection_that_takes_too_long_raises_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that takes too long raises NotSent, also while the name is resolved."""

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    monkeypatch.setattr("aiohttp.connector.DefaultResolver.resolve", resolve)
    async with transport_to("https://hoox.invalid", Timeouts(connect=0.05)) as transport:
        with pytest.raises(NotSent, match="in time"):
            await transport.send(POST)


async def test_a_wrong_certificate_raises_not_sent() -> None:
    """A wrong certificate raises NotSent."""

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    async with RawServer(no_tls) as server, transport_to(f"https://127.0.0.1:{server.port}") as transport:
        with pytest.raises(NotSent):
            await transport.send(POST)


async def test_a_server_that_hangs_up_raises_transport_error() -> None:
    """A server that hangs up raises TransportError, and the request is sent once."""

    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await server.read(reader)

    async with RawServer(hang_up) as server, transport_to(server.url) as transport:
        with pytest.raises(TransportError):
            await transport.send(POST)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "error", [aiohttp.ServerDisconnectedError(), TimeoutError(), aiohttp.ServerTimeoutError()]
)
async def test_a_loss_that_a_mock_raises_is_a_transport_error(
    mocked_api: aioresponses, error: Exception
) -> None:
    """A connection error that a mock of aiohttp raises is a TransportError and not NotSent."""
    mocked_api.post("https://hoox.example/v1/avatar/create", exception=error)
    async with transport_to("https://hoox.example/v1") as transport:
        with pytest.raises(TransportError):
            await transport.send(POST)


async def test_before_send_runs_also_with_a_mock_of_aiohttp(mocked_api: aioresponses) -> None:
    """before_send is called once where aiohttp is mocked."""
    mocked_api.post("https://hoox.example/v1/avatar/create", status=201, body=ACCEPTED)
    ran: list[int] = []

    async def before_send() -> None:
        ran.append(1)

    async with transport_to("https://hoox.example/v1") as transport:
        assert (await transport.send(POST, before_send)).status == 201
    assert ran == [1]


# --- a read


async def test_reads_share_connections() -> None:
    """Three reads use one connection."""
    async with RawServer(reply=answer(STATUS, 200)) as server, transport_to(server.url) as transport:
        for _ in range(3):
            response = await transport.send(GET)
        assert read_status(response, LookRef("avtr_1", "look_1")).status == "pending"
        assert (server.connections, len(server.requests)) == (1, 3)


async def test_a_read_is_not_silently_sent_again() -> None:
    """A read on a stale connection raises TransportError and is not repeated by aiohttp."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(answer(STATUS, 200))
        await server.read(reader)  # a second request, never answered

    async with RawServer(once) as server, transport_to(server.url) as transport:
        await transport.send(GET)
        with pytest.raises(TransportError):
            await transport.send(GET)
        assert (server.connections, len(server.requests)) == (1, 2)


async def test_a_read_ends_after_its_timeout() -> None:
    """A read raises TransportError after its timeout, counted from its start to the last byte."""

    async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with RawServer(never) as server, transport_to(server.url) as transport:
        with pytest.raises(TransportError, match="in time"):
            await transport.send(GET)


async def test_a_callers_own_timeout_of_the_same_length_ends_the_caller() -> None:
    """A caller's timeout that ends in the same turn as the read's raises the caller's TimeoutError."""

    async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    timeouts = Timeouts(read=0.1)
    async with (
        RawServer(never) as server,
        HooxSession(KEY, base_url=server.url, timeouts=timeouts) as session,
    ):
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(timeouts.read):
                    await session.status(LookRef("avtr_1", "look_1"))


# --- where the key goes


@pytest.mark.parametrize("request_", [POST, GET], ids=["paid", "read"])
async def test_redirects_are_not_followed(request_: WireRequest) -> None:
    """A redirect is returned as the answer, and the other host gets no request."""
    async with RawServer() as elsewhere:
        away = answer(b"", 302, f"Location: {elsewhere.url}/avatar/create\r\n")
        async with RawServer(reply=away) as server, transport_to(server.url) as transport:
            response = await transport.send(request_)
            assert response.status == 302
            assert f"Authorization: Bearer {KEY}".encode() in server.requests[0]
        assert elsewhere.connections == 0


async def test_a_picture_is_fetched_without_the_key() -> None:
    """Neither a picture's URL nor the one that it redirects to gets the key or cookies."""
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


@pytest.mark.parametrize("place", ["https://internal.example:{port}/a", "https://127.0.0.1:{port}/a"])
async def test_no_redirect_of_a_picture_leads_from_a_public_host_into_a_private_network(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """`session.picture` connects to no private address, be it given as such or what a name stands for."""

    async def resolve(_: object, host: str, port: int = 0, *_a: object, **_b: object) -> list[dict[str, Any]]:
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    async with RawServer() as private:
        away = answer(b"", 302, f"Location: {place.format(port=private.port)}\r\n")
        async with (
            RawServer(reply=away) as public,
            HooxSession(KEY, base_url=public.url, timeouts=SHORT) as session,
        ):
            url = f"http://pictures.example:{public.port}/a"
            with pytest.raises(UnexpectedResponse, match="is not followed"):
                await session.picture(Look(LookRef("avtr_1", "look_1"), LookStatus.READY, url))
            assert len(public.requests) == 1
        assert private.connections == 0


async def test_no_redirect_of_a_picture_leads_from_this_machine_to_http_elsewhere() -> None:
    """The other host is not asked, nor its name resolved."""
    away = answer(b"", 302, "Location: http://pictures.example/a\r\n")
    async with RawServer(reply=away) as server, transport_to(server.url) as transport:
        with pytest.raises(UnexpectedResponse, match="only to https"):
            await transport.fetch(f"{server.url}/a").__aenter__()


async def test_every_request_names_the_library_and_its_version() -> None:
    """Paid requests, reads and pictures have a User-Agent that shows an operator what sent them."""
    async with RawServer(reply=answer(status=200)) as server, transport_to(server.url) as transport:
        await transport.send(POST)
        await transport.send(GET)
        async with transport.fetch(f"{server.url}/a.jpg") as _:
            pass
    named = f"\r\nUser-Agent: hoox-async/{version('hoox-async')} Python/".encode()
    assert [request.count(named) for request in server.requests] == [1, 1, 1]
    assert [request.lower().count(b"user-agent") for request in server.requests] == [1, 1, 1]


async def test_ids_cannot_lead_elsewhere_on_the_host() -> None:
    """Special characters of an id are quoted in the path."""
    async with RawServer(reply=answer(b"{}", 200)) as server, transport_to(server.url + "/v1") as transport:
        await transport.send(WireRequest(Endpoint.AVATAR, "GET", "avatar/a b?c#d%2e"))
        assert server.requests[0].startswith(b"GET /v1/avatar/a%20b%3Fc%23d%252e HTTP/1.1")


async def test_the_key_is_in_no_error_and_no_repr() -> None:
    """Neither an error, its cause nor the transport's repr contains the key."""
    async with transport_to(f"http://127.0.0.1:{free_port()}") as transport:
        with pytest.raises(NotSent) as caught:
            await transport.send(POST)
        shown = repr(caught.value) + str(caught.value) + repr(transport)
        assert KEY not in shown
        assert caught.value.__cause__ is None


# --- opening and closing


async def test_a_transport_that_is_not_open_sends_nothing() -> None:
    """`send` raises `SessionClosed` before `start` and after `aclose`."""
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
    """After `aclose` the server sees each of its connections end."""
    async with RawServer(reply=answer(STATUS, 200)) as server:
        async with transport_to(server.url) as transport:
            await asyncio.gather(*(transport.send(GET) for _ in range(5)))
            assert len(server._writers) == server.connections > 0
        async with asyncio.timeout(60):
            while not all(writer.is_closing() for writer in server._writers):
                await asyncio.sleep(0.005)
