"""Keeps tokens out of logs: a web server's access log holds each URL that it was asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._core.redaction import without_tokens

SERVER_LOGGERS = ("aiohttp.access", "aiohttp.server", "uvicorn.access", "uvicorn.error", "hypercorn.access")
"""Where the usual servers log requests."""
REDACTED = "[token]"


class RedactTokens(logging.Filter):
    """A filter for loggers and handlers: no webhook token passes, in the message, its arguments or extras."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace tokens in the record. It always passes."""
        for name, value in record.__dict__.items():
            if value is not None and name != "exc_info":
                record.__dict__[name] = _redacted(value)
        return True


def redact_tokens(loggers: Iterable[str] = SERVER_LOGGERS) -> Callable[[], None]:
    """Put one filter on these loggers. The returned function takes it away again."""
    redact = RedactTokens()
    found = [logging.getLogger(name) for name in loggers]
    for logger in found:
        logger.addFilter(redact)

    def undo() -> None:
        for logger in found:
            logger.removeFilter(redact)

    return undo


def _redacted(value: Any) -> Any:
    """The value as it was where it holds no token: a record's numbers must stay numbers."""
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
