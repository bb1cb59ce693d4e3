"""How this library uses aiohttp: the options of its client sessions, and the mapping of its exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.http import SERVER_SOFTWARE

from ..._version import __version__
from ...errors import HooxError, NotSent, TransportError

USER_AGENT = f"hoox-async/{__version__} {SERVER_SOFTWARE}"
INVALID_ADDRESS = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)
_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def open_client(
    connector: aiohttp.TCPConnector,
    headers: Mapping[str, str],
    *,
    connect: float,
    read: float | None = None,
    **options: Any,
) -> aiohttp.ClientSession:
    """A client session without cookies. ``connect`` and ``read`` (of each piece) are in seconds.

    It has no total timeout: if aiohttp's ends in the turn of the loop in which the caller is cancelled, the
    cancellation is lost. It decompresses nothing: a compressed answer could expand to any size.
    """
    return aiohttp.ClientSession(
        connector=connector,
        headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT, **headers},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        **options,
    )


def map_error(error: BaseException) -> HooxError:
    """Our error for one of aiohttp's or of the loop's, by what it proves about the request.

    Only a connection that was never made proves that nothing was received (`NotSent`). A server that hangs
    up can have taken the request first (`TransportError`). An error of ours is returned as it is.
    """
    name = type(error).__name__
    if isinstance(error, HooxError):
        return error
    if isinstance(error, _NOT_CONNECTED):
        return NotSent(f"no connection: {_host_of(error)}{name}")
    if isinstance(error, INVALID_ADDRESS) and not isinstance(error, aiohttp.RedirectClientError):
        return NotSent(f"no connection: {name}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return TransportError("the answer broke off")
    if isinstance(error, TimeoutError):
        return TransportError("no answer in time")
    return TransportError(f"the connection was lost: {name}")


def _host_of(error: BaseException) -> str:
    host = getattr(error, "host", None)
    return f"{host}: " if isinstance(host, str) else ""
