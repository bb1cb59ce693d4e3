"""What a session is set up with: what is taken, what is refused, and that no secret is shown."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hoox_async._core.settings import BASE_URL, Timeouts, check_api_key, check_base_url, check_rate
from hoox_async.errors import ConfigurationError


def test_the_defaults_are_the_documented_ones() -> None:
    """The public door's numbers, in seconds."""
    assert Timeouts() == Timeouts(connect=10.0, read=30.0, answer=120.0, wait=900.0, search=(2.0, 10.0, 30.0))


@pytest.mark.parametrize("name", ["connect", "read", "answer", "wait"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, True, "10", None])
def test_a_timeout_is_a_number_above_0(name: str, value: Any) -> None:
    """Anything else is refused, and the complaint names it."""
    with pytest.raises(ConfigurationError, match=name):
        Timeouts(**{name: value})


@pytest.mark.parametrize("name", ["connect", "read", "answer"])
def test_only_a_wait_may_be_endless(name: str) -> None:
    """A request without an end would hold its place in the quota for ever."""
    assert Timeouts(wait=math.inf).wait == math.inf
    with pytest.raises(ConfigurationError, match=name):
        Timeouts(**{name: math.inf})


@pytest.mark.parametrize("search", [(), (3.0, 2.0), (0.0,), ("a",), "ab", 5, (1.0, math.inf)])
def test_the_searches_rise(search: Any) -> None:
    """Times of searching are a rising list of seconds."""
    with pytest.raises(ConfigurationError, match="search"):
        Timeouts(search=search)


def test_a_list_of_searches_is_taken() -> None:
    """Any list will do."""
    assert Timeouts(search=[1, 2.5]).search == (1, 2.5)


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
def test_https_and_loopback_hosts_are_taken(given: str, taken: str) -> None:
    """Without the slash at the end."""
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
    """The key would travel in the open, or nobody knows where; no user or password is shown."""
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        check_base_url(url)
    assert "secret" not in str(caught.value)


def test_a_key_is_stripped() -> None:
    """A newline from a file does no harm."""
    assert check_api_key(" hx_live_abc\n") == "hx_live_abc"


@pytest.mark.parametrize(
    "key", [None, "", "  ", "hx live secret", "hx_sécret", "hx\x00secret", "a\r\nX: secret"]
)
def test_a_strange_key_is_refused_unseen(key: str | None) -> None:
    """The complaint never shows it."""
    with pytest.raises(ConfigurationError) as caught:
        check_api_key(key)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("rate", [0, -3, 1.5, "100", True, None])
def test_a_rate_is_a_whole_number_from_1(rate: Any) -> None:
    """A session with no requests a minute could do nothing."""
    assert check_rate(1) == 1
    with pytest.raises(ConfigurationError, match="requests_per_minute"):
        check_rate(rate)
