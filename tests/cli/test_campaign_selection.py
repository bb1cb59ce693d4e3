"""Parts of a campaign: patterns and limits."""

from __future__ import annotations

import pytest

from hoox_async import BatchItem, ConfigurationError, LookEdit, LookRef, PromptAvatar
from hoox_async._cli.selection import select

ITEMS = (
    BatchItem("alex", PromptAvatar("Alex")),
    BatchItem("mara", PromptAvatar("Mara")),
    BatchItem("alex/car", LookEdit("alex", "x")),
    BatchItem("mara/car", LookEdit("mara", "x")),
    BatchItem("alex/night", LookEdit("alex/car", "x")),
    BatchItem("kim/car", LookEdit(LookRef("a", "b"), "x")),
)


def keys(items: tuple[BatchItem, ...]) -> list[str]:
    """The keys, in order."""
    return [item.key for item in items]


def test_everything_is_selected_without_patterns() -> None:
    """Without patterns and a limit all items are selected."""
    assert select(ITEMS) == ITEMS


def test_sources_are_selected_in_order() -> None:
    """The sources of a selected look are selected too, through all steps, and the order is kept."""
    assert keys(select(ITEMS, only=["alex/night"])) == ["alex", "alex/car", "alex/night"]
    assert keys(select(ITEMS, only=["kim/*", "mara/*"])) == ["mara", "mara/car", "kim/car"]
    assert keys(select(ITEMS, only=["mara"])) == ["mara"]


def test_limit_counts_looks_and_not_their_sources() -> None:
    """A limit of N selects N looks and, in addition, all their sources."""
    assert keys(select(ITEMS, limit=1)) == ["mara", "mara/car"]
    assert keys(select(ITEMS, limit=2)) == ["alex", "mara", "alex/car", "mara/car", "alex/night"]
    assert keys(select(ITEMS, only=["*/car"], limit=2)) == ["alex", "mara", "alex/car", "mara/car"]
    assert select(ITEMS, limit=99) == ITEMS


def test_pattern_that_matches_nothing_is_refused() -> None:
    """A pattern that matches no key is an error, since it is probably mistyped."""
    with pytest.raises(ConfigurationError, match="did you mean 'alex/car'"):
        select(ITEMS, only=["alex/caar"])


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_refused(limit: int) -> None:
    """A limit below 1 is an error."""
    with pytest.raises(ConfigurationError, match="1 or more"):
        select(ITEMS, limit=limit)


def test_patterns_are_case_sensitive() -> None:
    """Patterns are case-sensitive, on every system."""
    with pytest.raises(ConfigurationError):
        select(ITEMS, only=["ALEX"])
