"""The options of a session: what is accepted, what is refused, and that no message shows a secret."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hoox_async import Timeouts
from hoox_async._core.settings import BASE_URL, check_api_key, check_base_url
from hoox_async.errors import ConfigurationError


def test_the_default_timeouts_are_the_documented_ones() -> None:
    """Timeouts() has the seconds that the documentation names."""
    assert Timeouts() == Timeouts(connect=10.0, read=30.0, answer=120.0, wait=900.0)


@pytest.mark.parametrize("name", ["connect", "read", "answer", "wait"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, True, "10", None])
def test_a_timeout_is_a_number_above_0(name: str, value: Any) -> None:
    """A timeout that is no number above 0 is a ConfigurationError that names the timeout."""
    with pytest.raises(ConfigurationError, match=name):
        Timeouts(**{name: value})


@pytest.mark.parametrize("name", ["connect", "read", "answer"])
def test_only_wait_may_be_infinite(name: str) -> None:
    """`wait` may be infinite; the other timeouts must end, or a request could last for ever."""
    assert Timeouts(wait=math.inf).wait == math.inf
    with pytest.raises(ConfigurationError, match=name):
        Timeouts(**{name: math.inf})


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (BASE_URL, BASE_URL),
        (BASE_URL + "/", BASE_URL),
        ("HTTPS://Hoox.example/v1", "HTTPS://Hoox.example/v1"),
        ("http://127.0.0.1:8080/api", "http://127.0.0.1:8080/api"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_https_and_loopback_urls_are_accepted(given: str, taken: str) -> None:
    """A base URL that is https or a loopback host's is accepted, without the slash at its end."""
    assert check_base_url(given) == taken


@pytest.mark.parametrize(
    "url",
    [
        "http://app.hoox.video/api", "http://127.0.0.1.evil.example", "http://localhost.evil.example",
        "http://0.0.0.0", "http://10.0.0.1", "ftp://localhost", "app.hoox.video/api", "", "https://",
        "https://host/a?b=c", "https://host/a?", "https://host/#x", "https://me:secret@host/",
        "https://host:port/", "https://ho st/", "https://host/a b", "https://host\n.evil", "https://a\\b",
        "https://[bad", None, 7,
    ],
)  # fmt: skip
def test_any_other_base_url_is_refused(url: Any) -> None:
    """Any other base URL is refused, since the key must not be sent unencrypted; no password is shown."""
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        check_base_url(url)
    assert "secret" not in str(caught.value)


def test_a_key_is_stripped() -> None:
    """White space around an API key, such as a newline from a file, is removed."""
    assert check_api_key(" hx_live_abc\n") == "hx_live_abc"


@pytest.mark.parametrize(
    "key", [None, "", "  ", "hx live secret", "hx_sécret", "hx\x00secret", "a\r\nX: secret"]
)
def test_an_impossible_key_is_refused_without_showing_it(key: str | None) -> None:
    """An API key with characters that no key has is refused, and the message does not show it."""
    with pytest.raises(ConfigurationError) as caught:
        check_api_key(key)
    assert "secret" not in str(caught.value)
