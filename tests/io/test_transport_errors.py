"""Every error of aiohttp and of the loop is mapped by what it proves about the request."""

from __future__ import annotations

import errno
import socket
import ssl
from types import SimpleNamespace
from typing import Any

import aiohttp
import aiohttp.client_exceptions
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from hoox_async._io.error_words import words_of
from hoox_async._io.transport import map_error
from hoox_async._io.transport.aiohttp_client import host_of
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
    names = {base.__name__ for base in kind.__mro__ if base not in (object, BaseException, Exception)}
    assert not any(name in str(ours) for name in names)
    assert ours.charged == "no"


def _on_connecting(why: OSError) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(_arguments()["ClientConnectorError"][0], why)


def _certificate_refused() -> Exception:
    why = ssl.SSLCertVerificationError(1, "certificate verify failed")
    why.verify_message = "certificate has expired"
    key = _arguments()["ClientConnectorError"][0]
    return aiohttp.ClientConnectorCertificateError(key, why)


def _name_unknown() -> Exception:
    key = _arguments()["ClientConnectorError"][0]
    return aiohttp.ClientConnectorDNSError(key, socket.gaierror(-2, "Name or service not known"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            _on_connecting(OSError(errno.ECONNREFUSED, "x")),
            "cannot reach hoox.example: the connection was refused",
        ),
        (
            _on_connecting(OSError(errno.ENETUNREACH, "x")),
            "cannot reach hoox.example: the network cannot be reached",
        ),
        (_on_connecting(OSError(errno.EMFILE, "x")), "this process has too many open files"),
        (_name_unknown(), "cannot reach hoox.example: the name could not be resolved"),
        (_certificate_refused(), "the server's certificate was refused (certificate has expired)"),
        (aiohttp.ConnectionTimeoutError(), "cannot reach api.example:8443: no connection was made in time"),
        (aiohttp.ServerDisconnectedError(), "the connection was cut"),
        (aiohttp.ClientOSError(errno.ECONNRESET, "x"), "the connection was cut"),
        (aiohttp.ClientOSError(errno.EPIPE, "x"), "the connection was cut"),
        (ConnectionResetError(), "the connection was cut"),
        (aiohttp.ClientPayloadError("x"), "the answer from api.example:8443 broke off"),
        (TimeoutError(), "no answer from api.example:8443 in time"),
        (aiohttp.SocketTimeoutError(), "no answer from api.example:8443 in time"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_the_message_says_in_words_what_happened(error: Exception, words: str) -> None:
    """The message of an error names the host and what happened."""
    assert words in str(map_error(error, "api.example:8443"))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example/v1", "api.example"),
        ("https://api.example:8443/v1", "api.example:8443"),
        ("http://[::1]:80/v1", "[::1]"),
        ("http://[::1]:8080/v1", "[::1]:8080"),
    ],
)
def test_a_host_is_shown_with_a_port_that_is_not_usual(url: str, host: str) -> None:
    """A host is shown as in a URL, with its port unless that is the scheme's own."""
    assert host_of(URL(url)) == host


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/secret/path"),
            "No such file or directory",
        ),
        (ValueError("two\nlines"), "two lines"),
        (RuntimeError(), "an error that was not expected"),
        (OSError(errno.ENOSPC, "x"), "the disk is full"),
        (ConnectionRefusedError(), "the connection was refused"),
        (StoreError("the store is full"), "the store is full"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_of_python_is_told_in_words(error: Exception, words: str) -> None:
    """`words_of` gives what an error means, or its own message on one line, and never a name of a class."""
    assert words_of(error) == words


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
