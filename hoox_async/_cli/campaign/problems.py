"""What is wrong with a campaign file: all of it at once, each with its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from hoox_async import ConfigurationError, InvalidRequest

_MEANT = {"source": "avatar"}  # what a `LookEdit` in Python calls it


class Fault(NamedTuple):
    """One thing that is wrong: in which line (from 1), which field, its value, and what would be right."""

    line: int
    field: str
    value: object
    expected: str

    def __str__(self) -> str:
        shown = "" if self.value is None else f": {_shown(self.value)} is not usable"
        return f"line {self.line}: {self.field}{shown}; expected {self.expected}"


class CampaignError(ConfigurationError):
    """A campaign file that can't be used; nothing was sent. ``faults`` has all that is wrong, by line."""

    def __init__(self, name: str, faults: Iterable[Fault]) -> None:
        self.name = name
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        count = len(self.faults)
        lines = "".join(f"\n  {fault}" for fault in self.faults)
        super().__init__(f"{name}: {count} fault{'' if count == 1 else 's'}{lines}")


class Faults:
    """Collects what is wrong with one file while it is read."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, line: int, field: str, value: object, expected: str) -> None:
        """Note a fault."""
        self.found.append(Fault(line, field, value, expected))

    def add_error(self, line: int, field: str, error: InvalidRequest, choices: Iterable[str] = ()) -> None:
        """Note what a request said of one of its fields."""
        hint = did_you_mean(error.value, choices) if isinstance(error.value, str) else ""
        self.add(line, field, error.value, error.expected + hint)

    def add_unknown(self, line: int, field: str, known: Iterable[str]) -> None:
        """Note a field that nobody reads."""
        if any(fault.line == line and fault.field == field for fault in self.found):
            return  # told already, with more names to choose from
        known = sorted(known)
        name = field.rpartition(".")[2]
        hint = did_you_mean(_MEANT.get(name, name), known)
        self.add(line, field, None, "a known field" + (hint or f": one of {', '.join(known)}"))

    def raise_if_any(self, name: str) -> None:
        """Raise `CampaignError` with everything found."""
        if self.found:
            raise CampaignError(name, self.found)


def did_you_mean(text: str, choices: Iterable[str]) -> str:
    """A hint at the choice that is most like the text, or nothing."""
    # an enum's member is text too, and its repr is no text that a person could type
    words = [str(choice) for choice in choices]
    close = difflib.get_close_matches(text[:80].lower(), words, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int with more digits than Python writes out
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= 100 else text[:97] + "..."
