"""Runs one command line: parses the arguments, calls the command, turns errors into one line each."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from hoox_async import ConfigurationError, HooxError, OutcomeUnknown

from .exit_codes import Exit, code_of


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code. An error becomes one line on stderr."""
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
    except KeyboardInterrupt:
        _print_error("interrupted")
        return Exit.UNFINISHED
    except (HooxError, OSError) as error:
        _print_error(_message(error))
        return code_of(error)
    except Exception as error:
        _print_error(
            f"unexpected {type(error).__name__}: {error}; this is a bug in hoox-async, please report it"
        )
        return Exit.USE


def _dispatch(argv: Sequence[str]) -> int:
    try:
        import cyclopts
        import rich  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            'the command line needs its extra: in your clone of hoox-async, pip install -e ".[cli]"'
        ) from None
    from .app import build

    app = build()
    try:
        command, bound, _ = app.parse_args(list(argv), exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        _print_error(f"{_without_type_names(str(error))} Try --help.")
        return Exit.USE
    found = command(*bound.args, **bound.kwargs)
    return found if isinstance(found, int) else Exit.READY


def _without_type_names(text: str) -> str:
    """Reword cyclopts' "unable to convert … into Decimal|None" in plain English."""
    kinds = {"int": "a whole number", "float": "a number", "Decimal": "a number"}
    pattern = re.compile(r'unable to convert "(.*)" into (int|float|Decimal)(\|None)?')
    return pattern.sub(lambda found: f"{found[1]!r} is not {kinds[found[2]]}", text)


def _message(error: BaseException) -> str:
    if isinstance(error, OutcomeUnknown):
        text = str(error).removesuffix("; it may have been charged")
        return f"{text}. It may have been paid for; nothing more was sent"
    if isinstance(error, OSError) and not isinstance(error, HooxError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    # a program passes an argument to the session where the command line has an option
    text = str(error).replace("open the session once with new_key=True", "add --new-key once")
    return text.replace("session.unknowns() lists them", "the command unknowns lists them")


def _print_error(text: str) -> None:
    from .text import sanitize

    print(f"hoox-async: {sanitize(text)}", file=sys.stderr)
