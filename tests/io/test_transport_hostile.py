"""Hostile servers and pictures, over real sockets: every answer is bounded, and its error is ours."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from typing import Any

import pytest
from internals_kit import PictureFetcher, WireRequest, WireResponse, read_picture, read_status
from session_kit import ACCEPTED, RawServer, answer
from transport_kit import GET, POST, SHORT, transport_to

from hoox_async import Endpoint, LookRef, Timeouts
from hoox_async._api.responses import read_accepted
from hoox_async.errors import HooxError, NotSent, OutcomeUnknown, TransportError, UnexpectedResponse

pytestmark = pytest.mark.both_loops


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


@pytest.mark.parametrize(
    ("head", "forever"),
    [(HEAD + b"\r\n", b"x" * 65536), (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 5000)],
    ids=["endless", "crumbs"],
)
async def test_a_hostile_answer_is_bounded(head: bytes, forever: bytes) -> None:
    """An endless answer ends with an error of ours on each loop, and takes less than 24 MB.

    Other hostile answers: `tests/test_hostile_server.py`.
    """
    async with RawServer(hostile(head, forever)) as server, transport_to(server.url) as transport:
        tracemalloc.start()
        try:
            async with asyncio.timeout(60):
                with pytest.raises(HooxError):
                    await transport.send(POST)
            assert tracemalloc.get_traced_memory()[1] < 24 << 20
        finally:
            tracemalloc.stop()


async def test_a_content_length_above_the_limit_is_refused_at_once() -> None:
    """An answer whose Content-Length is above the limit is refused before its body comes."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"

    async def announces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(head)
        await reader.read()

    async with RawServer(announces) as server, transport_to(server.url) as transport:
        with pytest.raises(UnexpectedResponse, match="larger than"):
            await transport.send(GET)


async def test_an_answer_exactly_at_the_limit_is_accepted() -> None:
    """An answer of exactly the limit is accepted, and one byte more is refused."""
    request = WireRequest(Endpoint.STATUS, "GET", "avatar/status", max_bytes=1000)
    for size, fits in ((1000, True), (1001, False)):
        body = b"x" * size
        async with RawServer(reply=answer(body, 200)) as server, transport_to(server.url) as transport:
            if fits:
                assert (await transport.send(request)).body == body
            else:
                with pytest.raises(UnexpectedResponse, match="1000"):
                    await transport.send(request)


async def test_deeply_nested_json_raises_an_error_of_ours() -> None:
    """Deeply nested JSON raises OutcomeUnknown for a POST and UnexpectedResponse for a read."""
    deep = b"[" * 100_000 + b"]" * 100_000
    async with RawServer(reply=answer(deep)) as server, transport_to(server.url) as transport:
        response = await transport.send(POST)
        with pytest.raises(OutcomeUnknown):
            read_accepted(response, None)
        with pytest.raises(UnexpectedResponse):
            read_status(WireResponse(200, {}, deep), LookRef("avtr_1", "look_1"))


async def test_a_compressed_answer_is_decompressed_up_to_the_limit() -> None:
    """A compressed answer is decompressed up to the limit, although no compression is asked for."""
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


_RAW = zlib.compressobj(wbits=-15)
RAW_DEFLATE = _RAW.compress(ACCEPTED) + _RAW.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("GZIP", gzip.compress(ACCEPTED)),
        ("x-gzip", gzip.compress(ACCEPTED)),
        (" X-GZip ", gzip.compress(ACCEPTED)),
        ("identity, Gzip", gzip.compress(ACCEPTED)),
        ("gzip, gzip", gzip.compress(gzip.compress(ACCEPTED))),
        ("Deflate", zlib.compress(ACCEPTED)),
        ("deflate", RAW_DEFLATE),
        ("identity", ACCEPTED),
        ("", ACCEPTED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_every_spelling_of_a_known_encoding_is_decompressed(encoding: str, body: bytes) -> None:
    """Encodings are case-insensitive, and x-gzip is gzip, as RFC 9110 says: no paid 201 is lost to that."""
    reply = answer(body, 201, f"Content-Encoding: {encoding}\r\n")
    async with RawServer(reply=reply) as server, transport_to(server.url) as transport:
        assert read_accepted(await transport.send(POST), None) == LookRef("avtr_1", "look_1")


async def test_an_unknown_encoding_is_returned_as_it_came() -> None:
    """A body in an unknown encoding is returned as it came, and an endless double one is refused."""
    async with (
        RawServer(reply=answer(b"??", 201, "Content-Encoding: br\r\n")) as server,
        transport_to(server.url) as transport,
    ):
        assert (await transport.send(POST)).body == b"??"
    bomb = gzip.compress(gzip.compress(b"0" * (50 << 20)))
    async with (
        RawServer(reply=answer(bomb, 201, "Content-Encoding: gzip, gzip\r\n")) as server,
        transport_to(server.url) as transport,
    ):
        with pytest.raises(UnexpectedResponse):
            await transport.send(POST)


async def test_an_answer_that_breaks_off_raises_an_error_of_ours() -> None:
    """A connection that is closed in the middle of the body raises TransportError."""
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
async def test_an_answer_that_is_not_http_raises_an_error_of_ours(noise: bytes) -> None:
    """An answer of bytes that are not HTTP raises TransportError."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(noise)

    async with RawServer(speak) as server, transport_to(server.url) as transport:
        for request in (POST, GET):
            with pytest.raises(TransportError):
                await transport.send(request)


# --- pictures


async def test_an_error_of_the_callers_block_around_a_picture_is_passed_on() -> None:
    """An error that the caller raises while it reads a picture is raised unchanged."""
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
async def test_a_picture_with_an_unusable_url_raises_unexpected_response(url: str) -> None:
    """A picture's URL that is no http or https URL with a host is refused."""
    async with PictureFetcher(SHORT) as fetcher:
        with pytest.raises((UnexpectedResponse, NotSent)):
            async with fetcher.fetch(url):
                pass


async def test_a_picture_that_comes_byte_by_byte_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture whose bytes come one by one ends with TransportError after ten read timeouts."""
    monkeypatch.setattr("hoox_async._io.transport.picture_fetcher._MAX_READ_TIMEOUTS", 0.1)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n" + bytes(8)
    timeouts = Timeouts(read=4.0)
    async with RawServer(hostile(head, b"x", 0.01)) as server, PictureFetcher(timeouts) as fetcher:
        async with asyncio.timeout(30):
            with pytest.raises(TransportError, match="incomplete"):
                await read_picture(fetcher.fetch, server.url + "/a")


async def test_endless_redirects_of_a_picture_end() -> None:
    """Redirects of a picture that lead in a circle, or to no address, raise an error of ours."""
    for place in ("/again", "ftp://host/a", "http://"):
        reply = answer(b"", 302, f"Location: {place}\r\n")
        async with RawServer(reply=reply) as server, PictureFetcher(SHORT) as fetcher:
            with pytest.raises((UnexpectedResponse, TransportError)):
                async with fetcher.fetch(server.url + "/a"):
                    pass
            assert len(server.requests) <= 4
