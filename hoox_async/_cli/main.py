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
    except _Misuse as error:
        return _report(f"{error} Try --help.", Exit.USE, {"type": "Misuse", "code": None}, argv=argv)
    except BrokenPipeError:
        # the reader of stdout is gone; flushing the rest of the buffer at exit must not raise again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.UNFINISHED
    except KeyboardInterrupt:
        return _report("interrupted", Exit.UNFINISHED, {"type": "Interrupted", "code": None}, argv=argv)
    except HooxError as error:
        known = {"type": type(error).__name__, "code": getattr(error, "code", None)}
        return _report(_message(error), code_of(error), {**known, "charged": error.charged}, argv=argv)
    except OSError as error:
        known = {"type": type(error).__name__, "code": None}
        return _report(_message(error), code_of(error), known, argv=argv)
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {error}; this is a bug in hoox-async, please report it"
        return _report(text, Exit.USE, {"type": type(error).__name__, "code": None}, argv=argv)


class _Misuse(Exception):
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
        raise _Misuse(_without_type_names(str(error))) from None
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
    "by": "--by",
}
_NAMED_FIRST = re.compile(rf"^({'|'.join(_OPTIONS)})(?:\[\d+\])?: ")


def _message(error: BaseException) -> str:
    if isinstance(error, OutcomeUnknown):
        text = str(error).removesuffix("; it may have been charged")
        return f"{text}. It may have been paid for; nothing more was sent"
    if isinstance(error, InsufficientCredits):
        return f"{error}. Nothing was paid; once the workspace has credits, go on with the same command"
    if isinstance(error, KeyConflict):
        return f"{error}. Nothing was paid; for another look give another --key"
    if isinstance(error, OSError) and not isinstance(error, HooxError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    text = in_words_of_the_command_line(str(error))
    if isinstance(error, ConfigurationError | InvalidRequest):
        text = _NAMED_FIRST.sub(lambda found: f"{_OPTIONS[found[1]]}: ", text, count=1)
    return text


def _report(text: str, code: Exit, error: dict[str, object], *, argv: Sequence[str]) -> Exit:
    """Write an error: for people to stderr, and for programs to stdout."""
    text = without_urls(text, argv)
    print(f"hoox-async: {sanitize(text)}", file=sys.stderr)
    if "--json" in argv:
        print(json.dumps({"event": "error", **error, "message": text, "exit": int(code)}), flush=True)
    return code
