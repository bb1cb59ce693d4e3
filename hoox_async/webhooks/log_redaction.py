"""Redacts webhook tokens in logs, since a web server's access log contains each URL."""

from __future__ import annotations

import copy
import logging
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from .._core.webhook_tokens import without_tokens

SERVER_LOGGERS = (
    "aiohttp.access", "aiohttp.server",
    "uvicorn.access", "uvicorn.error", "uvicorn.asgi",
    "hypercorn.access", "hypercorn.error",
    "gunicorn.access", "gunicorn.error",
    "granian.access", "_granian",
    "sanic.access", "sanic.error", "sanic.root", "sanic.server",
    "daphne.access", "daphne.server", "daphne.http_protocol", "daphne.ws_protocol",
    "django.request", "django.server", "django.channels.server",
    "tornado.access", "tornado.application", "tornado.general",
)  # fmt: skip
"""The loggers of the common web servers, and those of Django and Tornado, which log URLs too."""
REDACTED = "[token]"


class RedactTokens(logging.Filter):
    """A filter for loggers and handlers that redacts webhook tokens in a record's message and fields."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace tokens in the record. Always returns True. Never raises."""
        for name, value in tuple(record.__dict__.items()):
            if name not in ("args", "exc_info"):
                record.__dict__[name] = _redacted(value)
        with suppress(Exception):  # a message that cannot be formatted is logging's to report
            _redact_message(record)
        return True


def redact_tokens(loggers: Iterable[str] = SERVER_LOGGERS) -> Callable[[], None]:
    """Add the filter to these loggers, and to Daphne's access log. The returned function removes it."""
    redact = RedactTokens()
    found = [logging.getLogger(name) for name in loggers]
    for logger in found:
        logger.addFilter(redact)
    undo_daphne = _redact_daphne()

    def undo() -> None:
        undo_daphne()
        for logger in found:
            logger.removeFilter(redact)

    return undo


def _redact_message(record: logging.LogRecord) -> None:
    """Redact the arguments; and the message, where it has a token that was in none of them.

    Formatters of servers read the arguments, so they are kept where that is possible.
    """
    args = _redacted(record.args)
    kept = isinstance(args, Mapping) or not isinstance(record.args, Mapping)
    if kept:
        record.args = args
    text = record.getMessage()
    redacted = without_tokens(text, REDACTED)
    if not kept or redacted != text:
        record.msg, record.args = redacted, None


def _redacted(value: Any) -> Any:
    """The value with tokens replaced, and the same value where it has none, since `%d` needs a number."""
    if value is None or isinstance(value, bool | int | float | BaseException):
        return value
    try:
        if type(value) is tuple:
            return _redacted_tuple(value)
        if isinstance(value, Mapping):
            with suppress(Exception):
                return _redacted_mapping(value)
        text = str(value)
    except Exception:  # what has no text shows none
        return value
    redacted = without_tokens(text, REDACTED)
    return value if redacted == text else redacted


def _redacted_tuple(values: tuple[Any, ...]) -> tuple[Any, ...]:
    redacted = tuple(_redacted(value) for value in values)
    return values if all(map(operator.is_, redacted, values)) else redacted


def _redacted_mapping(values: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A mapping of the same type: servers pass such as know what stands for a header that is missing.

    Raises whatever a mapping raises that cannot be copied or changed.
    """
    changed = {
        name: redacted for name, value in values.items() if (redacted := _redacted(value)) is not value
    }
    if not changed:
        return values
    # a copy of another mapping than a dict may share its content with the server's own
    copied: Any = copy.copy(values) if isinstance(values, dict) else copy.deepcopy(values)
    for name, redacted in changed.items():
        copied[name] = redacted
    return copied  # type: ignore[no-any-return]


def _redact_daphne() -> Callable[[], None]:
    """Redact the access log of Daphne, which does not use `logging`. The returned function ends that."""
    generator = getattr(sys.modules.get("daphne.access"), "AccessLogGenerator", None)
    write: Callable[..., None] | None = getattr(generator, "write_entry", None)
    if generator is None or write is None:
        return lambda: None
    active = True

    def write_entry(self: Any, *args: Any, **fields: Any) -> None:
        if active:
            args, fields = _redacted(args), _redacted(fields)
        write(self, *args, **fields)

    def undo() -> None:
        nonlocal active
        active = False
        if generator.write_entry is write_entry:  # else another one has been put over it
            generator.write_entry = write

    generator.write_entry = write_entry
    return undo
