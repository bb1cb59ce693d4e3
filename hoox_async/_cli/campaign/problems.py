"""The problems of a campaign file: collected while it is read, and reported together with their lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from hoox_async import ConfigurationError, InvalidRequest

_MOST_LINES = 20  # what is wrong in each of thousands of rows has one cause
_OTHER_NAMES = {"source": "avatar"}  # the name that `LookEdit` has for it in Python


class Problem(NamedTuple):
    """One problem: its line (from 1), the field, the field's value, and what was expected.

    ``is_secret``: the value may hold a secret and is not kept here.
    """

    line: int
    field: str
    value: object
    expected: str
    is_secret: bool = False

    def __str__(self) -> str:
        shown = "" if self.value is None else f": {_shown(self.value)} is not usable"
        if self.is_secret:
            shown = ": the value, which is not shown, is not usable"
        return f"line {self.line}: {self.field}{shown}; expected {self.expected}"


class CampaignError(ConfigurationError):
    """A campaign file that can't be used; nothing was sent. ``problems`` holds all of them, by line."""

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        count = len(self.problems)
        lines = [f"{name}: {count:,} problem{'' if count == 1 else 's'}"]
        lines += [f"  {problem}" for problem in self.problems[:_MOST_LINES]]
        if count > _MOST_LINES:
            lines.append(f"  and {count - _MOST_LINES:,} more")
        super().__init__("\n".join(lines))


class ProblemList:
    """Collects the problems of one file while it is read."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, line: int, field: str, value: object, expected: str) -> None:
        """Record a problem."""
        self.found.append(Problem(line, field, value, expected))

    def add_error(self, line: int, field: str, error: InvalidRequest, choices: Iterable[str] = ()) -> None:
        """Record the error that a request raised about one of its fields."""
        if error.secret:
            self.found.append(Problem(line, field, None, error.expected, is_secret=True))
            return
        hint = did_you_mean(error.value, choices) if isinstance(error.value, str) else ""
        # files write it in small letters
        expected = error.expected.replace("True or False", "true or false")
        self.add(line, field, error.value, expected + hint)

    def add_unknown(self, line: int, field: str, known: Iterable[str]) -> None:
        """Record a field that does not exist."""
        if any(problem.line == line and problem.field == field for problem in self.found):
            return  # recorded already, with more names to choose from
        known = sorted(known)
        name = field.rpartition(".")[2]
        hint = did_you_mean(_OTHER_NAMES.get(name, name), known)
        self.add(line, field, None, "a known field" + (hint or f": one of {', '.join(known)}"))

    def raise_if_any(self, name: str) -> None:
        """Raise `CampaignError` if any problem was recorded."""
        if self.found:
            raise CampaignError(name, self.found)


def did_you_mean(text: str, choices: Iterable[str]) -> str:
    """A hint at the choice that is most similar to the text, or an empty text."""
    # the repr of an enum's member is not what a person would type
    words = [str(choice) for choice in choices]
    close = difflib.get_close_matches(text[:80].lower(), words, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int with more digits than Python writes out
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= 100 else text[:97] + "..."
