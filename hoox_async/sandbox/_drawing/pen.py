"""Smooth flat shapes, drawn in units around a centre."""

from __future__ import annotations

from math import cos, sin
from typing import TYPE_CHECKING

from .scenes import Colour

if TYPE_CHECKING:
    from PIL import Image

Point = tuple[float, float]

_PIVOT = 4.0
"""People lean from the waist: this far under the head's centre."""


class Pen:
    """Draws smooth shapes around a centre, in units."""

    def __init__(self, image: Image.Image, centre: Point, unit: float, tilt: float) -> None:
        from PIL import ImageDraw

        self._turn = (cos(tilt), sin(tilt))
        self._draw = ImageDraw.Draw(image)
        self._centre = centre
        self._unit = unit

    def blob(self, points: list[Point], colour: Colour) -> None:
        """A closed smooth shape through the points."""
        self._draw.polygon([self._at(point) for point in _smooth(points, closed=True)], fill=colour)

    def shape(self, points: list[Point], colour: Colour) -> None:
        """A closed shape with corners."""
        self._draw.polygon([self._at(point) for point in points], fill=colour)

    def line(self, points: list[Point], width: float, colour: Colour) -> None:
        """A smooth stroke with round ends."""
        curve = _smooth(points, closed=False)
        thick = max(1, round(width * self._unit))
        self._draw.line([self._at(point) for point in curve], fill=colour, width=thick, joint="curve")
        for end in (curve[0], curve[-1]):
            self.circle(end, width / 2, colour)

    def circle(self, centre: Point, radius: float, colour: Colour) -> None:
        """A disc."""
        self.oval(centre, radius, radius, colour)

    def oval(self, centre: Point, wide: float, high: float, colour: Colour) -> None:
        """An ellipse with these half axes."""
        x, y = self._at(centre)
        wide, high = wide * self._unit, high * self._unit
        self._draw.ellipse((x - wide, y - high, x + wide, y + high), fill=colour)

    def ring(self, centre: Point, radius: float, width: float, colour: Colour) -> None:
        """A circle's outline."""
        x, y = self._at(centre)
        reach = radius * self._unit
        box = (x - reach, y - reach, x + reach, y + reach)
        self._draw.ellipse(box, outline=colour, width=max(1, round(width * self._unit)))

    def _at(self, point: Point) -> Point:
        (cosine, sine), x, y = self._turn, point[0], point[1] - _PIVOT
        x, y = x * cosine - y * sine, x * sine + y * cosine + _PIVOT
        return self._centre[0] + x * self._unit, self._centre[1] + y * self._unit


def _smooth(points: list[Point], *, closed: bool, steps: int = 8) -> list[Point]:
    """A Catmull-Rom curve through the points."""
    count = len(points)
    curve = []
    for index in range(count if closed else count - 1):
        if closed:
            four = [points[(index + offset) % count] for offset in (-1, 0, 1, 2)]
        else:
            four = [points[min(count - 1, max(0, index + offset))] for offset in (-1, 0, 1, 2)]
        curve += [_between(four, step / steps) for step in range(steps)]
    return curve if closed else [*curve, points[-1]]


def _between(four: list[Point], t: float) -> Point:
    def axis(which: int) -> float:
        a, b, c, d = (point[which] for point in four)
        return 0.5 * (
            2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
        )

    return axis(0), axis(1)
