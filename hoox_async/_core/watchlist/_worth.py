"""What asking is worth: look-seconds in which looks were done and nobody knew.

A term stands for ``looks`` looks accepted at ``accepted`` and last known to be unfinished at ``told``.
Given that, the expected number of them that are done and unseen grows from 0; its integral is what a
request at that moment ends. It is convex, so Newton's steps find when it reaches a level.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from ..durations import Durations


class Term(NamedTuple):
    """Looks of one kind and about one age. ``left`` and ``area`` are the model's curve at ``told``."""

    looks: int
    accepted: float
    told: float
    left: float
    area: float
    model: Durations


def term(looks: int, accepted: float, told: float, model: Durations) -> Term:
    """A term, with its constants worked out."""
    told = max(told, accepted)
    left, area = model.curve(told - accepted)
    return Term(looks, accepted, told, left, area, model)


def worth(terms: Iterable[Term], at: float) -> tuple[float, float]:
    """Look-seconds ended by asking at ``at``, and how many looks the answer is expected to show done."""
    total = unseen = 0.0
    for looks, accepted, told, left, area, model in terms:
        waited = at - told
        if waited <= 0.0:
            continue
        left_now, area_now = model.curve(at - accepted)
        total += looks * max(waited - (area_now - area) / left, 0.0)
        unseen += looks * (1.0 - left_now / left)
    return total, unseen


def reaches(terms: list[Term], level: float, after: float) -> float:
    """The first moment not before ``after`` at which the worth is ``level``, a few percent late at most."""
    if not terms:
        return math.inf
    looks = sum(each.looks for each in terms)
    at = max(after, min(each.told for each in terms)) + level / looks
    at = max(at, min(max(each.accepted + each.model.median, each.told) for each in terms))
    for _ in range(12):
        value, slope = worth(terms, at)
        step = (value - level) / max(slope, 1e-3 * looks)
        at = max(at - step, after)
        if abs(step) <= 0.05 + 0.02 * (at - after):
            break
    return at
