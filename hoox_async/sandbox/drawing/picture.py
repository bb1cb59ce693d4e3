"""Draw a fake look as a JPEG: the background of its style, its avatar's portrait, and a caption."""

from __future__ import annotations

from io import BytesIO
from itertools import product
from random import Random
from textwrap import wrap
from threading import Lock
from typing import TYPE_CHECKING

from ...errors import ConfigurationError
from ..workspace_records import FakeLook, PictureFile
from .portrait import Colour, draw_portrait, mix

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

_DRAWN = {"vertical": (540, 960), "horizontal": (960, 540)}
_SHORTER_SIDES = {"2K": 1152, "4K": 2160}
_FILM = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x08mdat" * 5000
_one_at_a_time = Lock()  # a 4K picture takes 35 MB while it is made
_Area = tuple[float, float, float, float]
_GRADIENTS: dict[str, tuple[Colour, Colour]] = {
    "iphone": ((240, 230, 214), (176, 146, 120)), "selfie": ((104, 156, 212), (252, 214, 168)),
    "podcast": ((112, 66, 40), (34, 22, 26)), "car": ((44, 56, 92), (18, 20, 36)),
    "conference": ((30, 40, 84), (10, 12, 26)), "raw": ((236, 236, 238), (128, 132, 144)),
}  # fmt: skip
_ACCENTS: tuple[Colour, ...] = (
    (196, 84, 66), (222, 140, 70), (204, 162, 70), (122, 150, 96), (62, 128, 110), (52, 130, 146),
    (66, 112, 176), (88, 92, 172), (134, 92, 160), (182, 88, 130),
)  # fmt: skip


def require_pillow() -> None:
    """Raise `ConfigurationError` where Pillow is missing."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "the sandbox draws its pictures with Pillow: "
            'in your clone of hoox-async, pip install -e ".[sandbox]"'
        ) from None


def paint(file: PictureFile) -> bytes:
    """Draw a look as a JPEG: 1152 x 2048 pixels at 2K, 2160 x 3840 at 4K, 540 x 960 at 1K and where small.

    A horizontal one is turned. The same file always has the same bytes. Takes about 0.05 s of CPU, 0.1 s at
    4K. Raises `ConfigurationError` without Pillow.
    """
    if file.form == "film":
        return _FILM
    require_pillow()
    with _one_at_a_time:
        return _jpeg(
            _draw(file.look), _SHORTER_SIDES.get(file.look.resolution) if file.form == "full" else None
        )


def _jpeg(image: Image.Image, shorter_side: int | None) -> bytes:
    """The image as a JPEG, enlarged to this shorter side: quicker than drawing it so large."""
    from PIL import Image

    if shorter_side is not None:
        factor = shorter_side / min(image.size)
        size = round(image.width * factor), round(image.height * factor)
        image = image.resize(size, Image.Resampling.BILINEAR)
    out = BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def _draw(look: FakeLook) -> Image.Image:
    accent = Random(f"{look.avatar.person}/accent").choice(_ACCENTS)  # noqa: S311 - a fake's picture
    rng = Random(f"{look.id}/scene")  # noqa: S311
    image = _background(look.style, _DRAWN[look.format], accent, rng)
    draw_portrait(image, look.avatar, look.style, accent, rng)
    _draw_caption(image, look)
    return image


def _background(style: str, size: tuple[int, int], accent: Colour, rng: Random) -> Image.Image:
    """The scene of a style, out of focus, with darker corners."""
    from PIL import Image, ImageDraw, ImageFilter, ImageOps

    top, bottom = (mix(colour, accent, 0.2) for colour in _GRADIENTS[style])
    image = ImageOps.colorize(Image.linear_gradient("L").resize((size[0] // 2, size[1] // 2)), top, bottom)
    _draw_scene(ImageDraw.Draw(image), style, image.size, accent, rng)
    image = image.filter(ImageFilter.GaussianBlur(min(image.size) / 50)).resize(size)
    corners = Image.radial_gradient("L").resize(size).point([round(100 * (v / 255) ** 3) for v in range(256)])
    image.paste((8, 6, 14), (0, 0), corners)
    return image


def _draw_scene(
    draw: ImageDraw.ImageDraw, style: str, size: tuple[int, int], accent: Colour, rng: Random
) -> None:
    """What is behind the person. Areas are shares of the picture: left, top, right, bottom."""

    def boxes(columns: int, rows: int, area: _Area, uneven: float, *colours: Colour) -> None:
        left, top, right, bottom = (share * size[side % 2] for side, share in enumerate(area))
        wide, high = (right - left) / columns, (bottom - top) / rows
        for column, row in product(range(columns), range(rows)):
            x, y = left + wide * column, top + high * (row + 1)
            tall = 0.9 * high * rng.uniform(1 - uneven, 1)
            draw.rectangle((x, y - tall, x + 0.88 * wide, y), fill=mix(rng.choice(colours), accent, 0.3))

    def lights(count: int, area: _Area, radius: float, *colours: Colour) -> None:
        for _ in range(count):
            x, y = rng.uniform(area[0], area[2]) * size[0], rng.uniform(area[1], area[3]) * size[1]
            reach = radius * rng.uniform(0.3 if count > 9 else 0.9, 1) * min(size)
            box = (x - reach, y - reach, x + reach, y + reach)
            draw.ellipse(box, fill=mix(rng.choice(colours), accent, 0.15))

    match style:
        case "iphone":  # a window
            left = rng.choice((0.05, 0.55))
            boxes(2, 2, (left, 0.06, left + 0.42, 0.48), 0, (255, 250, 234))
        case "selfie":  # the sun over hills
            lights(1, (0.1, 0.2, 0.9, 0.36), 0.13, (255, 250, 220))
            lights(3, (0.0, 1.1, 1.0, 1.2), 0.9, (170, 130, 140), (120, 110, 140))
        case "podcast":  # shelves of books, and a lamp
            boxes(1, 6, (0, 0.01, 1.2, 0.79), 0, (46, 30, 26))
            boxes(22, 6, (0, 0, 1, 0.78), 0.5, (120, 70, 48), (70, 84, 96), (140, 118, 92), (60, 40, 36))
            lights(1, (0.05, 0.2, 0.95, 0.25), 0.13, (255, 198, 120))
        case "car":  # a city at night
            lights(44, (0, 0.1, 1, 0.6), 0.05, (255, 196, 110), (255, 120, 96), (150, 210, 255), accent)
        case "conference":  # a screen with a chart
            boxes(1, 1, (0.05, 0.08, 1.07, 0.56), 0, (70, 120, 240))
            boxes(7, 1, (0.1, 0.14, 0.9, 0.5), 0.8, (170, 200, 250))


def _draw_caption(image: Image.Image, look: FakeLook) -> None:
    """The avatar's name, the prompt, and style, place and resolution, on a dark ground."""
    from PIL import Image, ImageDraw, ImageFont

    wide, high = image.size
    prompt = wrap(look.prompt or "from your own pictures", 42, max_lines=3, placeholder=" …")
    top = high - 136 - 28 * len(prompt)
    shade = (
        Image.linear_gradient("L").resize((wide, high - top + 140)).point([v * 9 // 10 for v in range(256)])
    )
    image.paste((12, 10, 18), (0, top - 140), shade)
    draw = ImageDraw.Draw(image)
    tag = f"{look.style}  ·  {look.place}  ·  {look.resolution}".upper()
    for text, down, size, colour in (
        (tag[:48], 0, 16, (255, 214, 150)),
        (look.avatar.name[:20], 22, 46, (255, 255, 255)),
        *((line, 88 + 28 * number, 22, (226, 224, 232)) for number, line in enumerate(prompt)),
    ):
        draw.text((32, top + down), text, font=ImageFont.load_default(size), fill=colour)
