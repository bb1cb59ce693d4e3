"""A picture's size, read from its header, and whether it has the pixels that were paid for."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hoox_async import ImageAvatar, LookEdit, LookRef, Picture, PromptAvatar, PrunedRequest, Request
from hoox_async._api.pictures import begins_as_picture, image_size

SOURCE = LookRef("avtr_a", "look_1")
FORMS: dict[str, tuple[str, dict[str, object]]] = {
    "jpeg": ("JPEG", {}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "jpeg with long metadata": ("JPEG", {"exif": b"Exif\0\0" + bytes(60_000), "icc_profile": bytes(150_000)}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "lossy webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "extended webp": ("WEBP", {"exif": bytes(100)}),
    "avif": ("AVIF", {"speed": 10}),
    "avif with metadata": ("AVIF", {"speed": 10, "xmp": bytes(100)}),
}


def painted(form: str, width: int, height: int) -> bytes:
    """A real picture of this size."""
    kind, options = FORMS[form]
    data = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(data, kind, **options)
    return data.getvalue()


PAINTED = {form: painted(form, 540, 97) for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(540, 960), (3840, 7), (1, 1)])
def test_size_is_read_from_the_header(form: str, size: tuple[int, int]) -> None:
    """Width and height of every accepted kind of picture are those that Pillow wrote."""
    picture = Picture(painted(form, *size), "image/jpeg")
    assert (picture.width, picture.height) == size
    assert f"width={size[0]}, height={size[1]}" in repr(picture)


@given(st.sampled_from(list(FORMS)), st.data())
def test_a_cut_off_or_damaged_picture_has_its_own_size_or_none(form: str, data: st.DataObject) -> None:
    """A part of a picture never has a wrong size, and damage of any kind raises nothing."""
    whole = PAINTED[form]
    end = data.draw(st.integers(0, len(whole)))
    assert image_size(whole[:end]) in (None, (540, 97))
    damaged = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, min(400, len(whole) - 1)), max_size=8)):
        damaged[at] = data.draw(st.integers(0, 255))
    found = image_size(bytes(damaged))
    assert found is None or min(found) > 0


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\0\0\0\x14ftypavif\0\0\0\0avif", b"RIFF\0\0\0\0WEBPVP8 "]),
    st.binary(),
)
def test_any_bytes_raise_nothing(head: bytes, rest: bytes) -> None:
    """Whatever follows the beginning of a picture, reading its size raises nothing."""
    assert image_size(head + rest) is None or begins_as_picture(head + rest)


def test_nested_boxes_are_read_in_bounded_time_and_depth() -> None:
    """A hostile AVIF with boxes in boxes, or with boxes of no length, ends neither in a loop nor an error."""
    start = b"\0\0\0\x10ftypavif\0\0\0\0"
    assert image_size(start + b"\0\0\0\0meta\0\0\0\0" * 5_000) is None
    assert image_size(start + bytes(100_000)) is None
    assert image_size(b"\xff\xd8" + b"\xff" * 100_000) is None


@pytest.mark.parametrize("brand", [b"isom", b"mp42", b"M4V ", b"qt  "])
def test_a_film_is_no_picture(brand: bytes) -> None:
    """An MP4 or QuickTime film has AVIF's container, and does not begin as a picture."""
    film = b"\0\0\0\x18ftyp" + brand + bytes(100)
    assert not begins_as_picture(film)
    assert Picture(film, "image/jpeg").width is None


TWO_K, FOUR_K = PromptAvatar("a"), PromptAvatar("a", resolution="4K")


@pytest.mark.parametrize(
    ("size", "request_", "verdict"),
    [
        ((1000, 1778), TWO_K, False), ((999, 1776), TWO_K, True), ((2048, 999), TWO_K, True),
        ((2000, 3556), FOUR_K, False), ((1999, 3554), FOUR_K, True), ((3840, 1999), FOUR_K, True),
        ((1500, 2667), LookEdit(SOURCE, "a", upscale=True), False),  # 2K before the enlargement
        ((1999, 3554), LookEdit(SOURCE, "a", resolution="4K", upscale=True), True),
        ((540, 960), PromptAvatar("a", resolution="1K"), False),
        ((540, 960), ImageAvatar("https://pictures.example/a.jpg"), False),
        ((540, 960), PrunedRequest("edit", Decimal(4)), False),
    ],
)  # fmt: skip
def test_too_small_is_a_shorter_side_under_that_of_the_resolution(
    size: tuple[int, int], request_: Request, verdict: bool
) -> None:
    """Under 1,000 pixels for 2K and under 2,000 for 4K; 1K, one's own images and pruned ones never are."""
    assert Picture(painted("png", *size), "image/png").is_too_small(request_) is verdict


def test_an_unreadable_picture_is_not_called_too_small() -> None:
    """Of a picture whose size cannot be read nothing is said."""
    assert not Picture(b"\xff\xd8\xff", "image/jpeg").is_too_small(FOUR_K)
