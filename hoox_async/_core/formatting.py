"""Formats credits, counts, durations, times and sizes for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

_KINDS = {
    "prompt": ("avatar from a prompt", "avatars from prompts"),
    "images": ("avatar from images", "avatars from images"),
}


def format_amount(credits: Decimal) -> str:
    """Credits without needless zeros: ``2``, ``3.5``, ``1,204``."""
    text = format(credits, ",f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_credits(credits: Decimal) -> str:
    """``1 credit``, ``3.5 credits``."""
    return f"{format_amount(credits)} {'credit' if credits == 1 else 'credits'}"


def format_count(count: int, noun: str, plural: str | None = None) -> str:
    """``1 look``, ``1,200 looks``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def format_kinds(by_kind: Mapping[str, int]) -> str:
    """``1 avatar from a prompt, 1,200 edits``: how many there are of each kind of request."""
    return ", ".join(format_count(count, *_KINDS.get(kind, (kind,))) for kind, count in by_kind.items())


def format_duration(seconds: float) -> str:
    """Seconds as ``0.4 s``, ``41 s``, ``1 min 12 s`` or ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def format_moment(at: datetime | None) -> str:
    """A time with its zone, as ``2025-06-01 14:03:09 UTC``; an empty text for None."""
    return at.strftime("%Y-%m-%d %H:%M:%S %Z") if at else ""


def format_pixels(width: int, height: int) -> str:
    """A picture's size, as ``540 x 960`` with a multiplication sign."""
    return f"{width} \N{MULTIPLICATION SIGN} {height}"
