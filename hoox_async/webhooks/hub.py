"""The hub: receives deliveries from any web framework, and passes each to the session that knows it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    MutableMapping,
    Sequence,
)
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._api.webhook_payloads import MAX_BODY, Delivery, OtherTask, parse_delivery
from .._checks import argument, http_parts, option
from .._core.webhook_tokens import Signer
from .._io.logs import LogLimit
from ..errors import ConfigurationError, StoreError, WebhookRejected
from .log_redaction import SERVER_LOGGERS, redact_tokens

if TYPE_CHECKING:
    from aiohttp import web

Receiver = Callable[[str, Delivery], Awaitable[bool]]
"""Gets an attempt id and its delivery, and returns whether it knows the attempt."""

SECRET_VARIABLE = "HOOX_WEBHOOK_SECRET"  # noqa: S105 - the name of the variable
ACKNOWLEDGED, INCOMPLETE, TOO_SLOW, TOO_LONG, TRY_AGAIN = 200, 400, 408, 413, 503
_BAD_TOKEN = "404, no valid token (is the secret the same as where the URL was made?)"  # noqa: S105 - no secret
_TOO_MANY = "503, more than max_in_flight at a time"
_CLOSED = "503, the hub is closed"
_UNKNOWN_ATTEMPT = "503, no open session here knows the attempt"

_log = logging.getLogger("hoox_async.webhooks")


class WebhookHub:
    """Gives each attempt its own URL, and receives the deliveries to it.

    ``public_url`` is the address at which the API reaches this process, such as ``https://example.com/hooks/hoox``:
    http or https, without a query. Use https, since the last part of each URL is a bearer secret.
    ``secret`` signs the URLs: a text of at least 16 characters, or several for rotation, the newest
    first. Without one, ``HOOX_WEBHOOK_SECRET`` is read (several are separated by commas). All processes
    that may receive each other's deliveries need the same one, also after a restart.

    ``answer_within`` is the time limit for one delivery, in seconds (the API waits for 10). While
    ``max_in_flight`` deliveries are being received, others are answered 503, so that the API sends them
    again. A hub can be made without a running event loop. It accepts deliveries from the start; the end of
    ``async with hub``, or `aclose`, ends that gracefully.

    Raises `ConfigurationError` when a URL, a secret or another option cannot work.
    """

    def __init__(
        self,
        public_url: str,
        secret: str | Sequence[str] | None = None,
        *,
        answer_within: float = 5.0,
        max_in_flight: int = 1000,
    ) -> None:
        self.public_url: str = _checked_url(public_url)
        self._signer = Signer(_secrets(secret))
        self._answer_within = option.seconds("answer_within", answer_within)
        self._max_in_flight = option.whole("max_in_flight", max_in_flight, least=1)
        self._receivers: dict[object, Receiver] = {}
        self._last_receivers: dict[object, Receiver] = {}
        self._in_flight = 0
        self._closed = False
        self._idle: asyncio.Event | None = None
        self._rejected = LogLimit(_log_rejected)

    def __repr__(self) -> str:
        return f"<WebhookHub {self.public_url}>"

    async def __aenter__(self) -> WebhookHub:
        self._closed = False
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Answer 503 from now on, and wait for the deliveries that are being received. Never raises."""
        self._closed = True
        while self._in_flight:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()
        self._rejected.close()

    def url_for(self, attempt_id: str) -> str:
        """The URL to give to the API for this attempt. Its last part is a bearer secret: don't log it.

        Raises `ValueError` for an id that is not made of 1 to 128 letters, digits, ``-`` and ``_``.
        """
        return f"{self.public_url}/{self._signer.sign(attempt_id)}"

    def subscribe(self, receiver: Receiver, *, last: bool = False) -> Callable[[], None]:
        """Pass deliveries to this receiver, until the returned function is called.

        ``last``: only those that no other receiver knows the attempt of.

        The receiver gets an attempt id and the delivery, and returns whether it knows the attempt. It should
        store the delivery and process it later, since the API waits for the response. Several receivers may
        subscribe; the first that knows the attempt gets the delivery. If one raises, that is logged (a
        `StoreError` without its traceback), and the API is asked to send the delivery again.
        """
        subscription = object()
        receivers = self._last_receivers if last else self._receivers
        receivers[subscription] = receiver

        def unsubscribe() -> None:
            receivers.pop(subscription, None)

        return unsubscribe

    async def handle(self, token: str, body: bytes) -> int:
        """Receive one delivery, and return the HTTP status to answer with.

        200: stored, or about another kind of task. 400: malformed. 404: the token is invalid; the body is not
        read. 413: longer than 256 KiB. 503: no open session knows the attempt, or the hub is closed or full;
        nothing was stored, and the API's retry may reach the right process. A slash at the token's end is
        ignored. Answers of 404, 408 and 503 are logged, at most one line a second.

        Nothing that the network sends makes it raise. Raises `InvalidRequest` for a ``token`` that is no text
        and a ``body`` that is no bytes, since all deliveries would be lost without a word.
        """
        if not isinstance(body, bytes | bytearray | memoryview):
            raise argument.error("body", type(body), "the bytes of the request's body")
        return await self._receive(token, bytes(body))

    async def handle_stream(self, token: str, chunks: AsyncIterator[bytes]) -> int:
        """As `handle`, with a body that is read only if the token is valid, and only up to 256 KiB.

        408: the body did not come in time. 400 also if ``chunks`` raises, since then the body is incomplete.
        """
        argument.instance("chunks", chunks, AsyncIterable, "an async iterator of the request's body")
        return await self._receive(token, chunks)

    def aiohttp_routes(self, path: str | None = None) -> list[web.RouteDef]:
        """The routes for an aiohttp application: ``app.add_routes(hub.aiohttp_routes())``.

        They take POST at ``path`` and a token, with or without a slash at its end. The path is that of
        ``public_url``; give another one if a proxy changes it. Raises `InvalidRequest` for what is no path.
        """
        from aiohttp import web

        async def receive(request: web.Request) -> web.Response:
            status = await self.handle_stream(request.match_info["token"], request.content.iter_any())
            return web.Response(status=status)

        if path is not None and not (isinstance(path, str) and path[:1] in ("", "/")):
            raise argument.error("path", path, "the path of a URL, which begins with /, or None")
        prefix = urlsplit(self.public_url).path if path is None else path.rstrip("/")
        return [web.post(f"{prefix}/{{token}}", receive), web.post(f"{prefix}/{{token}}/", receive)]

    @property
    def asgi_app(self) -> AsgiReceiver:
        """An ASGI application, to be mounted at the path of ``public_url`` or served on its own."""
        return AsgiReceiver(self)

    def redact_logs(self, loggers: Iterable[str] = SERVER_LOGGERS) -> Callable[[], None]:
        """Redact tokens in the logs of the web server: of the usual ``loggers``, or of these.

        The usual ones are those of aiohttp, uvicorn, hypercorn, gunicorn (with any worker), granian, Sanic,
        Daphne, Tornado and Django. Daphne's access log is no logger: call this after Daphne is imported, as
        in an app that it serves. Mappings that a server passes keep their type, and no line is lost.

        The returned function undoes that. This library's own logs never contain a token. Raises
        `InvalidRequest` for ``loggers`` that are no list of names.
        """
        return redact_tokens(argument.texts("loggers", loggers))

    async def _receive(self, token: str, body: bytes | AsyncIterator[bytes]) -> int:
        if not isinstance(token, str):
            raise argument.error("token", type(token), "the last part of the request's path, a text")
        try:
            attempt_id = self._signer.attempt_of(token.removesuffix("/"))
        except WebhookRejected as rejected:
            self._rejected.add(_BAD_TOKEN)
            return rejected.status
        if self._closed or self._in_flight >= self._max_in_flight:
            self._rejected.add(_CLOSED if self._closed else _TOO_MANY)
            return TRY_AGAIN
        self._in_flight += 1
        try:
            return await self._read_and_dispatch(attempt_id, body)
        finally:
            self._in_flight -= 1
            if not self._in_flight and self._idle is not None:
                self._idle.set()
                self._idle = None

    async def _read_and_dispatch(self, attempt_id: str, body: bytes | AsyncIterator[bytes]) -> int:
        if_late = TOO_SLOW
        try:
            async with asyncio.timeout(self._answer_within):
                whole = body if isinstance(body, bytes) else await _read(body)
                if_late = TRY_AGAIN
                if isinstance(whole, int):
                    return whole
                return await self._dispatch(attempt_id, whole)
        except TimeoutError:
            self._rejected.add(f"{if_late}, not received within {self._answer_within:g} s")
            return if_late

    async def _dispatch(self, attempt_id: str, body: bytes) -> int:
        if len(body) > MAX_BODY:
            return TOO_LONG
        try:
            delivery = parse_delivery(body)
        except WebhookRejected as rejected:
            _log.warning("received a malformed delivery: %s", rejected)
            return rejected.status
        if isinstance(delivery, OtherTask):
            return ACKNOWLEDGED
        why = _UNKNOWN_ATTEMPT
        for receiver in (*self._receivers.values(), *self._last_receivers.values()):
            try:
                if await receiver(attempt_id, delivery):
                    return ACKNOWLEDGED
            except StoreError as error:
                why = f"503, it could not be stored: {error}"
            except Exception:
                _log.exception("a delivery could not be stored; the API will send it again")
        self._rejected.add(why)
        return TRY_AGAIN


def _log_rejected(counts: Counter[str]) -> None:
    reasons = "; ".join(f"{count} with {why}" for why, count in counts.items())
    _log.warning("deliveries were rejected: %s", reasons)


async def _read(chunks: AsyncIterator[bytes]) -> bytes | int:
    """The body, or the HTTP status to answer with if it is too long or incomplete."""
    body = bytearray()
    try:
        async for chunk in chunks:
            if len(body) + len(chunk) > MAX_BODY:
                return TOO_LONG
            body += chunk
    except TimeoutError:
        raise
    except Exception as error:  # a framework may raise anything when its client disconnects
        _log.debug("the body of a delivery was incomplete: %s", type(error).__name__)
        return INCOMPLETE
    return bytes(body)


def _secrets(secret: str | Sequence[str] | None) -> tuple[str, ...]:
    if secret is None:
        found = os.environ.get(SECRET_VARIABLE, "")
        given = tuple(part for part in (part.strip() for part in found.split(",")) if part)
        if not given:
            raise ConfigurationError(f"no webhook secret: pass secret= or set {SECRET_VARIABLE}")
        return given
    if not isinstance(secret, Iterable):
        raise ConfigurationError(f"secret: a {type(secret).__name__} is no text")
    return (secret,) if isinstance(secret, str) else tuple(secret)


def _checked_url(url: str) -> str:
    parts = http_parts(url)
    is_plain = parts is not None and parts.port != 0 and "@" not in parts.netloc
    if not is_plain or re.search(r"[?#{}\\]", url):  # it is not shown: it may hold a password
        raise ConfigurationError(
            "public_url: expected an http(s) URL of scheme, host and path alone, such as "
            "https://example.com/hooks/hoox"
        )
    return url.rstrip("/")


# --- the hub as an ASGI application

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_NO_METHOD = 405


class AsgiReceiver:
    """Receives ``POST …/<token>``, with or without a slash at its end, under any path of any framework.

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
