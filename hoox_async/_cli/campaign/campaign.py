"""What a campaign file comes to: the items of a batch, and where each has its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import attrs

from hoox_async import BatchItem

_PART = r"\w(?:[\w.+@-]*\w)?"
PART_KEY = re.compile(_PART)
ITEM_KEY = re.compile(rf"{_PART}(?:/{_PART})*")
PART_FORM = "letters, digits, and - _ . + @ between them, at most 100"
ITEM_FORM = f"parts made of {PART_FORM}; a slash between two parts, such as alex/podcast-2"


class Place(NamedTuple):
    """Where an item belongs: its avatar's key, its scene's, the number of the variation, and its line."""

    avatar: str
    scene: str
    n: int
    line: int


@attrs.frozen
class Campaign:
    """The items to make, sources before what is made from them, and the place of each by its key."""

    items: tuple[BatchItem, ...]
    places: Mapping[str, Place]

    @property
    def credits(self) -> Decimal:
        """What all of it costs when nothing of it was paid before, in credits."""
        return sum((item.request.credits for item in self.items), Decimal(0))


def is_key(text: object, form: re.Pattern[str], longest: int = 100) -> bool:
    """Whether this can be a key: readable, without spaces, and harmless in a pattern or a file name."""
    return isinstance(text, str) and len(text) <= longest and form.fullmatch(text) is not None
