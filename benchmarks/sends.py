"""How many times one paid POST is sent when things go wrong: this library beside its peers.

Each client makes one paid call against a loopback server that counts the POSTs it received whole.
Nothing about retries is configured: the numbers are the clients' own defaults. Only base URLs, keys
and timeouts are set, the last small (``--timeout``) so that a server that hangs is soon given up on.

    python benchmarks/sends.py
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, NamedTuple

from _shared import DASH, progress, table, vendor_client, version

FAULTS = {
    "dropped": "the server reads the POST and closes the connection",
    "hung": "the server reads the POST and never answers",
    "500": "the server answers 500, each time",
    "429x1": "the server answers 429 with Retry-After: 1 once, then 201 (✓: accepted, ✗: gave up before)",
    "429x4": "the same four times, then 201",
}
GIVE_UP = 100.0  # seconds after which a client that is still at it is stopped
PROMPT = "Young entrepreneur, confident smile"

# an answer that every client here can read: each takes the fields that it knows
ACCEPTED = (
    b'{"avatar_id": "avtr_1", "look_id": "look_1", "id": "1", "request_id": "1", "response_url": "http://x/",'
    b' "status_url": "http://x/", "cancel_url": "http://x/", "created": 1, "data": []}'
)


class Server:
    """Counts whole POSTs by the first part of their path, ``peer~fault``; answers as that fault."""

    def __init__(self) -> None:
        self.posts: Counter[str] = Counter()
        self.accepted: set[str] = set()
        self.port = 0
        self._handlers: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    def shown(self, cell: str) -> str | None:
        """How often this cell's POST came, and after 429s whether it was accepted in the end."""
        if not self.posts[cell]:
            return None
        mark = "" if "429" not in cell else " ✓" if cell in self.accepted else " ✗"
        return f"{self.posts[cell]}{mark}"

    def url(self, cell: str) -> str:
        """The base URL under which this cell's requests are counted."""
        return f"http://127.0.0.1:{self.port}/{cell}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        method, cell = await _read_request(reader)
        if method != "POST":  # a read is free; only what may cost credits is counted
            writer.write(_response(404, b'{"error": "Avatar not found"}'))
            return True
        self.posts[cell] += 1
        fault = cell.partition("~")[2]
        if fault == "dropped":
            return False
        if fault == "hung":
            await asyncio.sleep(GIVE_UP)
            return False
        writer.write(self._verdict(cell, fault))
        return True

    def _verdict(self, cell: str, fault: str) -> bytes:
        if fault == "500":
            return _response(500, b'{"error": "Internal error"}')
        if self.posts[cell] <= int(fault.removeprefix("429x")):
            return _response(429, b'{"error": "slow down"}', "Retry-After: 1\r\n")
        self.accepted.add(cell)
        return _response(201, ACCEPTED)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Read one request whole; its method and the first part of its path."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    await reader.readexactly(int(headers.get("content-length", 0)))
    return method, target.split("/")[1]


def _response(status: int, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{headers}\r\n".encode() + body


async def ours(url: str, timeout: float) -> None:
    """This library. Its ``answer`` bounds the paid POST from its sending."""
    from hoox_async import HooxSession, PromptAvatar, Timeouts

    async with HooxSession("hx_test_sends", base_url=url, timeouts=Timeouts(answer=timeout)) as session:
        await session.submit(PromptAvatar(PROMPT))


async def vendor(url: str, timeout: float) -> None:
    """The vendor's httpx client; its timeout is no option, so it is set on the httpx client inside."""
    client = vendor_client()("hx_test_sends", url)
    client._client.timeout = timeout
    try:
        await client.create_avatar(prompt=PROMPT)
    finally:
        await client.close()


async def fal(url: str, timeout: float) -> None:
    """fal: submits to a queue. Its host is a constant of the module, so the cell's URL goes with the call."""
    module: Any = import_module("fal_client.client")
    host, _, cell = url.rpartition("/")
    module.QUEUE_URL_FORMAT = f"{host}/"
    client = module.AsyncClient(key="test", default_timeout=timeout)
    await client.submit(f"{cell}/flux", {"prompt": PROMPT})


async def runway(url: str, timeout: float) -> None:
    """Runway: a text to image task."""
    async with import_module("runwayml").AsyncRunwayML(
        api_key="test", base_url=url, timeout=timeout
    ) as client:
        await client.text_to_image.create(model="gen4_image", prompt_text=PROMPT, ratio="1080:1080")


async def luma(url: str, timeout: float) -> None:
    """Luma: an image generation."""
    async with import_module("lumaai").AsyncLumaAI(
        auth_token="test", base_url=url, timeout=timeout
    ) as client:
        await client.generations.image.create(model="photon-1", prompt=PROMPT)


async def openai(url: str, timeout: float) -> None:
    """OpenAI: an image generation."""
    async with import_module("openai").AsyncOpenAI(api_key="test", base_url=url, timeout=timeout) as client:
        await client.images.generate(model="gpt-image-1", prompt=PROMPT)


async def azure(url: str, timeout: float) -> None:
    """azure-core: its async pipeline with its retry policy, as Azure's clients are built on it."""
    retries = import_module("azure.core.pipeline.policies").AsyncRetryPolicy()
    async with import_module("azure.core").AsyncPipelineClient(url, policies=[retries]) as client:
        request = import_module("azure.core.rest").HttpRequest(
            "POST", f"{url}/images", json={"prompt": PROMPT}
        )
        response = await client.send_request(request, read_timeout=timeout)
        response.raise_for_status()


class Peer(NamedTuple):
    """A client of the table: its distribution's name and how it makes one paid call."""

    distribution: str
    call: Callable[[str, float], Awaitable[None]]


PEERS = (
    Peer("hoox-async", ours),
    Peer("hoox-mcp", vendor),
    Peer("fal-client", fal),
    Peer("runwayml", runway),
    Peer("lumaai", luma),
    Peer("openai", openai),
    Peer("azure-core", azure),
)


async def _one(peer: Peer, fault: str, server: Server, timeout: float) -> str | None:
    """Make the call; say why, where not one POST came."""
    cell = f"{peer.distribution}~{fault}"
    error = ""
    try:
        await asyncio.wait_for(peer.call(server.url(cell), timeout), GIVE_UP)
    except Exception as raised:  # how a peer fails is its own affair; what it sent is counted
        error = f"{type(raised).__name__}: {raised}"
    return error if not server.posts[cell] else None


async def measure(peers: tuple[Peer, ...], timeout: float) -> tuple[list[list[object]], list[str]]:
    """All cells at once: rows of the table and its footnotes."""
    async with Server() as server:
        cells = [(peer, fault) for peer in peers for fault in FAULTS]
        silent = await asyncio.gather(*(_one(*cell, server, timeout) for cell in cells))
        rows: list[list[object]] = []
        for peer in peers:
            name = peer.distribution
            counts = (server.shown(f"{name}~{fault}") for fault in FAULTS)
            rows.append([f"{name} {version(name) or DASH}", *counts])
        failed = {
            peer.distribution: error
            for (peer, _), error in zip(cells, silent, strict=True)
            if error is not None
        }
    return rows, [f"{DASH} {name}: {error}" for name, error in failed.items()]


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--timeout", type=float, default=0.5, help="seconds the clients wait for an answer")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these clients")
    options = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"  # every client here honours a proxy of the environment
    logging.disable(logging.CRITICAL)
    peers = tuple(peer for peer in PEERS if not options.only or peer.distribution in options.only)
    progress("waiting for the slowest client's retries, about a minute")
    started = time.monotonic()
    rows, notes = asyncio.run(measure(peers, options.timeout))
    progress("")
    legend = [f"{fault}: {meaning}" for fault, meaning in FAULTS.items()]
    legend.append(f"clients' timeouts set to {options.timeout:g} s; took {time.monotonic() - started:.0f} s")
    print(table("Sends of one paid POST", ["client", *FAULTS], rows, [*notes, *legend]))


if __name__ == "__main__":
    main()
