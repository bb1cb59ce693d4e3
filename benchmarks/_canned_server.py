"""A lean loopback server with canned responses, run in a process of its own by ``overhead.py``.

It prints its port and serves until its standard input is closed. GETs of ``…/avatar/status`` and
POSTs are answered at once, as the API answers them, quota headers included; anything else is a 404.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from urllib.parse import parse_qs

LIMIT = 10_000_000  # requests a minute: more than anything here sends, so that no client waits
_ids = itertools.count(1)


class _Head:
    """The head of every response, renewed once a second (it contains the date)."""

    made = 0.0
    text = b""

    def of(self, now: float) -> bytes:
        """The head of a response that is sent now, without status and length."""
        if now - self.made >= 1:
            self.made = now
            self.text = (
                "Content-Type: application/json\r\n"
                f"Date: {formatdate(now, usegmt=True)}\r\n"
                f"X-RateLimit-Limit: {LIMIT}\r\nX-RateLimit-Remaining: {LIMIT - 1}\r\n"
                f"X-RateLimit-Reset: {int(now) + 60}\r\n"
            ).encode()
        return self.text


_head = _Head()


class CannedServer(asyncio.Protocol):
    """One connection. It answers each request as soon as it is complete."""

    def __init__(self) -> None:
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer all requests that are complete; keep the rest."""
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end]
            start = end + 4
            length = _length(head)
            if len(self._pending) < start + length:
                return
            self._pending = self._pending[start + length :]
            self._transport.write(_answer(head))


def _length(head: bytes) -> int:
    if head.startswith(b"GET"):
        return 0
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0] or 0)


def _answer(head: bytes) -> bytes:
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
    path, _, query = target.partition("?")
    status, body = 404, {"error": "Not found"}
    if method == "POST":
        status, body = 201, {"avatar_id": "avtr_1", "look_id": f"look_{next(_ids)}"}
    elif path.endswith("/avatar/status"):
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        status, body = 200, {**asked, "status": "processing"}
    content = json.dumps(body).encode()
    return b"HTTP/1.1 %d x\r\n%sContent-Length: %d\r\n\r\n%s" % (
        status,
        _head.of(time.time()),
        len(content),
        content,
    )


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(CannedServer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def canned_server() -> Iterator[str]:
    """Run this server in another process; gives its base URL."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/api/public/v1"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve())
