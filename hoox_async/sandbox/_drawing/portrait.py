"""The person in a fake look: a flat portrait whose face, hair and clothes follow from the avatar."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING

from .hair import FEMALE, MALE, hair_before, hair_behind
from .pen import Pen, Point
from .scenes import Colour, mix
from .wardrobe import COLLARS, PROPS, SUIT, crew, no_prop

if TYPE_CHECKING:
    from PIL import Image

_SKINS: dict[str, tuple[Colour, ...]] = {
    "black-or-african-american": ((110, 70, 50), (134, 88, 62)),
    "east-asian": ((238, 200, 166), (226, 184, 146)),
    "southeast-asian": ((222, 178, 138), (208, 162, 120)),
    "white-eastern-european": ((244, 208, 184), (236, 198, 172)),
    "white-western-european": ((244, 208, 184), (232, 190, 164)),
    "hispanic-or-latino": ((208, 158, 118), (190, 138, 100)),
    "middle-eastern-or-north-african": ((214, 168, 128), (196, 148, 110)),
    "south-asian": ((168, 116, 80), (186, 134, 96)),
}
_HAIR: dict[str, Colour] = {
    "black": (34, 28, 32),
    "blonde": (214, 172, 104),
    "brown": (92, 58, 40),
    "gray": (168, 166, 168),
    "red": (166, 78, 44),
    "white": (226, 224, 220),
}
_INK: Colour = (48, 34, 36)


class Person:
    """How one avatar looks, the same in all its looks; drawn in units of half a head's width."""

    def __init__(self, avatar_id: str, traits: Mapping[str, str], accent: Colour) -> None:
        rng = Random(f"{avatar_id}/face")  # noqa: S311 - a fake's face
        female = traits["gender"] == "female"
        self.skin = rng.choice(_SKINS[traits["ethnicity"]])
        self.hair = _HAIR[traits["hair_color"]]
        self.cut = rng.choice(FEMALE if female else MALE)
        self.beard = not female and rng.random() < 0.45
        self.glasses = rng.random() < 0.3
        self.earrings = female and rng.random() < 0.5
        self.accent = accent

    def draw(self, image: Image.Image, centre: Point, unit: float, style: str, tilt: float) -> None:
        """Draw onto an RGBA image: the head's centre and the unit in its pixels, ``tilt`` in radians."""
        pen = Pen(image, centre, unit, tilt)
        hair_behind(pen, self.cut, self.hair)
        self._body(pen, style)
        self._head(pen)
        self._face(pen)
        hair_before(pen, self.cut, self.hair)
        if self.glasses:
            self._glasses(pen)
        PROPS.get(style, no_prop)(pen, self.accent)

    def _body(self, pen: Pen, style: str) -> None:
        cloth = SUIT if style == "conference" else self.accent
        shade = mix(cloth, (0, 0, 0), 0.18)
        shoulders = [
            (-0.62, 1.72),
            (-1.5, 2.02),
            (-2.2, 2.5),
            (-2.55, 3.6),
            (-2.75, 7.0),
            (-2.8, 11),
            (2.8, 11),
            (2.75, 7.0),
            (2.55, 3.6),
            (2.2, 2.5),
            (1.5, 2.02),
            (0.62, 1.72),
            (0, 1.95),
        ]
        pen.blob(shoulders, cloth)
        pen.blob([(-1.72, 3.5), (-1.62, 4.6), (-1.7, 9.6), (-2.0, 9.6), (-1.86, 4.6)], shade)
        pen.blob([(1.72, 3.5), (1.62, 4.6), (1.7, 9.6), (2.0, 9.6), (1.86, 4.6)], shade)
        shadow = mix(self.skin, (60, 20, 20), 0.28)
        pen.blob(
            [(-0.46, 0.6), (0.46, 0.6), (0.48, 1.6), (0.7, 1.84), (0, 2.34), (-0.7, 1.84), (-0.48, 1.6)],
            self.skin,
        )
        pen.blob([(-0.46, 0.7), (0.46, 0.7), (0.46, 1.3), (0.1, 1.56), (-0.4, 1.34)], shadow)
        COLLARS.get(style, crew)(pen, cloth)

    def _head(self, pen: Pen) -> None:
        shade = mix(self.skin, (90, 30, 30), 0.16)
        for side in (-1, 1):
            pen.blob(
                [(side * 0.9, -0.18), (side * 1.12, -0.2), (side * 1.12, 0.16), (side * 0.92, 0.34)], shade
            )
            if self.earrings:
                pen.circle((side * 1.04, 0.42), 0.08, (236, 196, 110))
        face = [
            (-0.95, -0.6),
            (-0.5, -1.16),
            (0.5, -1.16),
            (0.95, -0.6),
            (0.97, 0.1),
            (0.82, 0.72),
            (0.36, 1.16),
            (-0.36, 1.16),
            (-0.82, 0.72),
            (-0.97, 0.1),
        ]
        pen.blob(face, self.skin)
        pen.blob(
            [(0.62, -0.9), (0.95, -0.6), (0.97, 0.1), (0.82, 0.72), (0.36, 1.15), (0.5, 0.75), (0.68, 0.1)],
            shade,
        )
        for side in (-1, 1):
            pen.circle((side * 0.55, 0.36), 0.19, mix(self.skin, (232, 96, 88), 0.15))

    def _face(self, pen: Pen) -> None:
        brow = mix(self.hair, _INK, 0.35)
        for side in (-1, 1):
            pen.line([(side * 0.6, -0.3), (side * 0.42, -0.38), (side * 0.22, -0.33)], 0.075, brow)
            pen.oval((side * 0.4, -0.05), 0.085, 0.11, _INK)
            pen.circle((side * 0.4 + 0.03, -0.09), 0.03, (255, 255, 255))
        pen.line([(0.02, 0.0), (0.09, 0.26), (-0.02, 0.31)], 0.05, mix(self.skin, (90, 30, 30), 0.36))
        if self.beard:
            beard = mix(self.hair, self.skin, 0.12)
            pen.blob(
                [
                    (-0.96, 0.05),
                    (-0.86, 0.4),
                    (-0.4, 0.46),
                    (0, 0.42),
                    (0.4, 0.46),
                    (0.86, 0.4),
                    (0.96, 0.05),
                    (0.86, 0.74),
                    (0.38, 1.24),
                    (-0.38, 1.24),
                    (-0.86, 0.74),
                ],
                beard,
            )
        pen.blob(
            [(-0.32, 0.58), (0, 0.63), (0.32, 0.58), (0.2, 0.76), (0, 0.82), (-0.2, 0.76)], (255, 250, 246)
        )
        lip = mix(self.skin, (170, 50, 60), 0.55)
        pen.line([(-0.34, 0.57), (-0.18, 0.64), (0, 0.66), (0.18, 0.64), (0.34, 0.57)], 0.05, lip)
        pen.line([(-0.24, 0.74), (0, 0.83), (0.24, 0.74)], 0.06, lip)

    def _glasses(self, pen: Pen) -> None:
        for side in (-1, 1):
            pen.ring((side * 0.41, -0.04), 0.3, 0.055, _INK)
            pen.line([(side * 0.7, -0.08), (side * 0.97, -0.12)], 0.055, _INK)
        pen.line([(-0.12, -0.08), (0, -0.12), (0.12, -0.08)], 0.055, _INK)
