"""The hub: where deliveries come in, whatever the web framework, and go to the sessions they belong to."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._api.webhook_payloads import MAX_BODY, Delivery, OtherTask, parse_delivery
from .._core.webhook_tokens import Signer
from .._io.logs import LogLimit
from ..errors import ConfigurationError, WebhookRejected
from .log_redaction import SERVER_LOGGERS, redact_tokens

if TYPE_CHECKING:
    from aiohttp import web

    from .asgi import AsgiReceiver

Receiver = Callable[[str, Delivery], Awaitable[bool]]

SECRET_VARIABLE = "HOOX_WEBHOOK_SECRET"  # noqa: S105 - the name of the variable
TAKEN, BROKEN, UNKNOWN, TOO_LONG, TOO_SLOW, NOT_NOW = 200, 400, 404, 413, 408, 503
_BAD_TOKEN = "404, no valid token (is the secret the same as where the URL was made?)"  # noqa: S105 - no secret
_TOO_MANY = "503, more than max_in_flight at a time"
_CLOSED = "503, the hub is closed"
_NOBODY = "503, no open session here knows the attempt, or its store failed"

_log = logging.getLogger("hoox_async.webhooks")


class WebhookHub:
    """Gives each attempt a URL of its own, and takes what is delivered there.

    ``public_url`` is where the API reaches this process, such as ``https://example.com/hooks/hoox``:
    http or https, without a query. Use https: the last part of each URL is a bearer secret.
    ``secret`` signs the URLs: a text of at least 16 characters, or several for rotation, the newest
    first. Without one, ``HOOX_WEBHOOK_SECRET`` is read (several are separated by commas). All processes
    that may receive each other's deliveries need the same one, also after a restart.

    ``answer_within`` bounds one delivery as a whole, in seconds (the API gives up after 10); more than
    ``max_in_flight`` at a time are asked to come again. A hub can be made outside of a loop. It takes
    deliveries from the start; ``async with hub`` or `aclose` end that gracefully.

    Raises `ConfigurationError` when a URL or secret cannot work.
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
        self._answer_within = answer_within
        self._max_in_flight = max_in_flight
        self._receivers: dict[object, Receiver] = {}
        self._in_flight = 0
        self._closed = False
        self._emptied: asyncio.Event | None = None
        self._refused = LogLimit(_log_refused)

    def __repr__(self) -> str:
        return f"<WebhookHub {self.public_url}>"

    async def __aenter__(self) -> WebhookHub:
        self._closed = False
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Answer 503 from now on, and wait for the deliveries that are being taken. Never raises."""
        self._closed = True
        while self._in_flight:
            self._emptied = self._emptied or asyncio.Event()
            await self._emptied.wait()
        self._refused.close()

    def url_for(self, attempt_id: str) -> str:
        """The URL to give to the API for this attempt. Its last part is a bearer secret: don't log it.

        Raises `ValueError` for an id that is not made of 1 to 128 letters, digits, ``-`` and ``_``.
        """
        return f"{self.public_url}/{self._signer.sign(attempt_id)}"

    def attach(self, receiver: Receiver) -> Callable[[], None]:
        """Send deliveries to this receiver until the returned function is called.

        The receiver takes an attempt id and what was delivered, writes it down and says whether it
        knows the attempt. What follows from it is done later: the API waits for the answer. Several
        receivers may be attached; the first that knows an attempt has it. One that raises is logged, and
        the API is asked to send the delivery again.
        """
        place = object()
        self._receivers[place] = receiver

        def detach() -> None:
            self._receivers.pop(place, None)

        return detach

    async def handle(self, token: str, body: bytes) -> int:
        """Take one delivery and say which HTTP status to answer with. It never raises.

        200: written down, or of a foreign task. 400: malformed. 404: a bad token, at no cost.
        413: longer than 256 KiB. 503: nobody here knows the attempt, or not now; nothing was kept, and
        the API's retry may reach the right process. A slash at the token's end does not count. Refusals with
        404 and 503 are logged, one line a second at most.
        """
        return await self._admit(token, body)

    async def handle_stream(self, token: str, chunks: AsyncIterator[bytes]) -> int:
        """As `handle`, with a body that is read only where the token is good, and only as far as allowed.

        408: the body did not come in time. What ``chunks`` raises is taken for a body that broke off: 400.
        """
        return await self._admit(token, chunks)

    def aiohttp_routes(self, path: str | None = None) -> list[web.RouteDef]:
        """The routes for an aiohttp application: ``app.add_routes(hub.aiohttp_routes())``.

        They stand at the path of ``public_url``; give another where a proxy changes it on the way. Never
        raises.
        """
        from .aiohttp_routes import routes

        return routes(self, urlsplit(self.public_url).path if path is None else path.rstrip("/"))

    @property
    def asgi_app(self) -> AsgiReceiver:
        """An ASGI application, to be mounted at the path of ``public_url`` or served on its own."""
        from .asgi import AsgiReceiver

        return AsgiReceiver(self)

    def redact_logs(self, loggers: Iterable[str] = SERVER_LOGGERS) -> Callable[[], None]:
        """Keep tokens out of the web server's logs (those of aiohttp, uvicorn and hypercorn, or these).

        The returned function ends that. Our own logs never hold a token. Never raises.
        """
        return redact_tokens(loggers)

    async def _admit(self, token: str, body: bytes | AsyncIterator[bytes]) -> int:
        try:
            attempt_id = self._signer.attempt_of(token.removesuffix("/"))
        except WebhookRejected as rejected:
            self._refused.add(_BAD_TOKEN)
            return rejected.status
        if self._closed or self._in_flight >= self._max_in_flight:
            self._refused.add(_CLOSED if self._closed else _TOO_MANY)
            return NOT_NOW
        self._in_flight += 1
        try:
            return await self._take(attempt_id, body)
        finally:
            self._leave()

    async def _take(self, attempt_id: str, body: bytes | AsyncIterator[bytes]) -> int:
        late = TOO_SLOW
        try:
            async with asyncio.timeout(self._answer_within):
                whole = body if isinstance(body, bytes) else await _read(body)
                late = NOT_NOW
                if isinstance(whole, int):
                    return whole
                return await self._judge(attempt_id, whole)
        except TimeoutError:
            _log.warning("a delivery was not taken within %g s", self._answer_within)
            return late

    async def _judge(self, attempt_id: str, body: bytes) -> int:
        if len(body) > MAX_BODY:
            return TOO_LONG
        try:
            delivery = parse_delivery(body)
        except WebhookRejected as rejected:
            _log.warning("malformed delivery: %s", rejected)
            return rejected.status
        if isinstance(delivery, OtherTask):
            return TAKEN
        for receiver in tuple(self._receivers.values()):
            try:
                if await receiver(attempt_id, delivery):
                    return TAKEN
            except Exception:
                _log.exception("a delivery could not be written down; the API will send it again")
        self._refused.add(_NOBODY)
        return NOT_NOW

    def _leave(self) -> None:
        self._in_flight -= 1
        if not self._in_flight and self._emptied is not None:
            self._emptied.set()
            self._emptied = None


def _log_refused(counts: Counter[str]) -> None:
    said = "; ".join(f"{count} with {why}" for why, count in counts.items())
    _log.warning("deliveries were refused: %s", said)


async def _read(chunks: AsyncIterator[bytes]) -> bytes | int:
    """The body, or the status to answer with."""
    body = bytearray()
    try:
        async for chunk in chunks:
            if len(body) + len(chunk) > MAX_BODY:
                return TOO_LONG
            body += chunk
    except TimeoutError:
        raise
    except Exception as error:  # whatever the framework raises when its client goes away
        _log.debug("a delivery broke off: %s", type(error).__name__)
        return BROKEN
    return bytes(body)


def _secrets(secret: str | Sequence[str] | None) -> tuple[str, ...]:
    if secret is None:
        found = os.environ.get(SECRET_VARIABLE, "")
        given = tuple(part for part in (part.strip() for part in found.split(",")) if part)
        if not given:
            raise ConfigurationError(f"no webhook secret: pass secret= or set {SECRET_VARIABLE}")
        return given
    return (secret,) if isinstance(secret, str) else tuple(secret)


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and not re.search(r"[\s?#{}\\]", url) and "@" not in parts.netloc
    except (ValueError, AttributeError, TypeError):
        usable = False
    if not usable:
        raise ConfigurationError(f"public_url: {url!r} is no http(s) URL of scheme, host and path alone")
    return url.rstrip("/")
