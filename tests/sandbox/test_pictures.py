"""The pictures of fake looks: real JPEGs of the right shape, the same each time."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from random import Random
from typing import Literal

import aiohttp
import pytest
from internals_kit import image_size

from hoox_async.errors import ConfigurationError
from hoox_async.sandbox import Sandbox
from hoox_async.sandbox.answers import AnswerForms
from hoox_async.sandbox.avatars import FakeAvatar, FakeLook, PictureFile, traits_of
from hoox_async.sandbox.drawing import paint, require_pillow

Image = pytest.importorskip("PIL.Image")
STYLES = ["iphone", "selfie", "podcast", "car", "conference", "raw"]


def drawn(
    style: str = "iphone",
    format: str = "vertical",
    prompt: str | None = "x",
    seed: int = 0,
    resolution: str = "2K",
    form: Literal["full", "small"] = "small",
) -> bytes:
    """The picture of a look."""
    avatar_id = f"avtr_{seed}"
    avatar = FakeAvatar(avatar_id, "Alex", traits_of(avatar_id), created_at=0.0)
    look = FakeLook(f"look_{seed}", avatar, "Alex 1", "office", style, format, resolution, prompt, 0.0, 0.0)
    return paint(PictureFile(look, form))


@pytest.mark.parametrize(
    ("style", "resolution", "form", "size"),
    [
        *((style, "4K", "full", (2160, 3840)) for style in STYLES),
        ("raw", "1K", "full", (540, 960)), ("raw", "2K", "full", (1152, 2048)),
        ("raw", "2K", "small", (540, 960)), ("raw", "4K", "small", (540, 960)),
    ],
)  # fmt: skip
def test_a_picture_is_a_jpeg_of_what_was_paid_for(
    style: str, resolution: str, form: Literal["full", "small"], size: tuple[int, int]
) -> None:
    """A vertical look has its resolution's size, a horizontal one is turned, and each is below 500 kB."""
    for format, turned in (("vertical", size), ("horizontal", size[::-1])):
        data = drawn(style, format, resolution=resolution, form=form)
        image = Image.open(BytesIO(data))
        assert (image.format, image.size) == ("JPEG", turned)
        assert len(data) < 500_000


def test_the_same_look_gives_the_same_picture() -> None:
    """The bytes are equal for the same look, and differ for another style."""
    assert drawn(seed=3) == drawn(seed=3)
    assert drawn(seed=3, style="car") != drawn(seed=3)


def test_the_caption_shows_the_prompt() -> None:
    """Only the lower part of the picture changes with the prompt."""
    one, other = (
        Image.open(BytesIO(drawn(prompt=prompt))).convert("L") for prompt in ("warm light", "cold light")
    )
    upper, lower = (0, 0, 540, 600), (0, 820, 540, 960)
    assert one.crop(upper).tobytes() == other.crop(upper).tobytes()
    assert one.crop(lower).tobytes() != other.crop(lower).tobytes()


@pytest.mark.parametrize("prompt", [None, "word " * 500, "x" * 3000, "日本語 🎬 مرحبا", "\x00\n\t"])
def test_any_prompt_can_be_drawn(prompt: str | None) -> None:
    """No prompt, one that is too long, one without spaces, other scripts, and control characters."""
    assert drawn(prompt=prompt)[:2] == b"\xff\xd8"


def test_each_avatar_has_a_picture_of_its_own() -> None:
    """Sixteen avatars, with all haircuts, beards and glasses, give sixteen different pictures."""
    rng = Random(1)
    pictures = {drawn(rng.choice(STYLES), seed=seed) for seed in range(16)}
    assert len(pictures) == 16


def test_the_error_without_pillow_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error contains the pip command."""
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ConfigurationError, match=r'pip install -e "\.\[sandbox\]"'):
        require_pillow()


async def test_the_sandbox_serves_pictures_without_a_key() -> None:
    """The thumbnail URL is outside of the API, and the record says whether an Authorization header came."""
    async with Sandbox() as sandbox, aiohttp.ClientSession() as http:
        key = {"Authorization": f"Bearer {sandbox.api_key}"}
        body = {"imageUrls": ["https://example.com/a.jpg"]}
        async with http.post(sandbox.base_url + "/avatar/create", json=body, headers=key) as response:
            ids = await response.json()
        async with http.get(sandbox.base_url + "/avatar/status", params=ids, headers=key) as response:
            url = (await response.json())["result"]["thumbnail_url"]
        assert not url.startswith(sandbox.base_url)
        pictures = []
        for headers in ({}, key):
            async with http.get(url, headers=headers) as response:
                assert response.content_type == "image/jpeg"
                pictures.append(await response.read())
        assert pictures[0] == pictures[1]
        seen = [record.authorized for record in sandbox.requests if record.endpoint == "picture"]
        assert seen == [False, True]


async def test_a_picture_has_the_time_at_which_its_look_was_ready() -> None:
    """A picture's Last-Modified is the second in which its look settled, and long ago for the catalogue."""
    async with Sandbox() as sandbox, aiohttp.ClientSession() as http:
        key = {"Authorization": f"Bearer {sandbox.api_key}"}
        before = datetime.now(UTC).replace(microsecond=0)
        async with http.post(
            sandbox.base_url + "/avatar/create", json={"prompt": "x"}, headers=key
        ) as response:
            made = (await response.json())["look_id"]
        sandbox.settle(made, "ready")
        times = []
        for name in (made, "look_public_ada"):
            async with http.get(f"{sandbox.space.picture_base}/{name}.jpg") as response:
                times.append(parsedate_to_datetime(response.headers["Last-Modified"]))
        assert before <= times[0] <= datetime.now(UTC)
        assert times[1] < times[0]


async def test_only_a_ready_look_has_a_picture() -> None:
    """A pending and an unknown look are 404; without Pillow a picture is 501 and says why."""
    async with Sandbox() as sandbox, aiohttp.ClientSession() as http:
        sandbox.hold()
        key = {"Authorization": f"Bearer {sandbox.api_key}"}
        async with http.post(
            sandbox.base_url + "/avatar/create", json={"prompt": "x"}, headers=key
        ) as response:
            pending = (await response.json())["look_id"]
        for name in (pending, "look_x"):
            async with http.get(f"{sandbox.space.picture_base}/{name}.jpg") as response:
                assert response.status == 404
        sandbox.settle(pending, "ready")
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "PIL.Image", None)
            async with http.get(f"{sandbox.space.picture_base}/{pending}.jpg") as response:
                assert response.status == 501
                assert 'pip install -e ".[sandbox]"' in await response.text()


async def test_thumbnail_and_preview_have_the_chosen_forms() -> None:
    """A small thumbnail has 540 x 960 pixels; a preview is the same, the picture in full size, or a film."""
    previews: list[Literal["same", "full", "film"]] = ["same", "full", "film"]
    found = []
    for preview in previews:
        forms = AnswerForms(thumbnail="small", preview=preview)
        async with Sandbox(forms=forms) as sandbox, sandbox.session() as session:
            look = (await session.avatar("avtr_public_ada")).looks[0]
            assert look.preview_url is not None
            picture = await session.picture(look)
            assert (picture.width, picture.height) == (540, 960)
            async with aiohttp.ClientSession() as http, http.get(look.preview_url) as response:
                data = await response.read()
                found.append((response.content_type, image_size(data)))
    assert found == [("image/jpeg", (540, 960)), ("image/jpeg", (1152, 2048)), ("video/mp4", None)]
