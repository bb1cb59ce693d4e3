"""Reads campaigns in JSON lines: one look in each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .builder import Campaign
from .fields import RawFields
from .problems import ProblemList
from .rows import campaign_of
from .variables import Templates


def read_jsonl(text: str, problems: ProblemList, templates: Templates) -> Campaign:
    """Read a campaign in JSONL. Problems are recorded in ``problems``."""
    return campaign_of(_json_rows(text, problems), problems, templates)


def _json_rows(text: str, problems: ProblemList) -> Iterator[RawFields]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            problems.add(number, "syntax", None, f"JSON ({error.msg}, column {error.colno})")
        except RecursionError:
            problems.add(number, "syntax", None, "JSON that is not nested this deeply")
        except ValueError as error:
            problems.add(number, "syntax", None, f"JSON ({error})")
        else:
            if isinstance(values, dict):
                # programs write null for a value that is not given
                given = {name: value for name, value in values.items() if value is not None}
                yield RawFields("", given, number, lambda _, line=number: line)  # type: ignore[misc]
            else:
                problems.add(number, "row", values, "a JSON object")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
