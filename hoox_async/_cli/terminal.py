"""Writes the output of commands: results to stdout, everything else to stderr, the log included.

The log has warnings by default, with ``-v`` what happens to looks, with ``-vv`` each request.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from hoox_async import (
    Answered,
    ConfigurationError,
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
from hoox_async._core.formatting import format_credits

if TYPE_CHECKING:
    from rich.console import Console


class Terminal:
    """The two output streams and the questions.

    With ``as_json`` stdout holds only lines of JSON. With ``quiet`` stderr holds only notices: what went
    wrong, and how to go on.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        from rich.console import Console

        self.as_json = as_json
        self.quiet = quiet
        self.err: Console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._out = Console(highlight=False, markup=False, emoji=False)

    @property
    def live(self) -> bool:
        """Whether stderr is a terminal that can redraw a progress bar, and is to have one."""
        return not self.quiet and self.err.is_terminal and not self.err.is_dumb_terminal

    @property
    def can_ask(self) -> bool:
        """Whether a person can be asked: stdin and stderr are a terminal."""
        return self.err.is_terminal and sys.stdin is not None and sys.stdin.isatty()

    def say(self, text: str = "") -> None:
        """Write a message to stderr, unless it is to be quiet."""
        if not self.quiet:
            _print(self.err, text)

    def notice(self, text: str = "") -> None:
        """Write to stderr what has to be read: a failure, or how to go on."""
        _print(self.err, text)

    def suggest(self, text: str, *words: str) -> None:
        """Write what can be done next, as a notice, and the command of this program that does it."""
        self.notice(text)
        self.notice(f"  {command_line(*words)}")

    def result(self, text: str = "") -> None:
        """Write a result for people: to stdout, or to stderr if JSON goes to stdout."""
        _print(self.err if self.as_json else self._out, text)

    def record(self, event: str, **values: Any) -> None:
        """Write a result for programs, as one line of JSON. Writes nothing without ``as_json``."""
        if self.as_json:
            sys.stdout.write(json.dumps({"event": event, **values}, default=str) + "\n")
            sys.stdout.flush()

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        numbers: Sequence[str] = (),
        whole: Sequence[str] = (),
        total: bool = False,
    ) -> None:
        """Write a table for people. Columns in ``numbers`` are aligned right, those in ``whole`` are not
        wrapped; with ``total`` the last row is set apart as a sum.

        On a terminal that is too narrow each row becomes two lines: its first cell, then the others.
        """
        console = self.err if self.as_json else self._out
        if _table_width(columns, rows, whole) > console.width:
            for first, *others in rows:
                named = zip(columns[1:], others, strict=True)
                texts = [f"{name} {cell}" if name in numbers else cell for name, cell in named if cell]
                _print(console, f"{first}\n  {', '.join(texts)}" if texts else first)
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for name in columns:
            side: Literal["left", "right"] = "right" if name in numbers else "left"
            table.add_column(name, justify=side, overflow="fold", no_wrap=name in whole)
        for position, row in enumerate(rows):
            last = total and position == len(rows) - 2
            table.add_row(*(Text(sanitize(cell)) for cell in row), end_section=last)
        console.print(table)

    def ask(self, question: str) -> str:
        """Ask a question; return the answer without surrounding spaces, empty at the end of the input."""
        self.err.print(sanitize(question), end=" ", soft_wrap=True)
        try:
            return input().strip()
        except EOFError:
            self.notice()
            return ""

    def agrees(self, question: str, *, if_nobody: str) -> bool:
        """Ask whether to do something. Only ``y`` and ``yes`` are consent.

        Raises `ConfigurationError` with the text ``if_nobody`` where nobody can be asked.
        """
        if not self.can_ask:
            raise ConfigurationError(if_nobody)
        return self.ask(f"{question} [y/N]").lower() in ("y", "yes")


def _table_width(columns: Sequence[str], rows: Sequence[Sequence[str]], whole: Sequence[str]) -> int:
    """The columns that a table needs at least: all of a cell that is not wrapped, the heads of the others."""
    needed = 2 * (len(columns) - 1)
    for position, name in enumerate(columns):
        cells = [row[position] for row in rows] if name in whole else []
        needed += max(map(len, (name, *cells)))
    return needed


def _print(console: Console, text: str) -> None:
    console.print(sanitize(text), soft_wrap=True)


def require_modules(extra: str, modules: Mapping[str, str], what: str) -> None:
    """Raise `ConfigurationError` if a module is not installed. ``modules`` maps modules to project names."""
    from importlib import import_module

    for module, name in modules.items():
        try:
            import_module(module)
        except ImportError:
            raise ConfigurationError(
                f'{what} needs {name}: in your clone of hoox-async, pip install -e ".[{extra}]"'
            ) from None


def shown_path(path: Path) -> str:
    """A path as people type it: a folder ends in a slash."""
    return f"{path}/" if path.is_dir() else str(path)


# --- texts that are safe to print --------------------------------------------------------------

_TYPED = {
    "open the session once with new_key=True": "add --new-key once",
    "session.unknowns() lists them": "the command unknowns lists them",
    "(max_failures)": "(--max-failures)",
}


def shorten_list(things: Iterable[str], most: int = 5) -> str:
    """The first ``most`` entries, and how many more there are."""
    things = list(things)
    more = f" and {len(things) - most:,} more" if len(things) > most else ""
    return ", ".join(things[:most]) + more


def sanitize(text: str) -> str:
    """Text that is safe to print: control characters other than line breaks are replaced."""
    return "".join(c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs") else "\ufffd" for c in text)


def in_words_of_the_command_line(text: str) -> str:
    """The library's text, with options and commands where a program has arguments and methods."""
    for words, typed in _TYPED.items():
        text = text.replace(words, typed)
    return text


def one_line(text: str, longest: int = 200) -> str:
    """Text on one line, cut to ``longest`` characters."""
    flat = " ".join(sanitize(text).split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


SCHEMES = ("postgresql://", "postgres://")
_HIDDEN = "postgresql://..."
_URL = re.compile(r"postgres(?:ql)?://\S+")


def shown_url(text: str) -> str:
    """The text; a database's URL without what may hold a password."""
    if not text.startswith(SCHEMES):
        return text
    rest = text.partition("://")[2]
    has_password = "@" in rest and ":" in rest.rpartition("@")[0]
    return _HIDDEN if has_password or re.search(r"password|secret", rest, re.I) else text


def without_urls(text: str, words: Sequence[str]) -> str:
    """The text of an error, in which the URLs of the command line, and others, hold no password."""
    for word in words:
        at = word.find("postgres")
        if at >= 0 and "://" in word and shown_url(word[at:]) != word[at:]:
            for written in (word[at:], repr(word[at:])[1:-1]):
                text = text.replace(written, _HIDDEN)
    return _URL.sub(lambda found: shown_url(found[0]), text)


# --- commands that are printed, to be copied ----------------------------------------------------

_PROGRAM = "hoox-async"
_MODULE = "hoox_async"
_FLAGS = {"four_k": "--4k", "settings": "--set"}


def program() -> list[str]:
    """The words that started this program, for printed commands that can be copied."""
    started = Path(sys.argv[0])
    if started.parts[-2:] == ("hoox_async", "__main__.py"):
        return [sys.orig_argv[0], "-m", _MODULE]
    is_script = started.stem == _PROGRAM
    # a shell that found it by its PATH gives the whole path
    return [sys.argv[0] if is_script and shutil.which(started.name) != sys.argv[0] else _PROGRAM]


def command_line(*words: str) -> str:
    """A command of this program as it is typed in a shell."""
    return shlex.join([*program(), *words])


def as_typed(options: Any, *names: str) -> list[str]:
    """The options of these names as they are typed, without those that have their default."""
    words: list[str] = []
    for name in names:
        value = getattr(options, name)
        if value == getattr(attrs.fields(type(options)), name).default:
            continue
        flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
        given = value if isinstance(value, tuple) else (value,)
        words += [flag] if value is True else [word for each in given for word in (flag, _word(each))]
    return words


def _word(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return f"{value:g}" if isinstance(value, float) else shown_url(str(value))


# --- the log ---------------------------------------------------------------------------------


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
