"""The options of a session and the timeouts of its methods, with their checks."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

import attrs

from ..errors import ConfigurationError, InvalidRequest
from .hosts import is_loopback

BASE_URL = "https://app.hoox.video/api/public/v1"
Poll = Literal["all", "awaited"]


def _check_above_zero(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigurationError(f"Timeouts.{attribute.name}: {value!r} is not a number of seconds above 0")


def _check_seconds(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    _check_above_zero(None, attribute, value)
    if value == math.inf:
        raise ConfigurationError(f"Timeouts.{attribute.name}: it must be finite; only `wait` may be infinite")


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long things may take, in seconds.

    ``connect``: making a connection. ``read``: a status request or another read, as a whole.
    ``answer``: a paid POST, from its sending to its answer. ``wait``: ``await job``; only this one may be
    infinite. ``refused``: how long a submission or a batch keeps trying while the API answers nothing but
    429. Raises `ConfigurationError` for anything else than a number above 0.
    """

    connect: float = attrs.field(default=10.0, validator=_check_seconds)
    read: float = attrs.field(default=30.0, validator=_check_seconds)
    answer: float = attrs.field(default=120.0, validator=_check_seconds)
    wait: float = attrs.field(default=900.0, validator=_check_above_zero)
    refused: float = attrs.field(default=3600.0, validator=_check_seconds)


class DefaultTimeout(Enum):
    """The type of `DEFAULT_TIMEOUT`, which is its only value."""

    DEFAULT_TIMEOUT = "the session's Timeouts.wait"

    def __repr__(self) -> str:
        return self.name


DEFAULT_TIMEOUT: Final = DefaultTimeout.DEFAULT_TIMEOUT
"""The default of a method's ``timeout``: the session's ``Timeouts.wait``.

A wrapper can have it as its own default and forward it. ``None`` differs from it: that is no limit.
"""

Timeout = float | None | DefaultTimeout
"""Seconds to wait at most. None: no limit. 0 or less: only what is done already."""


def check_timeout(timeout: Timeout, default: float) -> float | None:
    """The seconds of a method's ``timeout``; None where it has no limit. Raises `InvalidRequest`."""
    return check_wait("timeout", default if isinstance(timeout, DefaultTimeout) else timeout)


def check_wait(name: str, seconds: float | None) -> float | None:
    """How long a caller waits at most, in seconds; None where there is no limit.

    Infinity is no limit either, and a number below 0 becomes 0. Raises `InvalidRequest` for anything else.
    """
    if seconds is None:
        return None
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    try:
        value = float(seconds) if is_number else math.nan
    except OverflowError:  # a whole number that no float can hold
        value = math.nan
    if math.isnan(value):
        raise InvalidRequest(name, seconds, "a number of seconds, or None for no limit")
    return None if value == math.inf else max(value, 0.0)


def check_base_url(url: str) -> str:
    """The base URL without a slash at its end. It must be https, unless its host is a loopback one.

    Raises `ConfigurationError`.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
        has_more = not url.isprintable() or any(c in url for c in "?#\\ ")
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError("base_url: not a valid URL") from None
    if not host or has_more or parts.username is not None or parts.password is not None:
        raise ConfigurationError("base_url: expected scheme, host and path alone, such as " + BASE_URL)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigurationError(f"base_url: {url!r} is not https: the API key would be sent unencrypted")
    return url.rstrip("/")


def check_api_key(key: str | None) -> str:
    """The key, stripped. Raises `ConfigurationError`, whose message never contains the key."""
    if not isinstance(key, str | None):
        raise ConfigurationError(f"api_key: a {type(key).__name__} is no text")
    stripped = (key or "").strip()
    if not stripped:
        raise ConfigurationError("no API key: pass api_key= or set HOOX_API_KEY")
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise ConfigurationError("the API key holds characters that no key has")
    return stripped


def check_poll(poll: Any) -> Poll:
    """The ``poll`` option, which says which looks are polled. Raises `ConfigurationError`."""
    if poll == "all" or poll == "awaited":
        return poll  # type: ignore[no-any-return]
    raise ConfigurationError(f"poll: {poll!r} is neither of {', '.join(map(repr, get_args(Poll)))}")


def check_flag(name: str, value: Any) -> bool:
    """An option that is True or False, and nothing that only counts as one. Raises `ConfigurationError`."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}: {value!r} is neither True nor False")
    return value


def check_rate(requests_per_minute: int) -> int:
    """The quota, a whole number above 0. Raises `ConfigurationError`."""
    if isinstance(requests_per_minute, bool) or not isinstance(requests_per_minute, int):
        raise ConfigurationError(f"requests_per_minute: {requests_per_minute!r} is not a whole number")
    if requests_per_minute < 1:
        raise ConfigurationError(f"requests_per_minute: {requests_per_minute!r} is below 1")
    return requests_per_minute
