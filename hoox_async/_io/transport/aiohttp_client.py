"""How this library uses aiohttp: the options of its client sessions, and the mapping of its exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.http import SERVER_SOFTWARE
from yarl import URL

from ..._version import __version__
from ...errors import HooxError, NotSent, TransportError
from ..error_words import words_of

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


def map_error(error: BaseException, host: str = "") -> HooxError:
    """Our error for one of aiohttp's or of the loop's, by what it proves about the request.

    Only a connection that was never made proves that nothing was received (`NotSent`). A server that hangs
    up can have taken the request first (`TransportError`). An error of ours is returned as it is. ``host``
    is named in the message where the error does not know it.
    """
    if isinstance(error, HooxError):
        return error
    if isinstance(error, _NOT_CONNECTED):
        return NotSent(f"cannot reach {_host_of(error) or host or 'the server'}: {_why_no_connection(error)}")
    if isinstance(error, INVALID_ADDRESS) and not isinstance(error, aiohttp.RedirectClientError):
        return NotSent(f"cannot reach {host or 'the server'}: the address cannot be used")
    return TransportError(_why_no_answer(error, f" from {host}" if host else ""))


def host_of(url: URL) -> str:
    """The host of a URL for messages, with its port where that is not the usual one."""
    return _with_port(url.host or "", None if url.is_default_port() else url.port)


def _host_of(error: BaseException) -> str:
    host, port = getattr(error, "host", None), getattr(error, "port", None)
    return _with_port(host, None if port in (80, 443) else port) if isinstance(host, str) else ""


def _with_port(host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port else shown


def _why_no_connection(error: BaseException) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection was made in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name could not be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "")
        return "the server's certificate was refused" + (f" ({why})" if why else "")
    if isinstance(error, aiohttp.ClientSSLError):
        return "no secure connection (TLS) could be made"
    if isinstance(error, aiohttp.ClientConnectorError):
        return words_of(error.os_error)
    return "no connection could be made"


def _why_no_answer(error: BaseException, origin: str) -> str:
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"the answer{origin} broke off"
    if isinstance(error, TimeoutError):
        return f"no answer{origin} in time"
    if isinstance(error, aiohttp.TooManyRedirects):
        return "too many redirects"
    if isinstance(error, aiohttp.RedirectClientError):
        return "a redirect to an address that cannot be used"
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return "the server's certificate was refused"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer{origin} is not valid HTTP"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientConnectionError | ConnectionError):
        is_known = isinstance(error, OSError) and error.errno is not None
        return words_of(error) if is_known else "the connection was cut"
    if isinstance(error, OSError):
        return words_of(error)
    return "the request could not be sent or its answer not be read"
