"""Parts of a campaign: patterns and limits."""

from __future__ import annotations

import pytest

from hoox_async import BatchItem, ConfigurationError, LookEdit, LookRef, PromptAvatar
from hoox_async._cli.campaign import select

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


def test_all_without_patterns() -> None:
    """Nothing chosen is everything."""
    assert select(ITEMS) == ITEMS


def test_sources_come_along_in_order() -> None:
    """What a chosen look is made from is kept, through all steps, and the order stays."""
    assert keys(select(ITEMS, only=["alex/night"])) == ["alex", "alex/car", "alex/night"]
    assert keys(select(ITEMS, only=["kim/*", "mara/*"])) == ["mara", "mara/car", "kim/car"]
    assert keys(select(ITEMS, only=["mara"])) == ["mara"]


def test_limit_counts_looks_and_not_their_sources() -> None:
    """A limit of N is N looks with all that they are made from."""
    assert keys(select(ITEMS, limit=1)) == ["mara", "mara/car"]
    assert keys(select(ITEMS, limit=2)) == ["alex", "mara", "alex/car", "mara/car", "alex/night"]
    assert keys(select(ITEMS, only=["*/car"], limit=2)) == ["alex", "mara", "alex/car", "mara/car"]
    assert select(ITEMS, limit=99) == ITEMS


def test_pattern_that_matches_nothing_is_told() -> None:
    """A mistyped pattern must not look like an empty campaign."""
    with pytest.raises(ConfigurationError, match="did you mean 'alex/car'"):
        select(ITEMS, only=["alex/caar"])


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_told(limit: int) -> None:
    """A limit is at least one."""
    with pytest.raises(ConfigurationError, match="1 or more"):
        select(ITEMS, limit=limit)


def test_keys_are_matched_as_written() -> None:
    """Capitals count, on every system."""
    with pytest.raises(ConfigurationError):
        select(ITEMS, only=["ALEX"])
