"""A hostile server: whatever it answers is bounded in memory and time, and raises an error of ours."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
from internals_kit import HttpTransport, PictureFetcher, read_picture, read_status, status_request

from hoox_async import (
    ConfigurationError,
    HooxError,
    HooxSession,
    LookRef,
    OutcomeUnknown,
    PromptAvatar,
    Timeouts,
    TransportError,
    UnexpectedResponse,
)
from hoox_async._api.endpoints import AVATAR_BYTES
from hoox_async._io.downloads import MAX_BYTES

KEY = "hx_live_0123456789abcdef"
REF = LookRef("avtr_1", "look_1")
SHORT = Timeouts(connect=1.0, read=0.4, answer=0.4)
LONG_ENOUGH = 60.0
"""Seconds after which a request that is not bounded fails its test."""
MEMORY = 12 << 20
"""Bytes that one answer may take at most: its cap of 1 MiB, and the buffers of both ends."""

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]
GIGABYTE = 1 << 30
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BLOCK = b"x" * 65536
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def flood(writer: asyncio.StreamWriter, head: bytes, block: bytes, size: int = GIGABYTE) -> None:
    writer.write(head)
    for _ in range(size // len(block)):
        writer.write(block)
        await writer.drain()


async def gigabyte(writer: asyncio.StreamWriter) -> None:
    """A body of 1 GB, with its Content-Length."""
    await flood(writer, HEAD + b"Content-Length: %d\r\n\r\n" % GIGABYTE, BLOCK)


async def gigabyte_unannounced(writer: asyncio.StreamWriter) -> None:
    """A body of 1 GB until the connection ends."""
    await flood(writer, HEAD + b"Connection: close\r\n\r\n", BLOCK)


async def gigabyte_in_chunks(writer: asyncio.StreamWriter) -> None:
    """A body of 1 GB in chunks."""
    await flood(writer, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + BLOCK + b"\r\n")


async def folded(writer: asyncio.StreamWriter) -> None:
    """A small body that decompresses to 64 MiB, though no compression was asked for."""
    body = BOMB
    writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def one_gigantic_chunk(writer: asyncio.StreamWriter) -> None:
    """A single chunk of 2**60 bytes."""
    await flood(writer, HEAD + b"Transfer-Encoding: chunked\r\n\r\n1000000000000000\r\n", BLOCK)


async def deep_json(writer: asyncio.StreamWriter) -> None:
    """JSON nested 100,000 deep."""
    body = b'{"avatar_id":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def long_number(writer: asyncio.StreamWriter) -> None:
    """JSON with a number of 900,000 digits: quadratic to read."""
    body = b'{"avatar_id":' + b"9" * 900_000 + b"}"
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def endless_headers(writer: asyncio.StreamWriter) -> None:
    """Headers that don't end, each of them small."""
    await flood(writer, HEAD, b"".join(b"X-%d: %s\r\n" % (n, b"y" * 50) for n in range(1000)))


async def endless_header(writer: asyncio.StreamWriter) -> None:
    """One header that doesn't end."""
    await flood(writer, HEAD + b"X-Long: ", BLOCK)


async def endless_status_line(writer: asyncio.StreamWriter) -> None:
    """A status line that doesn't end."""
    await flood(writer, b"HTTP/1.1 200 ", BLOCK)


async def endless_continues(writer: asyncio.StreamWriter) -> None:
    """20,000 times "100 Continue" at once, then one every 20 ms, and never the answer."""
    await flood(writer, b"", CONTINUE * 1000, size=20_000 * len(CONTINUE))
    await drip(writer, CONTINUE)


async def header_drip(writer: asyncio.StreamWriter) -> None:
    """A letter of a header every 20 ms."""
    writer.write(HEAD + b"X-Slow: ")
    await drip(writer)


async def body_drip(writer: asyncio.StreamWriter) -> None:
    """A byte of the body every 20 ms: no read times out, and it never ends."""
    writer.write(HEAD + b"Content-Length: 500000\r\n\r\n")
    await drip(writer)


async def drip(writer: asyncio.StreamWriter, part: bytes = b" ") -> None:
    while True:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.02)


async def silence(writer: asyncio.StreamWriter) -> None:
    """No answer, and the connection stays open."""
    await asyncio.get_running_loop().create_future()


async def no_http(writer: asyncio.StreamWriter) -> None:
    """Something that is not HTTP."""
    writer.write(b"\x00\xff" * 5000)
    await writer.drain()


BOMB = gzip.compress(bytes(64 << 20), 1)  # 64 MiB in 300 KB
SCRIPTS: tuple[Script, ...] = (
    gigabyte, gigabyte_unannounced, gigabyte_in_chunks, folded, one_gigantic_chunk, deep_json,
    long_number, endless_headers, endless_header, endless_status_line, endless_continues, header_drip,
    body_drip, silence, no_http,
)  # fmt: skip
every_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)


class Hostile:
    """A server on the loopback that follows one script, and counts the requests that came."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests = 0
        self.url = ""

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                await self.script(writer)
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Hostile]:
    hostile = Hostile(script)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(hostile.meet(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    hostile.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield hostile
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def little_memory(limit: int) -> Iterator[None]:
    """Fail if more memory is held at any moment in the block."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        assert tracemalloc.get_traced_memory()[1] - before < limit
    finally:
        tracemalloc.stop()


@every_script
async def test_a_read_from_a_hostile_server_is_bounded(script: Script) -> None:
    """However the server answers, a status request raises an error of ours and holds little memory."""
    async with serving(script) as hostile:
        transport = HttpTransport(hostile.url, KEY, SHORT)
        await transport.start()
        with little_memory(MEMORY):
            async with asyncio.timeout(LONG_ENOUGH):
                with pytest.raises(HooxError) as caught:
                    read_status(await transport.send(status_request(REF)), REF)
        await transport.aclose()
    assert isinstance(caught.value, TransportError | UnexpectedResponse), caught.value
    assert caught.value.charged == "no"
    assert hostile.requests == 1


@every_script
async def test_a_paid_request_to_a_hostile_server_is_bounded_and_sent_once(script: Script) -> None:
    """A creation ends as OutcomeUnknown, and the session can go on."""
    async with serving(script) as hostile:
        with little_memory(MEMORY):
            async with (
                asyncio.timeout(LONG_ENOUGH),
                HooxSession(KEY, base_url=hostile.url, timeouts=SHORT) as session,
            ):
                with pytest.raises(OutcomeUnknown) as caught:
                    await session.submit(PromptAvatar("a friendly host"), key="host")
                assert [unknown.key for unknown in await session.unknowns()] == ["host"]
                hostile.script = accept
                job = await session.submit(PromptAvatar("another"))
    assert caught.value.charged == "maybe"
    assert job.ref == REF
    assert hostile.requests == 2


async def accept(writer: asyncio.StreamWriter) -> None:
    """What the API answers."""
    body = b'{"avatar_id": "avtr_1", "look_id": "look_1"}'
    writer.write(
        b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    )
    await writer.drain()


PICTURE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nConnection: close\r\n\r\n"
JPEG_HEAD = b"\xff\xd8\xff" + bytes(13)


async def endless_picture(writer: asyncio.StreamWriter) -> None:
    """A picture of 1 GB."""
    await flood(writer, PICTURE_HEAD + JPEG_HEAD, BLOCK)


async def picture_drip(writer: asyncio.StreamWriter) -> None:
    """A picture that comes byte by byte."""
    writer.write(PICTURE_HEAD + JPEG_HEAD)
    await drip(writer)


async def folded_picture(writer: asyncio.StreamWriter) -> None:
    """A picture that decompresses to 64 MiB."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Encoding: gzip\r\n")
    writer.write(b"Content-Length: %d\r\n\r\n" % len(BOMB) + BOMB)
    await writer.drain()


async def endless_redirects(writer: asyncio.StreamWriter) -> None:
    """A redirect to itself, again and again."""
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    "script",
    [endless_picture, picture_drip, folded_picture, endless_redirects, endless_headers, header_drip, silence],
    ids=lambda script: script.__name__,
)
async def test_a_picture_from_a_hostile_server_is_bounded(script: Script) -> None:
    """It raises an error of ours at its limit in bytes, or after ten read timeouts."""
    short = Timeouts(connect=1.0, read=0.1)
    async with serving(script) as hostile, PictureFetcher(short) as fetcher:
        with little_memory(MEMORY):
            async with asyncio.timeout(LONG_ENOUGH):
                with pytest.raises(HooxError) as caught:
                    await read_picture(fetcher.fetch, hostile.url + "/a.jpg", max_bytes=1 << 20)
    assert isinstance(caught.value, TransportError | UnexpectedResponse), caught.value
    assert MAX_BYTES <= 64 << 20
    assert hostile.requests <= 4


def test_the_compressed_test_body_is_far_larger_than_any_limit_when_decompressed() -> None:
    """It is small itself, so that only decompressing it can exceed a limit."""
    assert len(BOMB) < 1 << 20
    assert len(gzip.decompress(BOMB)) == 4 * AVATAR_BYTES


@pytest.mark.parametrize(
    "url",
    [
        "http://app.hoox.video/api/public/v1", "HTTP://app.hoox.video", "http://10.0.0.1", "http://0.0.0.0",
        "http://localhost.example.com", "http://127.0.0.1.example.com", "http://127.0.0.1@example.com",
        "http://example.com#@127.0.0.1", "http://[2001:db8::1]", "http://[::ffff:8.8.8.8]", "ftp://127.0.0.1",
        "http://2130706433.example.com", "http:///127.0.0.1", "127.0.0.1:8080",
    ],
)  # fmt: skip
def test_a_base_url_without_tls_is_refused(url: str) -> None:
    """The key would travel unencrypted. The error does not show the key."""
    with pytest.raises(ConfigurationError) as caught:
        HooxSession(KEY, base_url=url)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.1.2.3", "http://[::1]:80/api"])
def test_a_loopback_base_url_needs_no_tls(url: str) -> None:
    """Nothing leaves the machine, as with a sandbox."""
    assert url in repr(HooxSession(KEY, base_url=url))
