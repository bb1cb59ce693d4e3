"""Formats numbers, text and URLs for people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

_TYPED = {
    "open the session once with new_key=True": "add --new-key once",
    "session.unknowns() lists them": "the command unknowns lists them",
    "(max_failures)": "(--max-failures)",
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


def format_pixels(width: int, height: int) -> str:
    """A picture's size, as ``540 x 960`` with a multiplication sign."""
    return f"{width} \N{MULTIPLICATION SIGN} {height}"


def shorten_list(things: Iterable[str], most: int = 5) -> str:
    """The first ``most`` entries, and how many more there are."""
    things = list(things)
    more = f" and {len(things) - most:,} more" if len(things) > most else ""
    return ", ".join(things[:most]) + more


def sanitize(text: str) -> str:
    """Text that is safe to print: control characters other than line breaks are replaced."""
    return "".join(c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs") else "\ufffd" for c in text)


def in_words_of_the_command_line(text: str) -> str:
    """The library's text, with options and commands where a program has arguments and methods."""
    for words, typed in _TYPED.items():
        text = text.replace(words, typed)
    return text


def one_line(text: str, longest: int = 200) -> str:
    """Text on one line, cut to ``longest`` characters."""
    flat = " ".join(sanitize(text).split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


SCHEMES = ("postgresql://", "postgres://")
_HIDDEN = "postgresql://..."
_URL = re.compile(r"postgres(?:ql)?://\S+")


def shown_url(text: str) -> str:
    """The text; a database's URL without what may hold a password."""
    if not text.startswith(SCHEMES):
        return text
    rest = text.partition("://")[2]
    has_password = "@" in rest and ":" in rest.rpartition("@")[0]
    return _HIDDEN if has_password or re.search(r"password|secret", rest, re.I) else text


def without_urls(text: str, words: Sequence[str]) -> str:
    """The text of an error, in which the URLs of the command line, and others, hold no password."""
    for word in words:
        at = word.find("postgres")
        if at >= 0 and "://" in word and shown_url(word[at:]) != word[at:]:
            for written in (word[at:], repr(word[at:])[1:-1]):
                text = text.replace(written, _HIDDEN)
    return _URL.sub(lambda found: shown_url(found[0]), text)
