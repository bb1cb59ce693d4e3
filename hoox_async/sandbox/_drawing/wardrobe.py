"""What the person in a fake look wears, and what stands before them, by style."""

from __future__ import annotations

from .pen import Pen
from .scenes import Colour, mix

SUIT: Colour = (44, 50, 72)


def crew(pen: Pen, cloth: Colour) -> None:
    """A round collar: what most styles wear."""
    pen.line(
        [(-0.7, 1.84), (-0.42, 2.16), (0, 2.3), (0.42, 2.16), (0.7, 1.84)], 0.16, mix(cloth, (0, 0, 0), 0.2)
    )


def _hood(pen: Pen, cloth: Colour) -> None:
    pen.line(
        [(-0.86, 1.62), (-0.7, 2.2), (0, 2.6), (0.7, 2.2), (0.86, 1.62)], 0.36, mix(cloth, (0, 0, 0), 0.16)
    )
    for side in (-1, 1):
        pen.line([(side * 0.3, 2.6), (side * 0.36, 3.4)], 0.07, (240, 236, 228))


def _roll(pen: Pen, cloth: Colour) -> None:
    pen.blob(
        [
            (-0.56, 1.2),
            (0.56, 1.2),
            (0.66, 1.6),
            (0.8, 2.2),
            (0.4, 2.5),
            (-0.4, 2.5),
            (-0.8, 2.2),
            (-0.66, 1.6),
        ],
        mix(cloth, (0, 0, 0), 0.12),
    )


def _blazer(pen: Pen, cloth: Colour) -> None:
    pen.shape([(-0.66, 1.8), (0, 4.2), (0.66, 1.8), (0, 2.3)], (244, 244, 248))
    for side in (-1, 1):
        pen.shape(
            [
                (side * 0.66, 1.66),
                (side * 1.14, 2.3),
                (side * 0.86, 2.52),
                (side * 1.0, 2.7),
                (0, 4.6),
                (side * 0.1, 3.9),
            ],
            mix(cloth, (255, 255, 255), 0.14),
        )


COLLARS = {"podcast": _hood, "conference": _blazer, "raw": _roll}


def no_prop(pen: Pen, accent: Colour) -> None:
    """Nothing in front of the person."""
    del pen, accent


def _microphone(pen: Pen, accent: Colour) -> None:
    metal: Colour = (30, 30, 36)
    pen.line([(3.4, 4.6), (2.1, 2.5), (1.3, 2.3)], 0.16, metal)
    pen.line([(1.5, 2.36), (0.86, 2.14)], 0.66, metal)
    pen.line([(0.98, 2.18), (0.8, 2.12)], 0.66, (74, 74, 84))
    pen.line([(1.24, 2.0), (1.1, 2.5)], 0.08, accent)


def _belt(pen: Pen, accent: Colour) -> None:
    del accent
    pen.line([(-1.66, 2.06), (0.4, 4.4), (2.4, 6.8)], 0.44, (40, 40, 48))
    pen.line([(-1.56, 2.0), (0.52, 4.34), (2.5, 6.7)], 0.05, (84, 84, 94))


def _badge(pen: Pen, accent: Colour) -> None:
    ribbon = mix(accent, (255, 255, 255), 0.1)
    pen.line([(-0.62, 1.9), (0, 3.3)], 0.1, ribbon)
    pen.line([(0.62, 1.9), (0, 3.3)], 0.1, ribbon)
    pen.shape([(-0.42, 3.3), (0.42, 3.3), (0.42, 4.3), (-0.42, 4.3)], (250, 250, 252))
    pen.shape([(-0.42, 3.3), (0.42, 3.3), (0.42, 3.56), (-0.42, 3.56)], ribbon)


PROPS = {"podcast": _microphone, "car": _belt, "conference": _badge}
