"""Selects a part of a campaign: ``--only 'alex/*'`` and ``--limit N``."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from hoox_async import BatchItem, ConfigurationError, LookEdit

from .problems import did_you_mean


def select(
    items: Sequence[BatchItem], *, only: Sequence[str] = (), limit: int | None = None
) -> tuple[BatchItem, ...]:
    """The items whose key matches one of the patterns, at most ``limit`` of them, and their sources.

    Sources of the chosen items are added and don't count towards the limit: a limit of 5 gives five
    looks with their avatars. The order is kept.

    Raises `ConfigurationError` for a pattern that matches nothing and for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigurationError(f"--limit {limit}: expected a whole number, 1 or more")
    matching = _matching(items, only)
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


def _matching(items: Sequence[BatchItem], only: Sequence[str]) -> set[str]:
    if not only:
        return {item.key for item in items}
    matching: set[str] = set()
    for pattern in only:
        keys = {item.key for item in items if fnmatchcase(item.key, pattern)}
        if not keys:
            hint = did_you_mean(pattern, [item.key for item in items[:1000]])
            raise ConfigurationError(f"--only {pattern!r}: no item's key matches{hint}")
        matching |= keys
    return matching
