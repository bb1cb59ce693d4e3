"""From arguments to an exit code: the one place where errors become lines."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from hoox_async import ConfigurationError, HooxError, OutcomeUnknown

from .exit_codes import Exit, code_of


def run(argv: Sequence[str]) -> int:
    """Run one command; gives its exit code. Errors end as one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that can't show a letter is no reason to fail
    try:
        return _dispatch(argv)
    except BrokenPipeError:
        # whoever read stdout has left; what is still in its buffer must not fail at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.UNFINISHED
    except KeyboardInterrupt:
        _tell("interrupted")
        return Exit.UNFINISHED
    except (HooxError, OSError) as error:
        _tell(_message(error))
        return code_of(error)
    except Exception as error:
        _tell(f"unexpected {type(error).__name__}: {error}; this is a fault of hoox-async, please report it")
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
        _tell(f"{_in_words(str(error))} Try --help.")
        return Exit.USE
    found = command(*bound.args, **bound.kwargs)
    return found if isinstance(found, int) else Exit.READY


def _in_words(text: str) -> str:
    """A type as people would say it: "unable to convert … into Decimal|None" is no help."""
    kinds = {"int": "a whole number", "float": "a number", "Decimal": "a number"}
    said = re.compile(r'unable to convert "(.*)" into (int|float|Decimal)(\|None)?')
    return said.sub(lambda found: f"{found[1]!r} is not {kinds[found[2]]}", text)


def _message(error: BaseException) -> str:
    if isinstance(error, OutcomeUnknown):
        return f"{error}. It may have been paid for; nothing more was sent"
    if isinstance(error, OSError) and not isinstance(error, HooxError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    # what a program would pass to the session has an option here
    text = str(error).replace("open the session once with new_key=True", "add --new-key once")
    return text.replace("session.unknowns() lists them", "the command unknowns lists them")


def _tell(text: str) -> None:
    from .text import plain

    print(f"hoox-async: {plain(text)}", file=sys.stderr)
