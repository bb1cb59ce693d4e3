"""Numbers and texts as people read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from decimal import Decimal


def amount(credits: Decimal) -> str:
    """Credits without needless zeros: ``2``, ``3.5``, ``1,204``."""
    text = format(credits, ",f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def in_credits(credits: Decimal) -> str:
    """``1 credit``, ``3.5 credits``."""
    return f"{amount(credits)} {'credit' if credits == 1 else 'credits'}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``1 look``, ``1,200 looks``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
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


def listed(things: Iterable[str], most: int = 5) -> str:
    """The first few, and how many more there are."""
    things = list(things)
    more = f" and {len(things) - most:,} more" if len(things) > most else ""
    return ", ".join(things[:most]) + more


def plain(text: str) -> str:
    """Text that can do nothing to a terminal: control characters but the line break are replaced."""
    return "".join(c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs") else "\ufffd" for c in text)


def one_line(text: str, longest: int = 200) -> str:
    """Text on one line, cut where it is long."""
    flat = " ".join(plain(text).split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"
