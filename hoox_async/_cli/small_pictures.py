"""The size of saved pictures, and what follows when they have fewer pixels than was paid for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hoox_async import Outcome, Picture, PrunedRequest, Request, Resolution

from .text import format_pixels

_HEAD = 1 << 16  # bytes; nearly always enough for the size
IN_A_ROW = 3
"""How many pictures at 4K that are too small end the buying of looks at 4K."""


class SavedPicture(NamedTuple):
    """A saved picture: its size in pixels, None if that cannot be read."""

    path: Path
    width: int | None
    height: int | None
    is_too_small: bool

    @property
    def size(self) -> str:
        """The size for people, empty if it cannot be read."""
        return "" if self.width is None or self.height is None else format_pixels(self.width, self.height)

    def record(self) -> dict[str, Any]:
        """Its part of a record."""
        size = {"width": self.width, "height": self.height}
        return {"path": str(self.path), **size, "smaller": self.is_too_small}


def measure(path: Path, request: Request | PrunedRequest | None = None) -> SavedPicture:
    """Measure a saved picture, and compare it with what was paid for. Blocks."""
    try:
        picture = _beginning_of(path)
    except OSError:  # it was saved; whoever needs its bytes will say what is wrong
        picture = Picture(b"", "")
    is_too_small = request is not None and picture.is_too_small(request)
    return SavedPicture(path, picture.width, picture.height, is_too_small)


def _beginning_of(path: Path) -> Picture:
    with path.open("rb") as file:
        picture = Picture(file.read(_HEAD), "")
        return Picture(picture.data + file.read(), "") if picture.width is None else picture


class FourKGuard:
    """Calls ``on_small`` once, when the last three pictures of looks at 4K were all too small.

    It is called with the outcomes of those three.
    """

    def __init__(self, on_small: Callable[[tuple[Outcome, ...]], None]) -> None:
        self._on_small = on_small
        self._row: list[Outcome] = []
        self._counted: set[str] = set()
        self._is_called = False

    def count(self, outcome: Outcome, picture: SavedPicture) -> None:
        """Count the picture of a look, unless it was counted before or has no size that can be read."""
        if not is_in_4k(outcome) or not picture.size or str(outcome.ref) in self._counted:
            return
        self._counted.add(str(outcome.ref))
        self._row = [*self._row, outcome] if picture.is_too_small else []
        if len(self._row) == IN_A_ROW and not self._is_called:
            self._is_called = True
            self._on_small(tuple(self._row))


def is_in_4k(outcome: Outcome) -> bool:
    """Whether the request is one at 4K."""
    return getattr(outcome.request, "resolution", None) is Resolution.FOUR_K
