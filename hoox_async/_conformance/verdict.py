"""What is said about one assumption."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple


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


def credits_text(credits: Decimal) -> str:
    """Credits without needless zeros: ``2``, ``3.5``."""
    text = format(credits, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def count_of(count: int, noun: str) -> str:
    """``1 look``, ``1,200 looks``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
