"""Runs one command line: parses the arguments, calls the command, turns errors into one line each."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from hoox_async import (
    ConfigurationError,
    HooxError,
    InsufficientCredits,
    InvalidRequest,
    KeyConflict,
    OutcomeUnknown,
)

from .exit_codes import Exit, code_of
from .request_fields import FIELDS
from .terminal import in_words_of_the_command_line, sanitize, without_urls


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code.

    An error becomes one line on stderr and, with ``--json``, one line of JSON on stdout.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # a terminal that can't show a letter must not end the command
            stream.reconfigure(errors="replace")
    try:
        return _dispatch(argv)
    except BrokenPipeError:
        # the reader of stdout is gone; flushing the rest of the buffer at exit must not raise again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.UNFINISHED
    except (Exception, KeyboardInterrupt) as error:
        return _report(error, argv)


class Misuse(Exception):
    """The command line is not one that the program knows."""


def _dispatch(argv: Sequence[str]) -> int:
    try:
        import cyclopts
        import rich  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            'the command line needs its extra: in your clone of hoox-async, pip install -e ".[cli]"'
        ) from None
    from .app import build
    from .options import STDIN
    from .stores import store_first
    from .terminal import stop_logging

    app = build()
    try:
        words = store_first(_with_stdin(argv, STDIN))
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise Misuse(_without_type_names(str(error))) from None
    try:
        found = command(*bound.args, **bound.kwargs)
    finally:
        stop_logging()
    return found if isinstance(found, int) else Exit.READY


def _with_stdin(argv: Sequence[str], stdin: str) -> list[str]:
    """The words with the file - of ``batch`` replaced by this name: it would be taken for an option."""
    words = list(argv)
    for position, (before, word) in enumerate(itertools.pairwise(words), 1):
        if words[0] == "batch" and word == "-" and before not in _TEXT_OPTIONS:
            words[position] = stdin
    return words


def _without_type_names(text: str) -> str:
    """Reword cyclopts' messages in plain English: no types, and no option where an argument is missing."""
    text = _NAMELESS.sub(lambda found: f"{found[1]} needs {found[2].upper()}", text)
    kinds = {"int": "a whole number", "float": "a number", "Decimal": "a number"}
    pattern = re.compile(r'unable to convert "(.*)" into (int|float|Decimal)(\|None)?')
    return pattern.sub(lambda found: f"{found[1]!r} is not {kinds[found[2]]}", text)


# cyclopts calls an argument that can also be an option by the option's name
_NAMELESS = re.compile(
    r'(Command "(?:report|download|costs|unknowns|resolve|store \w+)") '
    r"parameter --(store|key) requires an argument"
)
_TEXT_OPTIONS = ("--prompt", "--label", "--names", "--set")
_OPTIONS = {
    **{name: text.flag for name, text in FIELDS.items() if text.flag is not None},
    "base_url": "--base-url",
    "requests_per_minute": "--rpm",
    "timeout": "--timeout",
    "prompt": "PROMPT",
    "source": "SOURCE",
    "ref": "LOOK",
    "look": "LOOK",
    "by": "--by",
}
_NAMED_FIRST = re.compile(rf"^({'|'.join(_OPTIONS)})(?:\[\d+\])?: ")


def _message(error: BaseException) -> str:
    """What an error says to the user of a command."""
    match error:
        case Misuse():
            return f"{error} Try --help."
        case KeyboardInterrupt():
            return "interrupted"
        case OutcomeUnknown():
            text = str(error).removesuffix("; it may have been charged")
            return f"{text}. It may have been paid for; nothing more was sent"
        case InsufficientCredits():
            return f"{error}. Nothing was paid; once the workspace has credits, go on with the same command"
        case KeyConflict():
            return f"{error}. Nothing was paid; for another look give another --key"
        case ConfigurationError() | InvalidRequest():
            text = in_words_of_the_command_line(str(error))
            return _NAMED_FIRST.sub(lambda found: f"{_OPTIONS[found[1]]}: ", text, count=1)
        case HooxError():
            return in_words_of_the_command_line(str(error))
        case OSError():
            return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return f"unexpected {type(error).__name__}: {error}; this is a bug in hoox-async, please report it"


def _report(error: BaseException, argv: Sequence[str]) -> Exit:
    """Write an error: for people to stderr, and for programs to stdout."""
    text, code = without_urls(_message(error), argv), code_of(error)
    print(f"hoox-async: {sanitize(text)}", file=sys.stderr)
    if "--json" in argv:
        name = "Interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
        known = {"type": name, "code": getattr(error, "code", None) if isinstance(error, HooxError) else None}
        charged = {"charged": error.charged} if isinstance(error, HooxError) else {}
        record = {"event": "error", **known, **charged, "message": text, "exit": int(code)}
        print(json.dumps(record), flush=True)
    return code
