"""The options of a session and the timeouts of its methods, with their checks."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Literal

import attrs

from .._checks import argument, http_parts, option
from ..errors import ConfigurationError
from .hosts import is_loopback

BASE_URL = "https://app.hoox.video/api/public/v1"
Poll = Literal["all", "awaited"]


def _seconds(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    option.seconds(f"Timeouts.{attribute.name}", value)


def _seconds_or_infinity(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    option.seconds(f"Timeouts.{attribute.name}", value, endless=True)


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long things may take, in seconds.

    ``connect``: making a connection. ``read``: a status request or another read, as a whole.
    ``answer``: a paid POST, from its sending to its answer. ``wait``: ``await job``; only this one may be
    infinite. ``refused``: how long a submission or a batch keeps trying while the API answers nothing but
    429. Raises `ConfigurationError` for anything else than a number above 0.
    """

    connect: float = attrs.field(default=10.0, validator=_seconds)
    read: float = attrs.field(default=30.0, validator=_seconds)
    answer: float = attrs.field(default=120.0, validator=_seconds)
    wait: float = attrs.field(default=900.0, validator=_seconds_or_infinity)
    refused: float = attrs.field(default=3600.0, validator=_seconds)


def check_timeouts(timeouts: Timeouts | None) -> Timeouts:
    """The option ``timeouts``; None is all the defaults. Raises `ConfigurationError`."""
    option.instance("timeouts", timeouts, Timeouts | None, "a Timeouts, or None")
    return Timeouts() if timeouts is None else timeouts


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
    return argument.wait("timeout", default if isinstance(timeout, DefaultTimeout) else timeout)


def check_base_url(url: str) -> str:
    """The base URL without a slash at its end. It must be https, unless its host is a loopback one.

    Raises `ConfigurationError`.
    """
    parts = http_parts(url)
    if parts is None or "@" in parts.netloc or not url.isprintable() or any(c in url for c in "?#\\"):
        raise ConfigurationError(
            "base_url: expected a URL of scheme, host and path alone, such as " + BASE_URL
        )
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
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
