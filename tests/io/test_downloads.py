"""Pictures: whole or not at all, only pictures, only where they may be written."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from internals_kit import Fetched, read_picture

from hoox_async import LookRef
from hoox_async._io.downloads import Fetch, file_name, measure_picture, picture_target, save_picture
from hoox_async.errors import InvalidRequest, TransportError, UnexpectedResponse

pytestmark = pytest.mark.both_loops

URL = "https://media.example/look.jpg"
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + b"the rest of it"
"""It begins as a JPEG does."""
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\3\0\0\0\4"


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


async def test_a_picture_is_read_as_a_whole() -> None:
    """A picture has all its pieces in order, and its content type."""
    picture = await read_picture(fetch(JPEG, b"abc", b"d", kind="image/jpeg"), URL)
    assert (picture.data, picture.content_type) == (JPEG + b"abcd", "image/jpeg")
    assert "abc" not in repr(picture)


@pytest.mark.parametrize("kind", ["text/html", "application/json", "application/octet-stream", "image", ""])
async def test_a_content_type_that_is_no_image_is_refused(kind: str, tmp_path: Path) -> None:
    """A picture whose content type is no image's is refused, and no file or folder is made."""
    with pytest.raises(UnexpectedResponse, match="content type"):
        await read_picture(fetch(b"a", kind=kind), URL)
    with pytest.raises(UnexpectedResponse, match="content type"):
        await save_picture(fetch(b"a", kind=kind), URL, tmp_path / "new", name="a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chunks", [(b"<!DOCTYPE html>", b"<p>gone</p>"), (b"<", b"p"), (b"",), ()], ids=str)
async def test_data_that_is_only_called_an_image_is_refused(
    chunks: tuple[bytes, ...], tmp_path: Path
) -> None:
    """Data that is no picture is neither read nor saved, and an existing file stays as it was."""
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


async def test_a_picture_that_comes_byte_by_byte_is_recognized() -> None:
    """A picture that comes byte by byte is recognized by its first 16 bytes, and no more are awaited."""
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


@pytest.mark.parametrize(
    ("begin", "size", "chunks"),
    [(b"\0\0\0\x18ftypmp42" + bytes(8), None, 1), (b"<html>" + bytes(20), None, 1), (PNG, (3, 4), 2)],
    ids=["film", "page", "picture"],
)
async def test_only_the_beginning_of_a_picture_is_read_to_measure_it(
    begin: bytes, size: tuple[int, int] | None, chunks: int
) -> None:
    """A film or a page that is called an image is let go after its first bytes, a picture at its size."""
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for start in range(0, 10_000, 20):
            taken += 1
            yield begin[start : start + 20] or bytes(20)

    @asynccontextmanager
    async def fetched(url: str) -> AsyncIterator[Fetched]:
        yield Fetched("image/jpeg", body())

    assert await measure_picture(fetched, URL) == size
    assert taken == chunks


async def test_a_picture_above_the_limit_is_refused(tmp_path: Path) -> None:
    """A picture of exactly the limit is accepted; one byte more is refused, and no file is left."""
    size = len(JPEG) + 3
    assert len((await read_picture(fetch(JPEG, b"123"), URL, max_bytes=size)).data) == size
    with pytest.raises(UnexpectedResponse, match="larger"):
        await read_picture(fetch(JPEG, b"123", b"4"), URL, max_bytes=size)
    with pytest.raises(UnexpectedResponse, match="larger"):
        await save_picture(fetch(JPEG, b"123", b"4"), URL, tmp_path / "a.jpg", max_bytes=size)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    """While a picture comes there is only a hidden temporary file; its own name appears at the end."""
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
    """A picture that breaks off leaves no temporary file, and an existing file stays as it was."""
    target = tmp_path / "a.jpg"
    target.write_bytes(b"old")
    with pytest.raises(TransportError):
        await save_picture(fetch(JPEG, error=TransportError("lost")), URL, target, overwrite=True)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


async def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    """An existing file is replaced only with ``overwrite=True``, in a given folder too."""
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
async def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that appears during a download keeps its name, also without hard links."""
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
async def test_a_name_gets_the_suffix_of_its_content_type(tmp_path: Path, kind: str, suffix: str) -> None:
    """A file's suffix follows from the content type and not from the URL; folders are made."""
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
def test_a_file_name_cannot_leave_its_folder(avatar_id: str, look_id: str) -> None:
    """A file name has only safe characters, whatever the ids of its look contain."""
    name = file_name(LookRef(avatar_id, look_id))
    assert name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert len(name) <= 180


def test_usual_ids_are_kept_in_the_file_name() -> None:
    """A file name is the avatar's id and then the look's id, if those are ordinary."""
    assert file_name(LookRef("avtr_1", "look_2")) == "avtr_1_look_2"


def test_ids_that_differ_in_other_characters_have_other_file_names() -> None:
    """Two looks whose ids differ only in characters that file names lack do not overwrite each other."""
    assert file_name(LookRef("avtr_1", "look/2")) != file_name(LookRef("avtr_1", "look:2"))
    assert file_name(LookRef("a" * 90, "look_2")) != file_name(LookRef("a" * 91, "look_2"))


async def test_a_path_is_a_folder_if_it_exists_as_one_or_ends_with_a_slash(tmp_path: Path) -> None:
    """A path is a folder if it exists as one or ends with a slash, and else the file's own."""
    assert await picture_target(tmp_path) == (tmp_path, True)
    assert await picture_target("new/") == (Path("new"), True)
    assert await picture_target("new.jpg") == (Path("new.jpg"), False)


@pytest.mark.parametrize("path", ["", b"bytes", None, 7, "a\0b", "\ud800"])
async def test_a_path_must_be_text_and_not_empty(path: Any) -> None:
    """What no file can be called is invalid, and so is an empty path, which would be the current folder."""
    with pytest.raises(InvalidRequest, match="path_or_folder"):
        await picture_target(path)


async def test_a_long_file_name_can_be_saved(tmp_path: Path) -> None:
    """A picture can be saved under the longest file name, since the temporary file's is no longer."""
    path = tmp_path / ("n" * 240 + ".jpg")
    await save_picture(fetch(JPEG), URL, path)
    assert path.read_bytes() == JPEG
