"""The log on stderr: warnings by default, with ``-v`` what happens to looks, with ``-vv`` each request."""

from __future__ import annotations

import logging

from hoox_async import (
    Answered,
    DeliveryReceived,
    Event,
    LookAccepted,
    LookSettled,
    OutcomeLost,
    Paused,
    RequestFailed,
    RequestSent,
    Retried,
)

from .terminal import Terminal
from .text import format_credits, one_line

_library = logging.getLogger("hoox_async")
_log = logging.getLogger("hoox_async.command")
_SMALL_PICTURES = "hoox_async.pictures"
_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class _TerminalHandler(logging.Handler):
    """Writes records to the terminal's stderr, above a progress bar if there is one."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == _SMALL_PICTURES:  # the commands measure what they save, and report that
            return
        try:
            self._terminal.notice(self.format(record))
        except Exception:
            self.handleError(record)


def start_logging(terminal: Terminal, level: int) -> None:
    """Write the library's log records of this level and above to the terminal, until `stop_logging`."""
    stop_logging()
    handler = _TerminalHandler(terminal)
    handler.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))
    handler.setLevel(level)
    _library.addHandler(handler)
    _library.setLevel(min(level, logging.WARNING))


def stop_logging() -> None:
    """Undo `start_logging`."""
    for handler in _library.handlers[:]:
        if isinstance(handler, _TerminalHandler):
            _library.removeHandler(handler)
            _library.setLevel(logging.NOTSET)


def log_event(event: Event) -> None:
    """A hook of every session: what costs credits at INFO, the rest at DEBUG."""
    match event:
        case RequestSent(endpoint=endpoint, key=key):
            _log.debug("%s: sent%s", endpoint, _of(key))
        case Answered(endpoint=endpoint, status=status, seconds=seconds, key=key):
            _log.debug("%s: HTTP %d after %.2f s%s", endpoint, status, seconds, _of(key))
        case Retried(endpoint=endpoint, reason=reason, delay=delay, key=key):
            _log.info("%s: %s; again in %.1f s%s", endpoint, one_line(reason), delay, _of(key))
        case RequestFailed(endpoint=endpoint, reason=reason, key=key):
            _log.debug("%s: %s%s", endpoint, one_line(reason), _of(key))
        case Paused(seconds=seconds, reason=reason):
            _log.info("nothing is sent for %.1f s: %s", seconds, one_line(reason))
        case LookAccepted(key=key, ref=ref, credits=credits):
            _log.info("accepted: %s (%s)%s", ref, format_credits(credits), _of(key))
        case LookSettled(look=look, key=key):
            _log.info("%s: %s%s", look.status, look.ref, _of(key))
        case OutcomeLost(key=key, reason=reason, credits=credits):
            _log.info("may have been paid (%s): %s%s", format_credits(credits), one_line(reason), _of(key))
        case DeliveryReceived(look_id=look_id, status=status):
            _log.debug("webhook: %s is %s", look_id, status)


def _of(key: str | None) -> str:
    return f", {key}" if key else ""
