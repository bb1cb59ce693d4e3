"""Selects a part of a campaign or of a store: ``--only 'alex/*'`` or ``@picks.json``, and ``--limit N``."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Parameter

from hoox_async import BatchItem, BatchReport, ConfigurationError, LookEdit
from hoox_async._checks import option

from .campaign.builder import VERSION_MARK
from .campaign.problems import did_you_mean


@attrs.frozen
class Selection:
    """What ``--only`` chooses: the keys that match a pattern, and the keys of picks files.

    ``picked`` maps each key to the file that picks it. Without both, everything is chosen.
    """

    patterns: tuple[str, ...] = ()
    picked: Mapping[str, str] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self.patterns or self.picked)

    def chosen(self, keys: Collection[str]) -> set[str]:
        """Those of the keys that are chosen.

        A pattern chooses versions of looks only if it holds their mark: else ``alex/*`` would make versions
        of versions when the same command is run again. Raises `ConfigurationError` for a pattern that
        matches nothing and for a picked key that is not there, since both are probably mistakes.
        """
        if not self:
            return set(keys)
        missing = [key for key in self.picked if key not in keys]
        if missing:
            more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            hint = "" if more else did_you_mean(missing[0], list(keys)[:1000])
            raise ConfigurationError(
                f"--only {self.picked[missing[0]]}: no item has the key {missing[0]!r}{more}{hint}"
            )
        found = set(self.picked)
        for pattern in self.patterns:
            matching = {key for key in keys if _matches(key, pattern)}
            if not matching:
                hint = did_you_mean(pattern, list(keys)[:1000])
                raise ConfigurationError(f"--only {pattern!r}: no item's key matches{hint}")
            found |= matching
        return found


def select(
    items: Sequence[BatchItem], *, only: Selection | Sequence[str] = (), limit: int | None = None
) -> tuple[BatchItem, ...]:
    """The chosen items, at most ``limit`` of them, and their sources.

    ``only`` is a selection, or the patterns of one. Sources of the chosen items are added and don't count
    towards the limit: a limit of 5 gives five looks with their avatars. The order is kept.

    Raises what `Selection.chosen` raises, and `ConfigurationError` for a limit below 1.
    """
    check_limit(limit)
    selection = only if isinstance(only, Selection) else Selection(tuple(only))
    matching = selection.chosen(dict.fromkeys(item.key for item in items))
    sources = {item.key: item.request.source for item in items if isinstance(item.request, LookEdit)}
    made_from = {sources.get(key) for key in matching}
    leaves = [item.key for item in items if item.key in matching and item.key not in made_from]
    chosen = matching if limit is None else set(leaves[:limit])
    wanted = set(chosen)
    for key in chosen:
        source = sources.get(key)
        while isinstance(source, str) and source not in wanted:
            wanted.add(source)
            source = sources.get(source)
    return tuple(item for item in items if item.key in wanted)


def check_limit(limit: int | None) -> None:
    """Raise `ConfigurationError` for a limit below 1."""
    if limit is not None:
        option.whole("--limit", limit, least=1)


def _matches(key: str, pattern: str) -> bool:
    return fnmatchcase(key, pattern) and (VERSION_MARK not in key or VERSION_MARK in pattern)


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
