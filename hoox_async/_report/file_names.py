"""File names of pictures: readable, safe on every system, and different for different looks."""

from __future__ import annotations

import hashlib
import re
import unicodedata


def file_stem(text: str, *identity: str) -> str:
    """A readable stem in lower-case ASCII that differs wherever ``text`` or ``identity`` differ.

    It holds letters, digits and dashes only, and ends in a digest: so it leaves no folder and is no name
    that Windows reserves. Lower case, because some file systems take ``Alex`` and ``alex`` for one name.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:48].rstrip("-")
    seed = "\0".join((text, *identity)).encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(seed).hexdigest()[:12]
    return f"{slug or 'look'}-{digest}"
