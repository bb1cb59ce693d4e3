"""Whether bytes are a picture, by the first few of them. A server's word for it is not enough: a page that
says what went wrong is called an image too, where it comes from an image's address."""

from __future__ import annotations

from collections.abc import Mapping

HEAD = 16
"""So many bytes decide."""

SUFFIXES: Mapping[str, str] = {
    "image/jpeg": ".jpg", "image/jpg": ".jpg", "image/png": ".png", "image/webp": ".webp",
    "image/gif": ".gif", "image/avif": ".avif",
}  # fmt: skip
"""The content types whose pictures are known here, and what their files are called."""

_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")


def may_be_picture(content_type: str, data: bytes) -> bool:
    """Whether what begins so, or is that whole, can be a picture.

    Under a type that is known here it has to be one of the known ones, not that very one: servers mix
    their names up. Of other types, how they begin is not known.
    """
    return content_type not in SUFFIXES or _is_known(data[:HEAD])


def _is_known(head: bytes) -> bool:
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_avif = head[4:8] == b"ftyp"
    return head.startswith(_BEGINNINGS) or is_webp or is_avif
