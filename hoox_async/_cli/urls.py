"""URLs of databases in what the program writes: never with a password."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
