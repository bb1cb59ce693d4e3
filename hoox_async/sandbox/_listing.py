"""The filters of ``GET /avatar/list``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FILTERS = (
    "gender", "age_range", "ethnicity", "hair_color", "place", "action", "emotion", "accessories", "selfie"
)  # fmt: skip


def listing(entries: list[dict[str, Any]], params: Mapping[str, str]) -> list[dict[str, Any]]:
    """The entries that pass every filter, each a comma-separated choice; without what only one look shows."""
    wanted = {name: params[name].lower().split(",") for name in _FILTERS if params.get(name)}
    for entry in entries:
        del entry["status"], entry["error_message"]
    return [entry for entry in entries if all(_passes(entry[name], wanted[name]) for name in wanted)]


def _passes(value: Any, choices: list[str]) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(str(one).lower() in choices for one in values)
