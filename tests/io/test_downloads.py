"""Pictures: whole or not at all, only pictures, only where they may be written."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hoox_async._api.models import LookRef
from hoox_async._io.downloads import Fetch, file_name, picture_target, read_picture, save_picture
from hoox_async._io.protocols import Fetched
from hoox_async.errors import InvalidRequest, TransportError, UnexpectedResponse

pytestmark = pytest.mark.both_loops

URL = "https://media.example/look.jpg"
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + b"the rest of it"
"""It begins as a JPEG does."""


def fetch(*chunks: bytes, kind: str = "image/jpeg", error: Exception | None = None) -> Fetch:
    """A fetch that gives these chunks, then perhaps an error."""

    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        if error is not None:
            raise error

    @asynccontextmanager
    async def fetched(url: str) -> AsyncIterator[Fetched]:
        yield Fetched(kind, body())

    return fetched


async def test_a_picture_is_read_whole() -> None:
    """All its pieces, in order, with its type."""
    picture = await read_picture(fetch(JPEG, b"abc", b"d", kind="image/jpeg"), URL)
    assert (picture.data, picture.content_type) == (JPEG + b"abcd", "image/jpeg")
    assert "abc" not in repr(picture)


@pytest.mark.parametrize("kind", ["text/html", "application/json", "application/octet-stream", "image", ""])
async def test_only_pictures_are_taken(kind: str, tmp_path: Path) -> None:
    """Another content type is refused before a byte is kept, and nothing is made."""
    with pytest.raises(UnexpectedResponse, match="content type"):
        await read_picture(fetch(b"a", kind=kind), URL)
    with pytest.raises(UnexpectedResponse, match="content type"):
        await save_picture(fetch(b"a", kind=kind), URL, tmp_path / "new", name="a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chunks", [(b"<!DOCTYPE html>", b"<p>gone</p>"), (b"<", b"p"), (b"",), ()], ids=str)
async def test_what_only_calls_itself_a_picture_is_none(chunks: tuple[bytes, ...], tmp_path: Path) -> None:
    """Neither read nor saved; what stood there stands, and nothing is left beside it."""
    target = tmp_path / "a.jpg"
    target.write_bytes(b"old")
    with pytest.raises(UnexpectedResponse, match="not a picture"):
        await read_picture(fetch(*chunks), URL)
    with pytest.raises(UnexpectedResponse, match="not a picture"):
        await save_picture(fetch(*chunks), URL, target, overwrite=True)
    with pytest.raises(UnexpectedResponse, match="not a picture"):
        await save_picture(fetch(*chunks), URL, tmp_path, name="b")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


async def test_a_picture_that_comes_by_the_byte_is_one() -> None:
    """Its head is waited for, and no more than that."""
    pieces = [JPEG[n : n + 1] for n in range(len(JPEG))]
    assert (await read_picture(fetch(*pieces), URL)).data == JPEG
    taken: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        for n in range(1000):
            taken.append(n)
            yield b"<"

    @asynccontextmanager
    async def fetched(url: str) -> AsyncIterator[Fetched]:
        yield Fetched("image/jpeg", endless())

    with pytest.raises(UnexpectedResponse, match="not a picture"):
        await read_picture(fetched, URL)
    assert len(taken) == 16


async def test_a_picture_has_a_largest_size(tmp_path: Path) -> None:
    """Just the cap is taken, a byte more is not, and nothing of it is left."""
    size = len(JPEG) + 3
    assert len((await read_picture(fetch(JPEG, b"123"), URL, max_bytes=size)).data) == size
    with pytest.raises(UnexpectedResponse, match="larger"):
        await read_picture(fetch(JPEG, b"123", b"4"), URL, max_bytes=size)
    with pytest.raises(UnexpectedResponse, match="larger"):
        await save_picture(fetch(JPEG, b"123", b"4"), URL, tmp_path / "a.jpg", max_bytes=size)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    """While it comes, there is only a hidden name beside it."""
    target = tmp_path / "a.jpg"
    seen: list[list[str]] = []

    async def body() -> AsyncIterator[bytes]:
        yield JPEG
        seen.append([path.name for path in tmp_path.iterdir()])
        yield b"second"

    @asynccontextmanager
    async def fetched(url: str) -> AsyncIterator[Fetched]:
        yield Fetched("image/jpeg", body())

    assert await save_picture(fetched, URL, target) == target
    assert target.read_bytes() == JPEG + b"second"
    assert [name.startswith(".a.jpg.") and name.endswith(".part") for name in seen[0]] == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


async def test_a_picture_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """Neither a half file nor the hidden one; what stood there stands."""
    target = tmp_path / "a.jpg"
    target.write_bytes(b"old")
    with pytest.raises(TransportError):
        await save_picture(fetch(JPEG, error=TransportError("lost")), URL, target, overwrite=True)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


async def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    """For a file, for a name in a folder, and for one that appears while the picture comes."""
    target = tmp_path / "a.jpg"
    target.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        await save_picture(fetch(JPEG), URL, target)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        await save_picture(fetch(JPEG), URL, tmp_path, name="a")
    assert target.read_bytes() == b"old"
    await save_picture(fetch(JPEG), URL, tmp_path, name="a", overwrite=True)
    assert target.read_bytes() == JPEG


@pytest.mark.parametrize("links", [True, False])
async def test_a_file_that_appears_meanwhile_stands(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two downloads to one name: the first that is whole has it, also where there are no hard links."""
    target = tmp_path / "a.jpg"

    async def body() -> AsyncIterator[bytes]:
        yield JPEG
        target.write_bytes(b"theirs")

    @asynccontextmanager
    async def fetched(url: str) -> AsyncIterator[Fetched]:
        yield Fetched("image/jpeg", body())

    if not links:

        def no_link(*_: Any) -> None:
            raise PermissionError("no hard links here")

        monkeypatch.setattr(os, "link", no_link)
    with pytest.raises(FileExistsError):
        await save_picture(fetched, URL, target)
    assert target.read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
    assert await save_picture(fetch(JPEG), URL, tmp_path / "b.jpg") == tmp_path / "b.jpg"


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("image/jpeg", ".jpg"), ("image/png", ".png"), ("image/webp", ".webp"), ("image/x-odd", ".img")],
)
async def test_a_name_gets_the_right_suffix(tmp_path: Path, kind: str, suffix: str) -> None:
    """By the content type, never by the URL; folders are made as needed."""
    path = await save_picture(fetch(JPEG, kind=kind), URL + ".exe", tmp_path / "x" / "y", name="look")
    assert path == tmp_path / "x" / "y" / f"look{suffix}"
    assert path.read_bytes() == JPEG


@pytest.mark.parametrize(
    ("avatar_id", "look_id"),
    [
        ("../../etc", "passwd"),
        ("a/b", "c\\d"),
        ("..", ".."),
        ("a\x00b", "c"),
        ("CON", "x:y"),
        ("ü", "é" * 900),
    ],
)
def test_a_name_cannot_leave_its_folder(avatar_id: str, look_id: str) -> None:
    """Whatever the API calls its looks."""
    name = file_name(LookRef(avatar_id, look_id))
    assert name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert len(name) <= 170


def test_usual_ids_stay_readable() -> None:
    """Avatar, then look."""
    assert file_name(LookRef("avtr_1", "look_2")) == "avtr_1_look_2"


async def test_a_folder_is_known_by_its_slash_or_by_being_there(tmp_path: Path) -> None:
    """Anything else is the file's own path."""
    assert await picture_target(tmp_path) == (tmp_path, True)
    assert await picture_target("new/") == (Path("new"), True)
    assert await picture_target("new.jpg") == (Path("new.jpg"), False)


@pytest.mark.parametrize("path", ["", b"bytes"])
async def test_a_path_is_text(path: Any) -> None:
    """And not empty, which would be the current folder."""
    with pytest.raises(InvalidRequest, match="path_or_folder"):
        await picture_target(path)


async def test_a_long_name_is_no_trouble(tmp_path: Path) -> None:
    """The hidden name beside it is not longer than a file system allows."""
    path = tmp_path / ("n" * 240 + ".jpg")
    await save_picture(fetch(JPEG), URL, path)
    assert path.read_bytes() == JPEG
