"""Every error of aiohttp and of the loop is mapped by what it proves about the request."""

from __future__ import annotations

import ssl
from types import SimpleNamespace
from typing import Any

import aiohttp
import aiohttp.client_exceptions
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from hoox_async._io.transport import map_error
from hoox_async.errors import NotSent, StoreError, TransportError


def _arguments() -> dict[str, tuple[Any, ...]]:
    key = SimpleNamespace(host="hoox.example", port=443, ssl=True, is_ssl=True)
    info = aiohttp.RequestInfo(URL("https://hoox.example"), "POST", CIMultiDictProxy(CIMultiDict()))
    connector = (key, OSError(111, "refused"))
    return {
        "ClientOSError": (104, "reset"),
        "ClientConnectorError": connector,
        "ClientProxyConnectionError": connector,
        "ClientSSLError": connector,
        "ClientConnectorDNSError": connector,
        "ClientConnectorSSLError": connector,
        "ClientConnectorCertificateError": (key, ssl.CertificateError("bad")),
        "ServerFingerprintMismatch": (b"a", b"b", "hoox.example", 443),
        "ClientResponseError": (info, ()),
        "ClientHttpProxyError": (info, ()),
        "WSServerHandshakeError": (info, ()),
        "ContentTypeError": (info, ()),
        "InvalidURL": ("ht tp://x",),
        "InvalidUrlClientError": ("ht tp://x",),
        "NonHttpUrlClientError": ("ftp://x",),
        "InvalidUrlRedirectClientError": ("ht tp://x",),
        "NonHttpUrlRedirectClientError": ("ftp://x",),
    }


ERRORS = sorted(
    (
        kind
        for kind in vars(aiohttp.client_exceptions).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__.startswith("aiohttp")
    ),
    key=lambda kind: kind.__name__,
)
NOT_CONNECTED = {
    "ClientConnectorError", "ClientProxyConnectionError", "ClientConnectorDNSError", "ClientSSLError",
    "UnixClientConnectorError", "ClientConnectorSSLError", "ClientConnectorCertificateError",
    "ConnectionTimeoutError", "InvalidURL", "InvalidUrlClientError", "NonHttpUrlClientError",
}  # fmt: skip


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_aiohttp_is_mapped_to_one_of_ours(kind: type[Exception]) -> None:
    """An error of aiohttp is NotSent if no connection was made, and else a TransportError."""
    arguments = _arguments().get(kind.__name__, ())
    if kind.__name__ == "UnixClientConnectorError":
        arguments = ("/socket", *_arguments()["ClientConnectorError"])
    try:
        error = kind(*arguments)
    except TypeError:
        error = kind.__new__(kind)
    ours = map_error(error)
    assert type(ours) is (NotSent if kind.__name__ in NOT_CONNECTED else TransportError)
    assert ours.charged == "no"


def test_the_list_of_errors_is_aiohttps_own() -> None:
    """The tested errors include all that aiohttp exports, those of a new version too."""
    assert {kind.__name__ for kind in ERRORS} >= set(aiohttp.client_exceptions.__all__) - {
        "WSMessageTypeError"
    }
    assert {kind.__name__ for kind in ERRORS} >= NOT_CONNECTED


@pytest.mark.parametrize("error", [TimeoutError(), OSError("x"), ValueError("x"), ConnectionResetError()])
def test_errors_of_the_event_loop_are_transport_errors(error: Exception) -> None:
    """Errors of the event loop are TransportError, since they can come after the sending."""
    assert type(map_error(error)) is TransportError


def test_an_error_of_ours_is_returned_as_it_is() -> None:
    """An error of this library is returned unchanged."""
    error = StoreError("full")
    assert map_error(error) is error
