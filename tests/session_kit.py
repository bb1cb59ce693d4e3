"""What the tests of the session's floors share: raw servers, and sessions on a workspace without sockets."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from hoox_async import Budget, Event, HooxSession, LookEdit, LookRef, LookSettled, PromptAvatar
from hoox_async._core.intents.intent import Intent
from hoox_async._core.intents.intent import IntentState as IntentState
from hoox_async._io.ledger.ledger import Ledger
from hoox_async._session import runtime_of
from hoox_async.sandbox import InProcessTransport, Space

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ACCEPTED = b'{"avatar_id": "avtr_1", "look_id": "look_1"}'


def answer(body: bytes = ACCEPTED, status: int = 201, headers: str = "") -> bytes:
    """A whole HTTP answer."""
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}"
    )
    return head.encode() + b"\r\n" + body


class RawServer:
    """Counts connections, keeps what comes, and does with each request what it is told."""

    def __init__(self, handler: Handler | None = None, *, reply: bytes = answer()) -> None:
        self._handler = handler or self._reply
        self._answer = reply
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            await self._handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """One request, head and body."""
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
        self.requests.append(head + body)
        return head + body

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await self.read(reader)
            writer.write(self._answer)
            await writer.drain()


def made(space: Space, **body: Any) -> LookRef:
    """An avatar from images in the workspace, its look ready at once, made by nobody's session."""
    body = {"imageUrls": ["https://example.com/a.jpg"], **body}
    status, answered = space._create(body, 0.0)
    assert status in (200, 201)
    space.ledger.clear()
    return LookRef(answered["avatar_id"], answered["look_id"])


def end_faults(space: Space) -> None:
    """Take back all faults that were planned for the workspace."""
    space.faults._planned.clear()


def set_key(transport: InProcessTransport, key: str | None = None) -> None:
    """Let the transport send this API key from now on; by default the workspace's."""
    transport._authorization = f"Bearer {transport.space.api_key if key is None else key}"


@asynccontextmanager
async def on_space(
    space: Space | None = None, *, transport: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[HooxSession, Space]]:
    """A session on a workspace without sockets."""
    space = space or Space(rng=Random(1), requests_per_minute=None)
    options.setdefault("requests_per_minute", 60_000)
    carrier = InProcessTransport(space, **(transport or {}))
    async with HooxSession(space.api_key, transport=carrier, **options) as session:
        yield session, space


def edit(ref: LookRef, prompt: str = "podcast scene", **fields: Any) -> LookEdit:
    return LookEdit(ref, prompt, **fields)


def prompt(text: str = "a friendly host", **fields: Any) -> PromptAvatar:
    return PromptAvatar(text, **fields)


def sends(space: Space, *endpoints: str) -> int:
    """How often these endpoints were asked."""
    return sum(record.endpoint in endpoints for record in space.requests)


def paid_prompts(space: Space) -> Counter[str]:
    """How often each prompt was paid."""
    return Counter(str(charge.request.get("prompt", "")) for charge in space.ledger)


def adds_key(told: list[str | None]) -> Callable[[Event], None]:
    """A hook that adds the key of each settled look to this list."""

    def hook(event: Event) -> None:
        if isinstance(event, LookSettled):
            told.append(event.key)

    return hook


def store_of(session: HooxSession) -> Ledger:
    """The store of an open session."""
    return runtime_of(session).store


async def intents(session: HooxSession) -> dict[str, IntentState]:
    """What the session's store knows."""
    return {intent.key: intent.state async for intent in store_of(session).stream()}


async def intent_of(session: HooxSession, key: str) -> Intent:
    """One intent of the session's store."""
    return (await store_of(session).get((key,)))[key]


async def turns(count: int = 20) -> None:
    """Let the loop go round, without time passing."""
    for _ in range(count):
        await asyncio.sleep(0)


def others() -> set[str]:
    """The names of all tasks but this one."""
    return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def as_json(body: Any) -> bytes:
    return json.dumps(body).encode()


def now() -> float:
    """The loop's time, in seconds."""
    return asyncio.get_running_loop().time()


def money(budget: Budget) -> tuple[float, float]:
    """What a budget has reserved and spent."""
    return float(budget.reserved), float(budget.spent)


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel them and wait until they are gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
