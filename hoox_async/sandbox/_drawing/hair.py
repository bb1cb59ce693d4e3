"""The hair of a fake look's person, by its cut: what is behind the head, and what is before the face."""

from __future__ import annotations

from math import cos, pi, sin

from .pen import Pen, Point
from .scenes import Colour, mix

_BEHIND: dict[str, list[Point]] = {
    "long": [
        (-1.02, -0.9),
        (0, -1.5),
        (1.02, -0.9),
        (1.3, 0.3),
        (1.38, 1.7),
        (0.7, 2.15),
        (-0.7, 2.15),
        (-1.38, 1.7),
        (-1.3, 0.3),
    ],
    "bob": [
        (-1.0, -0.9),
        (0, -1.5),
        (1.0, -0.9),
        (1.3, 0.2),
        (1.2, 1.05),
        (0.6, 1.25),
        (-0.6, 1.25),
        (-1.2, 1.05),
        (-1.3, 0.2),
    ],
}
_BEFORE: dict[str, list[Point]] = {
    "crop": [
        (-0.98, -0.3),
        (-1.02, -0.9),
        (-0.5, -1.36),
        (0.5, -1.36),
        (1.02, -0.9),
        (0.98, -0.3),
        (0.86, -0.72),
        (0.4, -0.9),
        (-0.4, -0.9),
        (-0.86, -0.72),
    ],
    "short": [
        (-0.99, -0.1),
        (-1.08, -0.8),
        (-0.62, -1.44),
        (0.3, -1.62),
        (1.02, -1.2),
        (1.04, -0.5),
        (0.97, -0.1),
        (0.86, -0.62),
        (0.5, -0.84),
        (-0.3, -0.7),
        (-0.82, -0.78),
    ],
    "parted": [
        (-1.06, 0.2),
        (-1.14, -0.7),
        (-0.7, -1.34),
        (0, -1.5),
        (0.7, -1.34),
        (1.14, -0.7),
        (1.06, 0.2),
        (0.92, -0.4),
        (0.5, -0.86),
        (-0.12, -1.0),
        (-0.6, -0.66),
        (-0.92, -0.2),
    ],
}
_STRANDS: dict[str, list[Point]] = {
    "short": [(-0.5, -1.2), (0.1, -1.36), (0.6, -1.2)],
    "parted": [(-0.62, -1.08), (0, -1.28), (0.62, -1.1)],
}
FEMALE = ("long", "bob", "bun", "curls")
MALE = ("short", "crop", "curls", "short")


def hair_behind(pen: Pen, cut: str, colour: Colour) -> None:
    """Draw what the head hides in part; of a short cut that is nothing."""
    dark = mix(colour, (0, 0, 0), 0.22)
    if cut == "curls":
        for step in range(15):
            angle = pi * (0.93 + 1.14 * step / 14)
            pen.circle((1.12 * cos(angle), -0.42 + 1.06 * sin(angle)), 0.4, dark if step % 2 else colour)
    elif cut == "bun":
        pen.circle((0.0, -1.72), 0.5, colour)
        pen.circle((0.1, -1.66), 0.36, dark)
    elif cut in _BEHIND:
        pen.blob(_BEHIND[cut], dark)


def hair_before(pen: Pen, cut: str, colour: Colour) -> None:
    """Draw what falls over the forehead; a cut with hair behind the head is parted there."""
    light = mix(colour, (255, 240, 220), 0.12)
    if cut == "curls":
        for step in range(9):
            angle = pi * (1.04 + 0.92 * step / 8)
            centre = (0.86 * cos(angle), -0.52 + 0.66 * sin(angle))
            pen.circle(centre, 0.27, light if step % 3 == 1 else colour)
        return
    shape = cut if cut in _BEFORE else "parted"
    pen.blob(_BEFORE[shape], colour)
    if shape in _STRANDS:
        pen.line(_STRANDS[shape], 0.09, light)
