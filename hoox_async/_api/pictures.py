"""A look's picture, and whether it has fewer pixels than was paid for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .image_headers import ImageSize, image_size
from .requests import KnownRequest, LookEdit, PromptAvatar, Resolution

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

        False where the size cannot be read, for 1K, for an `ImageAvatar`, and for a `PrunedRequest`.
        """
        return is_too_small(image_size(self.data), resolution_of(request))

    def __repr__(self) -> str:
        size = image_size(self.data)
        pixels = f", width={size.width}, height={size.height}" if size else ""
        return f"Picture({len(self.data)} bytes, content_type={self.content_type!r}{pixels})"
