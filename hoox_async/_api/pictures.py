"""A look's picture: what its first bytes say of it, and whether it is smaller than was paid for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from .._checks import argument
from .requests import KnownRequest, LookEdit, PromptAvatar, Resolution

HEAD = 16
"""How many bytes decide whether it is a picture."""

_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
# the same container holds films, which begin with other brands
_STILL_BRANDS = frozenset({b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix", b"heim", b"heis"})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the JPEG segments that have the size
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # the JPEG markers that have no length
_SIZES = (b"meta", b"iprp", b"ipco", b"ispe")  # AVIF's boxes with a size, from the outermost


class ImageSize(NamedTuple):
    """Pixels as the header has them: a rotation that the metadata asks for is not applied."""

    width: int
    height: int


def begins_as_picture(data: bytes) -> bool:
    """Whether the first `HEAD` bytes are those of a JPEG, PNG, GIF, WebP or AVIF (or HEIF)."""
    head = data[:HEAD]
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_still = head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS
    return head.startswith(_BEGINNINGS) or is_webp or is_still


def image_size(data: bytes) -> ImageSize | None:
    """The size that the header of a picture names, of which ``data`` is the beginning or the whole.

    None if it is no picture, its header is damaged, or the size stands further on.
    """
    if not begins_as_picture(data):
        return None
    if data[:2] == b"\xff\xd8":
        size = _jpeg(data)
    elif data[:4] == b"RIFF":
        size = _webp(data)
    elif data[:3] == b"GIF":
        size = _size(data[6:8], data[8:10], "little")
    elif data[:4] == b"\x89PNG":
        size = _size(data[16:20], data[20:24], "big") if data[12:16] == b"IHDR" else None
    else:
        size = max(_avif(data, 0, len(data)), key=lambda one: one.width * one.height, default=None)
    return size if size is not None and size.width and size.height else None


def _size(width: bytes, height: bytes, order: Literal["big", "little"]) -> ImageSize | None:
    if not width or len(width) != len(height):  # cut off
        return None
    return ImageSize(int.from_bytes(width, order), int.from_bytes(height, order))


def _jpeg(data: bytes) -> ImageSize | None:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            return _size(data[at + 7 : at + 9], data[at + 5 : at + 7], "big")
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def _webp(data: bytes) -> ImageSize | None:
    kind = data[12:16]
    if kind == b"VP8X":
        size = _size(data[24:27], data[27:30], "little")
        return size and ImageSize(size.width + 1, size.height + 1)
    if kind == b"VP8L" and data[20:21] == b"\x2f" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return ImageSize((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        size = _size(data[26:28], data[28:30], "little")  # the two highest bits of each are a scale
        return size and ImageSize(size.width & 0x3FFF, size.height & 0x3FFF)
    return None


def _avif(data: bytes, at: int, end: int, path: Sequence[bytes] = _SIZES) -> Iterator[ImageSize]:
    """The sizes in the boxes of this path: those of the picture, its tiles and its thumbnail."""
    while at + 8 <= end:
        length, kind, inner = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if length == 1:
            length, inner = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        after = at + length if length else end
        if after < inner or after > end:  # damaged, or cut off: the picture's own size may be missing
            return
        if kind == path[0] == b"ispe":
            if size := _size(data[inner + 4 : inner + 8], data[inner + 8 : inner + 12], "big"):
                yield size
        elif kind == path[0]:
            yield from _avif(data, inner + (4 if kind == b"meta" else 0), after, path[1:])
        at = after


# In pixels. No page of the API says what 2K and 4K are; 1152 x 2048 and 2160 x 3840 are usual for 9:16.
# With `upscale` the resolution is that before the enlargement.
_LEAST_SIDES: Mapping[Resolution, int] = {Resolution.TWO_K: 1000, Resolution.FOUR_K: 2000}


def resolution_of(request: KnownRequest) -> Resolution | None:
    """The resolution that was paid for; None for pictures of one's own, and for what was pruned."""
    return request.resolution if isinstance(request, PromptAvatar | LookEdit) else None


def is_too_small(size: ImageSize | None, resolution: Resolution | None) -> bool:
    """Whether the shorter side of a picture of this size is too short for this resolution.

    False at 1K, and where the size or the resolution is not known.
    """
    if size is None or resolution is None:
        return False
    return min(size) < _LEAST_SIDES.get(resolution, 0)


class Picture(NamedTuple):
    """A look's picture as it was received: the bytes and their content type."""

    data: bytes
    content_type: str

    @property
    def width(self) -> int | None:
        """The pixels from left to right, read from the picture's header. None if it cannot be read."""
        size = image_size(self.data)
        return size and size.width

    @property
    def height(self) -> int | None:
        """The pixels from top to bottom, as `width`."""
        size = image_size(self.data)
        return size and size.height

    def is_too_small(self, request: KnownRequest) -> bool:
        """Whether it has fewer pixels than this request paid for: under 1,000 on its shorter side for 2K,
        under 2,000 for 4K.

        False where the size cannot be read, for 1K, for an `ImageAvatar`, and for a `PrunedRequest`. Raises
        `InvalidRequest` for what is no request.
        """
        argument.instance("request", request, KnownRequest, "a request, as that of an Outcome")
        return is_too_small(image_size(self.data), resolution_of(request))

    def __repr__(self) -> str:
        size = image_size(self.data)
        pixels = f", width={size.width}, height={size.height}" if size else ""
        return f"Picture({len(self.data)} bytes, content_type={self.content_type!r}{pixels})"
