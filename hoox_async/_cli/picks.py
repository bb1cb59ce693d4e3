"""``--only``: which looks a command is about, by patterns and by picks files that the contact sheet saves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from hoox_async import BatchReport, ConfigurationError

from .campaign import Selection

PICKS_FORMAT = "hoox-async picks 1"

OnlyOption = Annotated[
    tuple[str, ...],
    Parameter(
        negative=(),
        help="Only looks whose key matches, such as 'alex/*', or @FILE for the picks that the contact sheet "
        "saved. Repeatable.",
    ),
]


def parse_only(given: Iterable[str]) -> Selection:
    """What ``--only`` chooses. Blocks. Raises `ConfigurationError` for a file that is no picks file."""
    patterns: list[str] = []
    picked: dict[str, str] = {}
    for text in given:
        if text.startswith("@"):
            picked |= dict.fromkeys(read_picks(Path(text[1:])), text)
        else:
            patterns.append(text)
    return Selection(tuple(patterns), picked)


def select_outcomes(report: BatchReport, selection: Selection) -> BatchReport:
    """The chosen part of a report. Raises what `Selection.chosen` raises."""
    chosen = selection.chosen(dict.fromkeys(outcome.key for outcome in report))
    return BatchReport(outcome for outcome in report if outcome.key in chosen)


def read_picks(path: Path) -> tuple[str, ...]:
    """The keys that a picks file picks, in its order. Blocks.

    Raises `ConfigurationError` for a file that can't be read, is no picks file, or picks nothing.
    """
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"--only @{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("format") != PICKS_FORMAT:
        raise ConfigurationError(
            f"--only @{path}: expected a picks file that the contact sheet saved "
            f'(JSON with "format": "{PICKS_FORMAT}")'
        )
    picked: Any = document.get("picked")
    if not isinstance(picked, list) or not all(isinstance(key, str) for key in picked):
        raise ConfigurationError(f'--only @{path}: expected a list of keys as "picked"')
    if not picked:
        raise ConfigurationError(f"--only @{path}: nothing is picked in it")
    return tuple(dict.fromkeys(picked))
