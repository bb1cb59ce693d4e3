"""What is said about one fact."""

from __future__ import annotations

from typing import NamedTuple

import attrs


class Seen(NamedTuple):
    """What was seen, and whether it differs from what is assumed; None if it was not seen."""

    text: str
    differs: bool | None


def same(text: str) -> Seen:
    """It was seen, and is as assumed."""
    return Seen(text, False)


def differs(text: str) -> Seen:
    """It was seen, and is not as assumed."""
    return Seen(text, True)


def not_seen(why: str) -> Seen:
    """It was not seen, and why."""
    return Seen(why, None)


@attrs.frozen
class Fact:
    """One fact: what this library assumes, what was seen, whether it differs, and whether that matters.

    ``consequence`` is what a difference means for this library's users; ``matters`` is True if there is one
    that harms them.
    """

    id: str
    question: str
    assumed: str
    seen: str
    differs: bool | None
    consequence: str
    matters: bool
