"""The pictures of a contact sheet: fetched once, kept beside the page, each with a small version."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anyio
import anyio.to_thread

from .._core.intents.outcomes import Outcome, OutcomeState
from ..errors import ConfigurationError, HooxError
from .file_names import file_stem

if TYPE_CHECKING:
    from .report import Fetch

AT_ONCE = 8
DECODERS = 2
SMALL = (480, 720)  # a card is 240 CSS pixels wide at most: twice that for dense screens
QUALITY = 82


class Shot(NamedTuple):
    """A look's picture as the page needs it: paths below the folder, size in pixels, or what is wrong."""

    picture: str | None = None
    small: str | None = None
    width: int = 0
    height: int = 0
    problem: str | None = None


class _Want(NamedTuple):
    position: int
    outcome: Outcome
    stem: str


class _Place(NamedTuple):
    """Where pictures go and what is there already: file names by their stem."""

    folder: Path
    there: Mapping[str, str]


async def collect(
    outcomes: Sequence[Outcome],
    folder: Path,
    *,
    given: Mapping[str, Path],
    fetch: Fetch | None,
    download: bool,
) -> list[Shot]:
    """A shot for each outcome, in order; an empty one where the outcome has no picture to show.

    Raises `ConfigurationError` without Pillow, and `OSError` where the folder can't be written.
    """
    require_pillow()
    shots = [Shot()] * len(outcomes)
    place = _Place(folder, await anyio.to_thread.run_sync(_listed, folder / "pictures"))
    wanted = _wanted(outcomes)
    limiter = anyio.CapacityLimiter(DECODERS)
    async with AsyncExitStack() as stack:
        if fetch is None and download:
            from .._io.transport import PictureFetcher

            fetch = (await stack.enter_async_context(PictureFetcher())).fetch

        async def work() -> None:
            for want in wanted:
                file = given.get(want.outcome.key)
                shots[want.position] = await _shot(want, place, file, fetch if download else None, limiter)

        await _together(work, AT_ONCE)
    return shots


async def _together(work: Callable[[], Coroutine[None, None, None]], count: int) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(work())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


def _listed(folder: Path) -> dict[str, str]:
    """The pictures that are there, by their stem: the suffix is the one that the server's answer gave."""
    if not folder.is_dir():
        return {}
    return {file.stem: file.name for file in folder.iterdir() if not file.name.endswith(".part")}


def _wanted(outcomes: Sequence[Outcome]) -> Iterator[_Want]:
    for index, outcome in enumerate(outcomes):
        if outcome.state is OutcomeState.READY and outcome.look is not None:
            # the ref is part of the name: a look that was paid for anew has another picture
            yield _Want(index, outcome, file_stem(outcome.key, str(outcome.look.ref)))


async def _shot(
    want: _Want, place: _Place, given: Path | None, fetch: Fetch | None, limiter: anyio.CapacityLimiter
) -> Shot:
    folder = place.folder / "pictures"
    try:
        name = place.there.get(want.stem)
        picture = folder / name if name else await _bring(want, folder, given, fetch)
        small = place.folder / "small" / f"{want.stem}.jpg"
        return await anyio.to_thread.run_sync(_prepare, picture, small, limiter=limiter)
    except (HooxError, _NoPicture) as error:
        return Shot(problem=str(error) or type(error).__name__)


class _NoPicture(Exception):
    """There is nothing to show, for this reason."""


async def _bring(want: _Want, folder: Path, given: Path | None, fetch: Fetch | None) -> Path:
    if given is not None:
        suffix = given.suffix.lower() if given.suffix.isascii() else ""
        return await anyio.to_thread.run_sync(_copy, given, folder / f"{want.stem}{suffix}")
    url = want.outcome.look.thumbnail_url if want.outcome.look else None
    if not url:
        raise _NoPicture("the API gave no picture for it")
    if fetch is None:
        raise _NoPicture("the picture was not downloaded")
    from .._io.downloads import save_picture

    # overwrite: another report of the same batch may be written at the same time, with the same pictures
    return await save_picture(fetch, url, folder, name=want.stem, overwrite=True)


def _copy(source: Path, target: Path) -> Path:
    if not source.is_file():
        raise _NoPicture(f"there is no file {source.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    shutil.copyfile(source, part)
    return part.replace(target)


def require_pillow() -> None:
    """Raise `ConfigurationError` where Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            'the contact sheet needs Pillow: in your clone of hoox-async, pip install -e ".[report]"'
        ) from None


def _prepare(picture: Path, small: Path) -> Shot:
    """Make the small version unless it is there. Blocks: it decodes a picture."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if not small.exists():
            small.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(picture) as full:
                full.draft("RGB", SMALL)  # JPEG decoders then scale while they decode: 4K costs an eighth
                upright = ImageOps.exif_transpose(full)
                upright.thumbnail(SMALL)
                part = small.with_suffix(".part")
                upright.convert("RGB").save(part, "JPEG", quality=QUALITY, optimize=True, progressive=True)
            part.replace(small)
        with Image.open(small) as done:
            width, height = done.size
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError, EOFError):
        raise _NoPicture("what was downloaded is no picture that can be read") from None
    return Shot(f"pictures/{picture.name}", f"small/{small.name}", width, height)
