"""Collects the pictures of a contact sheet: stored beside the page, each with a thumbnail, fetched once."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anyio
import anyio.to_thread

from .._api.models import LookDetails, LookRef
from .._api.pictures import ImageSize
from .._core.intents.outcomes import Outcome, OutcomeState
from .._io.publishing import naming
from ..errors import HooxError

if TYPE_CHECKING:
    from .report import Fetch

FETCHES_AT_ONCE = 8
DECODES_AT_ONCE = 2
THUMBNAIL_SIZE = (480, 720)  # a card is at most 240 CSS pixels wide; twice that for dense screens
THUMBNAIL_QUALITY = 82


class SheetPicture(NamedTuple):
    """A look's picture on the page: paths relative to the page, the thumbnail's size in pixels.

    ``size`` is the picture's own, None if its header does not say it. ``problem`` says why there is no
    picture.
    """

    file: str | None = None
    thumbnail: str | None = None
    width: int = 0
    height: int = 0
    size: ImageSize | None = None
    problem: str | None = None


class _WantedPicture(NamedTuple):
    """``given`` is a file that holds the picture."""

    stem: str
    url: str | None
    given: Path | None = None


class _PictureFolder(NamedTuple):
    """The folder of the page, and the names of the pictures already in it, by their stem."""

    folder: Path
    existing: Mapping[str, str]


async def collect_pictures(
    outcomes: Sequence[Outcome],
    candidates: Sequence[LookDetails],
    folder: Path,
    *,
    given: Mapping[str, Path],
    fetch: Fetch | None,
    download: bool,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[SheetPicture], dict[LookRef, SheetPicture]]:
    """A picture for each outcome, in order (an empty one where there is none), and for each candidate.

    Needs Pillow. Raises `OSError` if the folder can't be written.
    """
    wanted = _wanted(outcomes, given) | _wanted_of_candidates(candidates)
    collected: dict[str, SheetPicture] = {}
    page = _PictureFolder(folder, await anyio.to_thread.run_sync(_existing_pictures, folder / "pictures"))
    limiter = anyio.CapacityLimiter(DECODES_AT_ONCE)
    async with AsyncExitStack() as stack:
        if fetch is None and download:
            from .._io.transport import PictureFetcher

            fetch = (await stack.enter_async_context(PictureFetcher())).fetch
        # by their stems: a key that stands twice in the input has one picture
        distinct = {want.stem: want for want in wanted.values()}
        remaining = iter(distinct.values())

        async def work() -> None:
            for want in remaining:
                collected[want.stem] = await _collect_one(want, page, fetch if download else None, limiter)
                if progress is not None:
                    progress(len(collected), len(distinct))

        await _run_workers(work, FETCHES_AT_ONCE)
    found = {place: collected[want.stem] for place, want in wanted.items()}
    return (
        [found.get(index, SheetPicture()) for index in range(len(outcomes))],
        {place: picture for place, picture in found.items() if isinstance(place, LookRef)},
    )


async def _run_workers(work: Callable[[], Coroutine[None, None, None]], count: int) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(work())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


def _existing_pictures(folder: Path) -> dict[str, str]:
    """The names of the pictures in a folder, by their stem; the suffix depends on the server's answer."""
    if not folder.is_dir():
        return {}
    return {file.stem: file.name for file in folder.iterdir() if not file.name.endswith(".part")}


def _wanted(outcomes: Sequence[Outcome], given: Mapping[str, Path]) -> dict[int | LookRef, _WantedPicture]:
    """What to collect for the outcomes, by their positions."""
    return {
        # the ref is part of the name: a look that was paid for again has another picture
        index: _WantedPicture(
            file_stem(outcome.key, str(outcome.look.ref)), outcome.look.thumbnail_url, given.get(outcome.key)
        )
        for index, outcome in enumerate(outcomes)
        if outcome.state is OutcomeState.READY and outcome.look is not None
    }


def _wanted_of_candidates(candidates: Sequence[LookDetails]) -> dict[int | LookRef, _WantedPicture]:
    return {
        details.ref: _WantedPicture(
            file_stem(details.name or "look", str(details.ref)), details.thumbnail_url
        )
        for details in candidates
        if details.thumbnail_url
    }


async def _collect_one(
    want: _WantedPicture, page: _PictureFolder, fetch: Fetch | None, limiter: anyio.CapacityLimiter
) -> SheetPicture:
    folder = page.folder / "pictures"
    try:
        name = page.existing.get(want.stem)
        picture = folder / name if name is not None else await _obtain(want, folder, fetch)
        thumbnail = page.folder / "small" / f"{want.stem}.jpg"
        return await anyio.to_thread.run_sync(_prepare, picture, thumbnail, limiter=limiter)
    except (HooxError, _PictureUnavailable) as error:
        return SheetPicture(problem=str(error) or "the picture could not be fetched")


class _PictureUnavailable(Exception):
    """There is no picture to show; the message says why."""


async def _obtain(want: _WantedPicture, folder: Path, fetch: Fetch | None) -> Path:
    """The picture's file."""
    given = want.given
    if given is not None:
        suffix = given.suffix.lower() if given.suffix.isascii() else ""
        return await anyio.to_thread.run_sync(_copy, given, folder / f"{want.stem}{suffix}")
    if not want.url:
        raise _PictureUnavailable("the API gave no picture for this look")
    if fetch is None:
        raise _PictureUnavailable("the picture was not downloaded")
    from .._io.downloads import save_picture

    # overwrite, because another report may be writing the same pictures at the same time
    return await save_picture(fetch, want.url, folder, name=want.stem, overwrite=True)


def _copy(source: Path, target: Path) -> Path:
    if not source.is_file():
        raise _PictureUnavailable(f"the file {source.name} does not exist")
    try:
        data = source.read_bytes()
    except OSError as error:
        raise _PictureUnavailable(f"the file {source.name}: {error.strerror or error}") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    return _write(target, data)


def _write(target: Path, data: bytes) -> Path:
    part = target.with_name(f"{target.name}.part")
    with naming(target):
        part.write_bytes(data)
    return part.replace(target)


def _prepare(picture: Path, thumbnail: Path) -> SheetPicture:
    """Make the thumbnail unless it exists, and measure the picture. Blocks: it decodes a picture.

    A picture that cannot be decoded is removed, so that the next writing fetches it again.
    """
    from .._io.downloads import size_of_file

    shown = size_of_file(thumbnail) if thumbnail.exists() else None
    if shown is None:
        try:
            data = _thumbnail(picture)
        except Exception:  # Pillow raises many kinds for damaged files
            picture.unlink(missing_ok=True)
            raise _PictureUnavailable("the downloaded file is not a picture that can be read") from None
        thumbnail.parent.mkdir(parents=True, exist_ok=True)
        shown = size_of_file(_write(thumbnail, data))
    assert shown is not None, "Pillow has just written it"
    return SheetPicture(
        f"pictures/{picture.name}", f"small/{thumbnail.name}", *shown, size=size_of_file(picture)
    )


def _thumbnail(picture: Path) -> bytes:
    """A small JPEG of a picture. Raises whatever Pillow raises."""
    from PIL import Image, ImageOps

    small = io.BytesIO()
    with Image.open(picture) as full:
        # a JPEG is then scaled while it is decoded, an eighth of the work at 4K
        full.draft("RGB", THUMBNAIL_SIZE)
        upright = ImageOps.exif_transpose(full)
        upright.thumbnail(THUMBNAIL_SIZE)
        upright.convert("RGB").save(small, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True, progressive=True)
    return small.getvalue()


def file_stem(text: str, *identity: str) -> str:
    """A readable stem of a file name, which differs whenever ``text`` or ``identity`` differ.

    It has only lower-case ASCII letters, digits and dashes and ends in a digest, so it stays in its folder
    and is no name that Windows reserves. Some file systems take ``Alex`` and ``alex`` for one name.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:48].rstrip("-")
    seed = "\0".join((text, *identity)).encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(seed).hexdigest()[:12]
    return f"{slug or 'look'}-{digest}"
