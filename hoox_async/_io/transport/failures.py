"""What aiohttp's exceptions prove: that a request never left, or that it may have been received."""

from __future__ import annotations

import aiohttp

from ...errors import HooxError, NotSent, TransportError

NO_ADDRESS = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)
_NEVER_MADE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def mapped(error: BaseException) -> HooxError:
    """Our error for one of aiohttp's (or of the loop's), by what it proves.

    Only a connection that was never made proves that nothing was received. A server that hangs up can
    have taken the request first.
    """
    name = type(error).__name__
    if isinstance(error, HooxError):
        return error
    if isinstance(error, _NEVER_MADE):
        return NotSent(f"no connection: {_host_of(error)}{name}")
    if isinstance(error, NO_ADDRESS) and not isinstance(error, aiohttp.RedirectClientError):
        return NotSent(f"no connection: {name}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return TransportError("the answer broke off")
    if isinstance(error, TimeoutError):
        return TransportError("no answer in time")
    return TransportError(f"the connection was lost: {name}")


def _host_of(error: BaseException) -> str:
    host = getattr(error, "host", None)
    return f"{host}: " if isinstance(host, str) else ""
