"""Redacts webhook tokens in logs, since a web server's access log contains each URL."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._core.redaction import without_tokens

SERVER_LOGGERS = ("aiohttp.access", "aiohttp.server", "uvicorn.access", "uvicorn.error", "hypercorn.access")
"""The loggers of the common web servers."""
REDACTED = "[token]"


class RedactTokens(logging.Filter):
    """A filter for loggers and handlers that redacts webhook tokens in a record's message and fields."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace tokens in the record. Always returns True."""
        for name, value in record.__dict__.items():
            if value is not None and name != "exc_info":
                record.__dict__[name] = _redacted(value)
        return True


def redact_tokens(loggers: Iterable[str] = SERVER_LOGGERS) -> Callable[[], None]:
    """Add the filter to these loggers. The returned function removes it."""
    redact = RedactTokens()
    found = [logging.getLogger(name) for name in loggers]
    for logger in found:
        logger.addFilter(redact)

    def undo() -> None:
        for logger in found:
            logger.removeFilter(redact)

    return undo


def _redacted(value: Any) -> Any:
    """The value with tokens replaced. A value without tokens keeps its type, since `%d` needs a number."""
    if isinstance(value, str):
        return without_tokens(value, REDACTED)
    if value is None or isinstance(value, bool | int | float | BaseException):
        return value
    if type(value) is tuple:
        return tuple(_redacted(inner) for inner in value)
    if isinstance(value, Mapping):
        return {name: _redacted(inner) for name, inner in value.items()}
    text = str(value)
    redacted = without_tokens(text, REDACTED)
    return value if redacted == text else redacted
