"""What asking is worth: look-seconds in which looks were done and nobody knew.

A term stands for ``looks`` looks accepted at ``accepted`` and last known to be unfinished at ``told``.
Given that, the expected number of them that are done and unseen grows from 0; its integral is what a
request at that moment ends.

Of looks that expect a webhook only those count whose delivery is lost. As long as a delivery may come, the
share of lost ones is small; the longer none comes, the likelier it is that it was lost (Bayes' rule).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from .durations import Durations

# A look whose delivery was lost counts for so many: few are concerned, so few requests find them. With 1,
# 1,000 edits of 20 avatars with a tenth lost know them 34 s late, with 5.5 it is 14 s for 3 % more time. The
# more are lost, the less: a request finds more of them then.
_MOST_WEIGHT, _WEIGHT_BY_SHARE = 5.5, 0.6
_ON_ITS_WAY = 1.0  # seconds in which a delivery is no later than others, after its look was expected


class Term(NamedTuple):
    """Looks of one kind and about one age. ``left`` and ``area`` are the model's curve at ``told``.

    ``lost``: the share of their webhook deliveries that never comes; 1 where none is expected.
    """

    looks: int
    accepted: float
    told: float
    left: float
    area: float
    model: Durations
    lost: float


def term(looks: int, accepted: float, told: float, model: Durations, lost: float = 1.0) -> Term:
    """A term, with its constants worked out."""
    told = max(told, accepted)
    left, area = model.curve(told - accepted)
    return Term(looks, accepted, told, left, area, model, lost)


def worth(terms: Iterable[Term], at: float) -> tuple[float, float]:
    """Look-seconds ended by asking at ``at``, and how many looks the answer is expected to show done."""
    total = unseen = 0.0
    for looks, accepted, told, left, area, model, lost in terms:
        waited = at - told
        if waited <= 0.0:
            continue
        left_now, area_now = model.curve(at - accepted)
        count = looks if lost >= 1.0 else looks * _lost_by_now(lost, at, accepted, told, left, model)
        weight = min(max(_WEIGHT_BY_SHARE / lost, 1.0), _MOST_WEIGHT)
        total += weight * count * max(waited - (area_now - area) / left, 0.0)
        unseen += count * (1.0 - left_now / left)
    return total, unseen


def _lost_by_now(
    lost: float, at: float, accepted: float, told: float, left: float, model: Durations
) -> float:
    """How probable it is that a look's delivery is lost, if the look is done and no delivery has come."""
    waited_for = at - _ON_ITS_WAY
    not_yet = model.curve(waited_for - accepted)[0] / left if waited_for > told else 1.0
    return lost / (lost + (1.0 - lost) * not_yet)


def reaches(terms: list[Term], level: float, after: float, shown: float = math.inf) -> float:
    """The first moment not before ``after`` at which the worth is ``level``, a few percent late at most.

    Or at which an answer is expected to show ``shown`` looks done, if that is earlier.
    """
    if not terms:
        return math.inf
    if any(each.lost < 1.0 for each in terms):
        return _search(terms, level, shown, after)
    looks = sum(each.looks for each in terms)
    at = max(after, min(each.told for each in terms)) + level / looks
    at = max(at, min(max(each.accepted + each.model.median, each.told) for each in terms))
    for _ in range(12):  # the worth is convex here, so Newton's steps find it
        value, slope = worth(terms, at)
        step = (value - level) / max(slope, 1e-3 * looks)
        at = max(at - step, after)
        if abs(step) <= 0.05 + 0.02 * (at - after):
            break
    return at


def _search(terms: list[Term], level: float, shown: float, after: float) -> float:
    """As `reaches`, where the worth is not convex: in steps that grow, then halving the last of them."""

    def is_reached(at: float) -> bool:
        value, looks = worth(terms, at)
        return value >= level or looks >= shown

    low = max(after, min(each.told for each in terms))
    step = 0.25 * min(max(each.model.median, low - each.told) for each in terms)
    high = low + step
    for _ in range(30):
        if is_reached(high):
            break
        low, step = high, 2.0 * step
        high = low + step
    else:
        return math.inf
    while high - low > 0.05 + 0.08 * (high - after):
        middle = 0.5 * (low + high)
        if is_reached(middle):
            high = middle
        else:
            low = middle
    return high
