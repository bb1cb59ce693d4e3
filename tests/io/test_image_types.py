"""Whether bytes are a picture, by the first few of them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hoox_async._api.pictures import HEAD
from hoox_async._io.downloads import may_be_picture

KINDS = ["image/jpeg", "image/jpg", "image/png", "image/webp", "image/gif", "image/avif"]
AVIF = b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00mif1"


def painted(kind: str) -> bytes:
    """A real picture."""
    data = io.BytesIO()
    Image.new("RGB", (3, 4), "teal").save(data, kind)
    return data.getvalue()


REAL = {kind: painted(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")} | {"AVIF": AVIF}


@pytest.mark.parametrize("name", REAL)
def test_pictures_are_recognized_by_their_first_bytes(name: str) -> None:
    """The first 16 bytes of a picture are enough to recognize it."""
    kind = f"image/{name.lower()}"
    assert may_be_picture(kind, REAL[name])
    assert may_be_picture(kind, REAL[name][:HEAD])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REAL)
def test_a_picture_with_the_content_type_of_another_is_accepted(kind: str, name: str) -> None:
    """A picture of one type is accepted under the content type of another, as servers mix them up."""
    assert may_be_picture(kind, REAL[name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff", b"\xff\xd8", b"<!DOCTYPE html><html>", b'{"error": "gone"}', b"RIFF", b"GIF8",
        b"RIFF\x10\x00\x00\x00WAVEfmt ", b"\x89PNG", b"\x00" * HEAD, b"ftypavif" + b"\x00" * 8,
        b"%PDF-1.7\n1 0 obj", b"\x1f\x8b\x08\x00" + bytes(12),
    ],
)  # fmt: skip
def test_data_that_is_no_picture_is_refused_under_a_known_content_type(kind: str, data: bytes) -> None:
    """An error page, no data, cut off data and a sound are refused under a known image type."""
    assert not may_be_picture(kind, data)


@given(st.binary(max_size=40))
@pytest.mark.parametrize("kind", ["image/x-odd", "image/tiff", "image/heic", "image/svg+xml", "image/bmp"])
def test_data_under_another_image_type_is_accepted(kind: str, data: bytes) -> None:
    """Any data is accepted under an image type whose first bytes are not known."""
    assert may_be_picture(kind, data)


@given(st.sampled_from(KINDS), st.binary(max_size=40))
def test_only_the_first_bytes_decide(kind: str, data: bytes) -> None:
    """The verdict on any data is the same as on its first 16 bytes."""
    assert may_be_picture(kind, data) == may_be_picture(kind, data[:HEAD])
