"""Backgrounds of fake looks, one a style: drawn small, blurred, as through a portrait lens."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

Colour = tuple[int, int, int]

_SKIES: dict[str, tuple[Colour, Colour]] = {
    "iphone": ((238, 226, 210), (196, 170, 146)),
    "selfie": ((118, 164, 214), (252, 206, 160)),
    "podcast": ((46, 34, 42), (20, 16, 24)),
    "car": ((34, 44, 74), (20, 24, 40)),
    "conference": ((24, 32, 66), (12, 14, 30)),
    "raw": ((226, 228, 232), (150, 156, 168)),
}


def backdrop(style: str, size: tuple[int, int], accent: Colour, rng: Random) -> Image.Image:
    """The scene behind the person, of this size. ``accent`` is the avatar's own colour."""
    from PIL import Image, ImageFilter

    small = (size[0] // 2, size[1] // 2)
    image = gradient(small, *_SKIES.get(style, _SKIES["raw"]))
    image = _SCENES.get(style, _raw)(image, accent, rng)
    image = image.filter(ImageFilter.GaussianBlur(min(small) / 55))
    return image.resize(size, Image.Resampling.BICUBIC)


def gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """From one colour above to another below."""
    from PIL import Image, ImageOps

    return ImageOps.colorize(Image.linear_gradient("L").resize(size), top, bottom)


def glow(
    image: Image.Image, centre: tuple[float, float], radius: float, colour: Colour, strength: float = 1.0
) -> None:
    """A soft light; the centre in shares of the image, the radius in shares of its shorter side."""
    from PIL import Image, ImageChops

    reach = max(2, int(radius * min(image.size)))
    mask = ImageChops.invert(Image.radial_gradient("L")).resize((2 * reach, 2 * reach))
    mask = mask.point([int(strength * 255 * max(0.0, (v - 75) / 180) ** 1.6) for v in range(256)])
    corner = (int(centre[0] * image.width) - reach, int(centre[1] * image.height) - reach)
    image.paste(Image.new("RGB", mask.size, colour), corner, mask)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Between two colours; 0 is the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


class _Pen:
    """Draws on an image in shares of its width and height."""

    def __init__(self, image: Image.Image) -> None:
        from PIL import ImageDraw

        self.draw = ImageDraw.Draw(image)
        self.width, self.height = image.size

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.draw.rectangle(
            (left * self.width, top * self.height, right * self.width, bottom * self.height), fill=colour
        )

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.draw.polygon([(x * self.width, y * self.height) for x, y in points], fill=colour)

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A circle; the radius in shares of the shorter side."""
        reach = radius * min(self.width, self.height)
        x, y = x * self.width, y * self.height
        self.draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)


def _iphone(image: Image.Image, accent: Colour, rng: Random) -> Image.Image:
    pen = _Pen(image)
    left = rng.choice((0.04, 0.56))
    for row in range(2):
        for column in range(2):
            x, y = left + column * 0.2, 0.07 + row * 0.2
            pen.box(x, y, x + 0.185, y + 0.185, mix((255, 250, 238), (206, 226, 238), row * 0.7))
    pen.box(0.0, 0.74, 1.0, 0.76, (164, 132, 106))
    pen.box(0.0, 0.76, 1.0, 1.0, (140, 110, 90))
    x = 0.88 if left < 0.5 else 0.12
    for _ in range(16):
        pen.dot(x + rng.gauss(0, 0.07), 0.5 + rng.gauss(0, 0.07), rng.uniform(0.03, 0.07), _leaf(rng))
    pen.shape(
        [(x - 0.09, 0.63), (x + 0.09, 0.63), (x + 0.07, 0.76), (x - 0.07, 0.76)],
        mix(accent, (90, 60, 50), 0.4),
    )
    glow(image, (left + 0.2, 0.24), 0.9, (255, 246, 224), 0.7)
    return image


def _selfie(image: Image.Image, accent: Colour, rng: Random) -> Image.Image:
    sun = rng.uniform(0.2, 0.8)
    glow(image, (sun, 0.4), 0.9, (255, 232, 190), 0.9)
    pen = _Pen(image)
    pen.dot(sun, 0.4, 0.07, (255, 250, 230))
    for depth, base in enumerate((0.52, 0.6, 0.7)):
        far = mix((186, 150, 158), mix(accent, (46, 60, 70), 0.6), depth / 2)
        points = [(0.0, 1.0)]
        points += [(step / 8, base + rng.uniform(-0.05, 0.05)) for step in range(9)]
        pen.shape([*points, (1.0, 1.0)], far)
    return image


def _podcast(image: Image.Image, accent: Colour, rng: Random) -> Image.Image:
    pen = _Pen(image)
    wood: Colour = (70, 46, 38)
    for row in range(1, 7):
        y = row * 0.13
        pen.box(0.0, y, 1.0, y + 0.012, wood)
        x = 0.02
        while x < 0.98:
            thick = rng.uniform(0.012, 0.04)
            if rng.random() < 0.8:
                book = mix(
                    rng.choice((accent, (150, 92, 60), (76, 96, 110), (184, 160, 128))), (24, 18, 22), 0.45
                )
                pen.box(x, y - rng.uniform(0.05, 0.095), x + thick, y, book)
            x += thick + 0.006
    glow(image, (rng.choice((0.12, 0.88)), 0.3), 1.1, (255, 176, 92), 0.85)
    glow(image, (0.5, 0.42), 0.75, mix(accent, (255, 120, 80), 0.4), 0.35)
    pen.box(0.0, 0.86, 1.0, 1.0, (28, 20, 22))
    return image


def _car(image: Image.Image, accent: Colour, rng: Random) -> Image.Image:
    pen = _Pen(image)
    pen.shape([(0.0, 0.12), (0.36, 0.09), (0.3, 0.55), (0.0, 0.62)], (84, 102, 150))
    pen.shape([(0.64, 0.09), (1.0, 0.12), (1.0, 0.62), (0.7, 0.55)], (92, 96, 140))
    lights: tuple[Colour, ...] = ((255, 196, 110), (255, 120, 96), (150, 210, 255), accent, (255, 236, 200))
    for _ in range(26):
        x = rng.choice((rng.uniform(0.0, 0.3), rng.uniform(0.7, 1.0)))
        pen.dot(
            x,
            rng.uniform(0.17, 0.55),
            rng.uniform(0.012, 0.045),
            mix(rng.choice(lights), (84, 102, 150), 0.2),
        )
    pen.shape([(0.27, 0.3), (0.73, 0.3), (0.8, 0.42), (0.84, 1.0), (0.16, 1.0), (0.2, 0.42)], (38, 36, 46))
    pen.shape([(0.3, 0.32), (0.7, 0.32), (0.72, 0.37), (0.28, 0.37)], (56, 54, 66))
    pen.box(0.0, 0.0, 1.0, 0.08, (22, 22, 32))
    glow(image, (0.1, 0.3), 0.8, (255, 190, 120), 0.35)
    return image


def _conference(image: Image.Image, accent: Colour, rng: Random) -> Image.Image:
    pen = _Pen(image)
    screen = mix(accent, (80, 130, 240), 0.45)
    pen.box(0.05, 0.1, 0.95, 0.56, mix(screen, (10, 10, 20), 0.3))
    pen.box(0.08, 0.125, 0.92, 0.535, screen)
    for bar in range(7):
        x = 0.13 + bar * 0.11
        pen.box(x, 0.5 - rng.uniform(0.06, 0.28), x + 0.06, 0.5, mix(screen, (255, 255, 255), 0.3))
    for x in (0.15, 0.5, 0.85):
        glow(image, (x, 0.02), 0.5, (210, 224, 255), 0.6)
    pen.box(0.0, 0.8, 1.0, 1.0, (16, 16, 28))
    for _ in range(26):
        pen.dot(rng.random(), rng.uniform(0.86, 1.0), 0.05, mix((8, 8, 16), screen, rng.uniform(0.0, 0.25)))
    glow(image, (0.5, 0.5), 0.9, mix(screen, (255, 255, 255), 0.3), 0.3)
    return image


def _raw(image: Image.Image, accent: Colour, rng: Random) -> Image.Image:
    from PIL import Image

    tinted = gradient(image.size, mix(accent, (255, 255, 255), 0.62), mix(accent, (60, 60, 76), 0.3))
    image = Image.blend(image, tinted, 0.75)
    glow(image, (rng.uniform(0.3, 0.7), 0.32), 1.05, (255, 252, 246), 0.65)
    return image


def _leaf(rng: Random) -> Colour:
    return mix((62, 104, 76), (134, 164, 110), rng.random())


_SCENES = {
    "iphone": _iphone,
    "selfie": _selfie,
    "podcast": _podcast,
    "car": _car,
    "conference": _conference,
    "raw": _raw,
}
