"""The hub as an ASGI application, to be mounted in Starlette, FastAPI and others under any path."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hub import WebhookHub

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_NO_METHOD = 405


class AsgiReceiver:
    """Receives ``POST …/<token>``, with or without a slash at its end.

    It answers other methods with 405 and other paths with 404, and closes websockets.

    Served on its own, it opens the hub when the server starts and closes it when the server stops. When it is
    mounted, the lifespan is the outer application's.
    """

    def __init__(self, hub: WebhookHub) -> None:
        self._hub = hub

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection. Raises `RuntimeError` for a kind of connection that it does not know."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise RuntimeError(f"ASGI connections of type {kind!r} are not supported")

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"0")]
        if scope["method"] == "POST":
            # Litestar appends a slash to the path when this is mounted
            token = scope["path"].removesuffix("/").rpartition("/")[2]
            async with aclosing(_body(receive)) as chunks:
                status = await self._hub.handle_stream(token, chunks)
        else:
            status = _NO_METHOD
            headers.append((b"allow", b"POST"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._hub.__aenter__()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._hub.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _body(receive: Receive) -> AsyncGenerator[bytes, None]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client disconnected")
        yield message.get("body", b"")
        more = message.get("more_body", False)
