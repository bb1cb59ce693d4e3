"""Pictures of fake looks: JPEGs that show avatar, prompt and style. Drawn with Pillow."""

from __future__ import annotations

from io import BytesIO
from random import Random
from typing import TYPE_CHECKING

from ...errors import ConfigurationError
from .._values import FakeLook
from .portrait import Person
from .scenes import Colour, backdrop, glow, mix

if TYPE_CHECKING:
    from PIL import Image, ImageFont

SIZES = {"vertical": (540, 960), "horizontal": (960, 540)}
_ACCENTS: tuple[Colour, ...] = (
    (196, 84, 66),
    (222, 140, 70),
    (214, 174, 84),
    (122, 150, 96),
    (62, 128, 110),
    (52, 130, 146),
    (66, 112, 176),
    (88, 92, 172),
    (134, 92, 160),
    (182, 88, 130),
    (206, 112, 118),
    (108, 98, 92),
)
_FINE = 2
"""The person is drawn this much larger and made small again, for smooth edges."""


def require_pillow() -> None:
    """Raise `ConfigurationError` where Pillow is missing."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "the sandbox draws its pictures with Pillow: "
            'in your clone of hoox-async, pip install -e ".[sandbox]"'
        ) from None


def paint(look: FakeLook) -> bytes:
    """The look as a JPEG, 540 x 960 or 960 x 540 pixels; the same look always gives the same picture.

    Takes some 0.05 s of CPU. Raises `ConfigurationError` without Pillow.
    """
    require_pillow()
    rng = Random(f"{look.id}/scene")  # noqa: S311 - a fake's picture
    size = SIZES[look.format]
    accent = _accent(look.avatar.id)
    image = backdrop(look.style, size, accent, rng)
    _add_person(image, look, accent, rng)
    _add_mood(image, look.style, rng)
    _add_caption(image, look)
    out = BytesIO()
    image.save(out, "JPEG", quality=86)
    return out.getvalue()


def _accent(avatar_id: str) -> Colour:
    rng = Random(f"{avatar_id}/colour")  # noqa: S311
    white = (255, 255, 255)
    return mix(rng.choice(_ACCENTS), white, rng.uniform(0.0, 0.14))


def _add_person(image: Image.Image, look: FakeLook, accent: Colour, rng: Random) -> None:
    from PIL import Image, ImageFilter

    wide, high = image.size
    upright = high > wide
    near = 1.18 if look.style == "selfie" else 1.0
    unit = (0.155 * wide if upright else 0.165 * high) * near
    centre = (
        wide * ((0.5 if upright else 0.7) + rng.uniform(-0.02, 0.02)),
        high * (0.4 if upright else 0.37),
    )
    layer = Image.new("RGBA", (wide * _FINE, high * _FINE), (0, 0, 0, 0))
    person = Person(look.avatar.id, look.avatar.traits, accent)
    tilt = rng.uniform(-0.05, 0.05)
    person.draw(layer, (centre[0] * _FINE, centre[1] * _FINE), unit * _FINE, look.style, tilt)
    layer = layer.reduce(_FINE)
    shadow = layer.getchannel("A").resize((wide // 4, high // 4)).filter(ImageFilter.GaussianBlur(unit / 16))
    shadow = shadow.resize(image.size).point([v * 90 // 255 for v in range(256)])
    image.paste((10, 8, 16), (round(unit * 0.1), round(unit * 0.12)), shadow)
    image.paste(layer, (0, 0), layer)


def _add_mood(image: Image.Image, style: str, rng: Random) -> None:
    """Light from one side, darker corners and a little grain."""
    from PIL import Image, ImageChops

    warm = {"podcast": (255, 160, 80), "car": (255, 180, 120), "conference": (120, 160, 255)}
    glow(image, (rng.choice((0.05, 0.95)), 0.2), 1.0, warm.get(style, (255, 244, 220)), 0.22)
    corners = (
        Image.radial_gradient("L").resize(image.size).point([round(110 * (v / 255) ** 3) for v in range(256)])
    )
    image.paste((8, 6, 14), (0, 0), corners)
    grain = Image.frombytes("L", image.size, rng.randbytes(image.width * image.height))
    grain = grain.point([124 + v // 32 for v in range(256)])
    image.paste(ImageChops.add(image, Image.merge("RGB", (grain, grain, grain)), 1, -128))


def _add_caption(image: Image.Image, look: FakeLook) -> None:
    from PIL import Image, ImageDraw, ImageFont

    wide, high = image.size
    margin, room = 32, min(wide, 540) - 64
    name_font, text_font, tag_font = (ImageFont.load_default(size) for size in (46, 22, 16))
    lines = _wrapped(look.prompt or "from your own pictures", text_font, room, 3)
    top = high - margin - 28 * len(lines) - 104
    scrim = Image.linear_gradient("L").resize((wide, high - top + 140))
    scrim = scrim.point([round(225 * (v / 255) ** 1.1) for v in range(256)])
    image.paste((12, 10, 18), (0, top - 140), scrim)
    draw = ImageDraw.Draw(image)
    tag = f"{look.style}  ·  {look.place}  ·  {look.resolution}".upper()
    tag = _wrapped(tag, tag_font, room, 1)[0]
    draw.text((margin + 1, top), tag, font=tag_font, fill=(255, 214, 150))
    draw.text(
        (margin - 2, top + 22),
        _wrapped(look.avatar.name, name_font, room, 1)[0],
        font=name_font,
        fill=(255, 255, 255),
    )
    for number, line in enumerate(lines):
        draw.text((margin, top + 88 + 28 * number), line, font=text_font, fill=(226, 224, 232))


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float, most: int
) -> list[str]:
    """The text in at most so many lines, each no wider than ``room`` pixels; what is too much is cut."""
    lines = [""]
    for word in " ".join(text.split())[:400].split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    shown = lines[:most]
    if len(lines) > most:
        shown[-1] += " …"
    return [_cut(line, font, room) for line in shown]


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    if font.getlength(line) <= room:
        return line
    line = line.removesuffix(" …")
    while line and font.getlength(line + "…") > room:
        line = line[:-1]
    return line.rstrip() + "…"
