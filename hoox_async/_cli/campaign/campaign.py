"""A campaign: the items of a batch, and where in the file each comes from; also the form of keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import attrs

from hoox_async import BatchItem

_KEY_PART = r"\w(?:[\w.+@-]*\w)?"
PART_KEY = re.compile(_KEY_PART)
ITEM_KEY = re.compile(rf"{_KEY_PART}(?:/{_KEY_PART})*")
PART_FORM = "letters, digits, and - _ . + @ between them, at most 100"
ITEM_FORM = f"parts made of {PART_FORM}; a slash between two parts, such as alex/podcast-2"

VERSION_MARK = "~"
"""Stands before a version's name in a key, such as ``alex/podcast~4k``. No key of a file can hold it."""


class ItemOrigin(NamedTuple):
    """Where an item comes from: the keys of its avatar and scene, the variation (from 1), and its line."""

    avatar: str
    scene: str
    variation: int
    line: int


@attrs.frozen
class Campaign:
    """The items to make, sources before the looks made from them, and the origin of each by its key."""

    items: tuple[BatchItem, ...]
    origins: Mapping[str, ItemOrigin]

    @property
    def credits(self) -> Decimal:
        """What all items cost in credits, if none was paid for before."""
        return sum((item.request.credits for item in self.items), Decimal(0))


def is_key(text: object, form: re.Pattern[str], longest: int = 100) -> bool:
    """Whether this can be a key: text of this form, which is safe in a pattern and in a file name."""
    return isinstance(text, str) and len(text) <= longest and form.fullmatch(text) is not None
