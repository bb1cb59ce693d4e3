"""Draws a fake look as a JPEG: the background of its style, its avatar's portrait, and a caption.

The portrait's skin, hair, glasses and clothes follow from the avatar: they are the same in all its looks.
Pillow is imported only when a picture is drawn.
"""

from __future__ import annotations

from io import BytesIO
from itertools import product
from math import cos, pi, sin
from random import Random
from textwrap import wrap
from threading import Lock
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .avatars import FakeAvatar, FakeLook, PictureFile

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
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
_SKINS: dict[str, Colour] = {
    "black-or-african-american": (122, 78, 56), "hispanic-or-latino": (204, 154, 114),
    "east-asian": (236, 196, 160), "middle-eastern-or-north-african": (206, 158, 118),
    "southeast-asian": (214, 168, 128), "south-asian": (176, 124, 86),
    "white-eastern-european": (244, 208, 184), "white-western-european": (238, 196, 170),
}  # fmt: skip
_HAIR: dict[str, Colour] = {
    "black": (34, 28, 32), "blonde": (214, 172, 104), "brown": (92, 58, 40),
    "gray": (160, 158, 162), "red": (166, 78, 44), "white": (226, 224, 220),
}  # fmt: skip
_CUTS = {"female": ("long", "bob", "bun", "curls"), "male": ("short", "parted", "curls")}
INK: Colour = (48, 34, 36)
_FINE = 2
"""The person is drawn this many times larger and reduced, for smooth edges."""


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


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """The colour between two; a share of 0 is the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def draw_portrait(image: Image.Image, avatar: FakeAvatar, style: str, accent: Colour, rng: Random) -> None:
    """Draw the avatar's person onto the picture, dressed for the style; ``rng`` moves it a little."""
    from PIL import Image

    wide, high = image.size
    upright = high > wide
    unit = (0.15 * wide if upright else 0.16 * high) * (1.2 if style == "selfie" else 1.0)
    x = wide * ((0.5 if upright else 0.72) + rng.uniform(-0.025, 0.025))
    y = high * (0.42 if upright else 0.4)
    layer = Image.new("RGBA", (wide * _FINE, high * _FINE), (0, 0, 0, 0))
    _Person(layer, (x * _FINE, y * _FINE), unit * _FINE, avatar).draw(style, accent)
    layer = layer.reduce(_FINE)
    image.paste(layer, (0, 0), layer)


class _Person:
    """Draws one person; lengths are in units of half a head's width, from the head's centre."""

    def __init__(
        self, layer: Image.Image, centre: tuple[float, float], unit: float, avatar: FakeAvatar
    ) -> None:
        from PIL import ImageDraw

        self._pen = ImageDraw.Draw(layer)
        self._centre = centre
        self._unit = unit
        rng = Random(f"{avatar.person}/face")  # noqa: S311 - a fake's face
        self.skin = mix(_SKINS[avatar.traits["ethnicity"]], (255, 236, 220), rng.uniform(0.0, 0.12))
        self.hair = _HAIR[avatar.traits["hair_color"]]
        self.cut = rng.choice(_CUTS[avatar.traits["gender"]])
        self.beard = avatar.traits["gender"] == "male" and rng.random() < 0.45
        self.glasses = rng.random() < 0.3

    def draw(self, style: str, accent: Colour) -> None:
        """Draw from back to front."""
        self._hair_behind()
        self._body(style, accent)
        self._head()
        self._face()
        if style == "podcast":
            self._line([(2.6, 5.5), (2.0, 2.9), (1.1, 2.3)], 0.16, INK)
            self._line([(1.5, 2.55), (0.8, 2.05)], 0.62, INK)
            self._oval(0.76, 2.02, 0.33, 0.33, (96, 96, 106))

    def _hair_behind(self) -> None:
        dark = mix(self.hair, (0, 0, 0), 0.25)
        match self.cut:
            case "long":
                self._block(-1.22, -0.9, 1.22, 2.4, 0.8, dark)
            case "bob":
                self._block(-1.2, -0.9, 1.2, 1.15, 0.6, dark)
            case "bun":
                self._oval(0, -1.6, 0.5, 0.46, dark)
            case "curls":
                for step in range(13):
                    angle = pi * (0.95 + 1.1 * step / 12)
                    self._oval(1.05 * cos(angle), 1.05 * sin(angle) - 0.35, 0.38, 0.38, dark)

    def _body(self, style: str, accent: Colour) -> None:
        suit = style == "conference"
        cloth = (44, 50, 72) if suit else accent
        shade = mix(cloth, (0, 0, 0), 0.22)
        self._block(-2.3, 1.75, 2.3, 12, 1.3, cloth)
        self._line([(-1.6, 3.6), (-1.66, 9)], 0.08, shade)
        self._line([(1.6, 3.6), (1.66, 9)], 0.08, shade)
        self._oval(0, 1.75, 0.78, 0.62, (244, 244, 248) if suit else shade)
        self._oval(0, 1.7, 0.62, 0.5, self.skin)
        self._block(-0.46, 0.5, 0.46, 1.9, 0.3, self.skin)
        self._oval(0, 1.02, 0.46, 0.36, mix(self.skin, (60, 20, 20), 0.25))
        if suit:
            self._shape([(-0.62, 1.95), (0, 4.4), (0.62, 1.95)], (244, 244, 248))
            self._shape([(-0.12, 2.2), (0.12, 2.2), (0.2, 3.5), (0, 3.9), (-0.2, 3.5)], accent)
        if style == "car":
            self._line([(-1.5, 1.9), (2.4, 6.6)], 0.42, (40, 40, 48))

    def _head(self) -> None:
        """Ears, the hair's cap, and the face on it, so that the hairline shows."""
        shade = mix(self.skin, (90, 30, 30), 0.16)
        for side in (-1, 1):
            self._oval(side * 0.97, 0.08, 0.16, 0.24, shade)
        self._block(-1.04, -1.3, 1.04, 0.3, 0.95, self.hair)
        self._block(-0.93, -0.78, 0.93, 1.14, 0.88, self.skin)
        match self.cut:
            case "parted" | "bob" | "long":
                self._shape([(-0.92, -0.3), (-0.8, -0.95), (0.5, -1.0), (-0.1, -0.62)], self.hair)
                self._shape([(0.94, -0.3), (0.85, -0.95), (0.3, -1.0), (0.55, -0.62)], self.hair)
            case "curls":
                for step in range(7):
                    self._oval(-0.78 + 0.26 * step, -0.88 + 0.05 * abs(step - 3), 0.25, 0.25, self.hair)

    def _face(self) -> None:
        if self.beard:
            self._pen.chord(self._box(0, 0.3, 0.93, 0.93), 0, 180, fill=mix(self.hair, self.skin, 0.15))
            self._oval(0, 0.3, 0.8, 0.2, self.skin)
        for side in (-1, 1):
            self._oval(side * 0.54, 0.4, 0.17, 0.13, mix(self.skin, (232, 96, 88), 0.2))
            self._oval(side * 0.38, 0.0, 0.085, 0.11, INK)
            self._oval(side * 0.38 + 0.03, -0.04, 0.03, 0.03, (255, 255, 255))
            brow = mix(self.hair, INK, 0.35)
            self._line([(side * 0.54, -0.26), (side * 0.38, -0.32), (side * 0.22, -0.28)], 0.07, brow)
            if self.glasses:
                box = self._box(side * 0.4, 0.01, 0.3, 0.28)
                self._pen.ellipse(box, outline=INK, width=round(0.06 * self._unit))
                self._line([(side * 0.7, -0.04), (side * 0.95, -0.06)], 0.06, INK)
        if self.glasses:
            self._line([(-0.1, -0.02), (0.1, -0.02)], 0.06, INK)
        self._line([(0.0, 0.16), (0.07, 0.32), (-0.04, 0.34)], 0.05, mix(self.skin, (90, 30, 30), 0.4))
        self._pen.chord(self._box(0, 0.55, 0.33, 0.27), 0, 180, fill=mix(self.skin, (150, 40, 50), 0.7))
        self._pen.chord(self._box(0, 0.55, 0.29, 0.16), 0, 180, fill=(255, 250, 246))

    def _box(self, x: float, y: float, wide: float, high: float) -> tuple[float, float, float, float]:
        (left, top), (right, bottom) = self._at(x - wide, y - high), self._at(x + wide, y + high)
        return left, top, right, bottom

    def _oval(self, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        self._pen.ellipse(self._box(x, y, wide, high), fill=colour)

    def _block(
        self, left: float, top: float, right: float, bottom: float, radius: float, colour: Colour
    ) -> None:
        """A rectangle with round corners."""
        corners = (self._at(left, top), self._at(right, bottom))
        self._pen.rounded_rectangle(corners, radius * self._unit, fill=colour)

    def _shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self._pen.polygon([self._at(*point) for point in points], fill=colour)

    def _line(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        """A stroke with round ends."""
        thick = max(1, round(width * self._unit))
        self._pen.line([self._at(*point) for point in points], fill=colour, width=thick, joint="curve")
        for x, y in (points[0], points[-1]):
            self._oval(x, y, width / 2, width / 2, colour)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self._centre[0] + x * self._unit, self._centre[1] + y * self._unit
