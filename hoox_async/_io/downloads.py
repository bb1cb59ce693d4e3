"""Reads, saves and measures pictures.

The first bytes decide whether it is a picture. The content type is not enough: an error page at an image's
URL may be declared as an image too.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread

from .._api.models import LookRef
from .._api.pictures import HEAD, ImageSize, Picture, begins_as_picture, image_size
from .._checks import argument
from ..errors import UnexpectedResponse
from .protocols import Fetched
from .publishing import naming, publish_new

SUFFIXES: Mapping[str, str] = {
    "image/jpeg": ".jpg", "image/jpg": ".jpg", "image/png": ".png", "image/webp": ".webp",
    "image/gif": ".gif", "image/avif": ".avif",
}  # fmt: skip
"""The content types that are known here, with the suffixes of their files."""

MAX_BYTES = 64 << 20
_MEASURED = 1 << 18  # bytes: usual metadata before a JPEG's size is shorter

Fetch = Callable[[str], AbstractAsyncContextManager[Fetched]]


def may_be_picture(content_type: str, data: bytes) -> bool:
    """Whether data with this beginning can be a picture.

    With a content type that is known here, it must begin like a picture of any known type: servers mix up
    the types. With another image type, any beginning is accepted.
    """
    return content_type not in SUFFIXES or begins_as_picture(data)


async def read_picture(fetch: Fetch, url: str, *, max_bytes: int = MAX_BYTES) -> Picture:
    """The picture at this URL.

    Raises `UnexpectedResponse` if it is no picture or larger than ``max_bytes``, and what ``fetch`` raises.
    """
    async with fetch(url) as fetched:
        _check_type(fetched.content_type)
        return Picture(
            b"".join([chunk async for chunk in _checked(fetched, max_bytes)]), fetched.content_type
        )


async def save_picture(
    fetch: Fetch,
    url: str,
    path: Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Save the picture at this URL as ``path``, or in the folder ``path`` as ``name`` and its suffix.

    Returns the path of the picture. Raises what `receive_picture` and `ReceivedPicture.publish` raise.
    """
    async with receive_picture(
        fetch, url, path, name=name, overwrite=overwrite, max_bytes=max_bytes
    ) as received:
        return await received.publish()


class ReceivedPicture(NamedTuple):
    """A complete picture in a temporary file beside its target, and the size that its header names."""

    partial: Path
    target: Path
    size: ImageSize | None
    overwrite: bool

    async def publish(self) -> Path:
        """Rename it to its target, and return that.

        Raises `FileExistsError` if the file exists, unless it may be overwritten.
        """
        await anyio.to_thread.run_sync(_publish, self.partial, self.target, self.overwrite)
        return self.target


@asynccontextmanager
async def receive_picture(
    fetch: Fetch,
    url: str,
    path: Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
    max_bytes: int = MAX_BYTES,
) -> AsyncIterator[ReceivedPicture]:
    """Fetch the picture into a temporary file, which is gone when the block ends.

    The parameters are those of `save_picture`. Raises `FileExistsError` if the target exists (unless
    ``overwrite``), and what `read_picture` raises.
    """
    if name is None and not overwrite:
        await refuse_existing(path)
    partial: Path | None = None
    try:
        async with fetch(url) as fetched:
            suffix = _check_type(fetched.content_type)
            target = path if name is None else path / (name + suffix)
            await anyio.to_thread.run_sync(lambda: target.parent.mkdir(parents=True, exist_ok=True))
            if not overwrite:
                await refuse_existing(target)
            partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
            await _write(partial, _checked(fetched, max_bytes))
        yield ReceivedPicture(partial, target, await measure_file(partial), overwrite)
    finally:
        if partial is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(functools.partial(partial.unlink, missing_ok=True))


async def measure_picture(fetch: Fetch, url: str) -> ImageSize | None:
    """The size of the picture at this URL, of which only the beginning is read.

    None for what is no picture, such as a film, and where the size is not at the beginning. Raises what
    ``fetch`` raises.
    """
    async with fetch(url) as fetched:
        if not fetched.content_type.startswith("image/"):
            return None
        head = b""
        async for chunk in fetched.chunks:
            head += chunk
            size = image_size(head)
            is_film = len(head) >= HEAD and not begins_as_picture(head)
            if size is not None or is_film or len(head) >= _MEASURED:
                return size
    return None


async def measure_file(path: Path) -> ImageSize | None:
    """The size of the picture in this file; None if it cannot be read from its header. Raises `OSError`."""
    return await anyio.to_thread.run_sync(size_of_file, path)


def size_of_file(path: Path) -> ImageSize | None:
    """As `measure_file`. Blocks."""
    with path.open("rb") as file:
        head = file.read(_MEASURED)
        return image_size(head) or (image_size(head + file.read()) if len(head) == _MEASURED else None)


def file_name(ref: LookRef) -> str:
    """A file name for a look, without a suffix, that is valid on every system.

    Ids that cannot be kept as they are get a digest, so that no other look has this name.
    """
    ids = (ref.avatar_id, ref.look_id)
    name = "_".join(map(_safe, ids))
    if name == "_".join(ids):
        return name
    return f"{name}-{hashlib.sha256(str(ref).encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _safe(part: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in part)
    return kept[:80] or "look"


def _check_type(content_type: str) -> str:
    if not content_type.startswith("image/"):
        raise UnexpectedResponse(f"picture: the content type is {content_type!r}, not an image's")
    return SUFFIXES.get(content_type, ".img")


async def refuse_existing(path: Path) -> None:
    """Raise `FileExistsError` if there is such a file."""
    await anyio.to_thread.run_sync(_refuse_existing, path)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")


async def _checked(fetched: Fetched, max_bytes: int) -> AsyncIterator[bytes]:
    """The bytes in chunks, once the first of them have shown that it is a picture."""
    chunks, head = _capped(fetched, max_bytes), b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= HEAD:
            break
    if not may_be_picture(fetched.content_type, head):
        raise UnexpectedResponse(f"picture: the data of type {fetched.content_type!r} is not a picture")
    yield head
    async for chunk in chunks:
        yield chunk


async def _capped(fetched: Fetched, max_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in fetched.chunks:
        size += len(chunk)
        if size > max_bytes:
            raise UnexpectedResponse(f"picture: larger than {max_bytes} bytes")
        yield chunk


async def _write(path: Path, chunks: AsyncIterator[bytes]) -> None:
    with naming(path):
        async with await anyio.open_file(path, "xb") as file:
            async for chunk in chunks:
                await file.write(chunk)


def _publish(partial: Path, target: Path, overwrite: bool) -> None:
    if overwrite:
        partial.replace(target)
    else:
        publish_new(partial, target)


async def picture_target(path_or_folder: str | os.PathLike[str]) -> tuple[Path, bool]:
    """The path, and whether it is a folder: it is if it exists as one, or ends with a slash."""
    text = argument.path("path_or_folder", path_or_folder, "the path of a file or a folder")
    path = Path(text)
    return path, text.endswith(("/", os.sep)) or await anyio.to_thread.run_sync(path.is_dir)
