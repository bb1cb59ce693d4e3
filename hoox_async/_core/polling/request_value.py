"""The value of a status request, in look-seconds: the time for which looks are done without our knowing.

A term represents ``looks`` looks that were accepted at ``accepted_at`` and last known to be unfinished at
``last_checked_at``. Given that, the expected number of them that are done without our knowing grows from 0;
its integral is the value of a request at that moment.

Of looks that expect a webhook only those count whose delivery is lost. As long as a delivery may come, the
share of lost ones is small; the longer none comes, the likelier it is that it was lost (Bayes' rule).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from .durations import Durations

# The weight of a look whose delivery was lost: such looks are few, so few requests would find them. For 1,000
# edits of 20 avatars with a tenth of the deliveries lost, weight 1 finds them 34 s late, and 5.5 finds them
# 14 s late for 3 % more time. The weight falls with the share of losses: a request finds more then.
_MAX_WEIGHT, _WEIGHT_BY_SHARE = 5.5, 0.6
_DELIVERY_SECONDS = 1.0  # a delivery counts as late this many seconds after its look was expected


class Term(NamedTuple):
    """Looks of one kind and about one age.

    ``remaining`` and ``area`` are the curve of the kind's durations at ``last_checked_at``. ``loss_share``:
    the share of their webhook deliveries that never comes; 1 where none is expected.
    """

    looks: int
    accepted_at: float
    last_checked_at: float
    remaining: float
    area: float
    durations: Durations
    loss_share: float


def make_term(
    looks: int, accepted_at: float, last_checked_at: float, durations: Durations, loss_share: float = 1.0
) -> Term:
    """A term, with its constants worked out."""
    last_checked_at = max(last_checked_at, accepted_at)
    remaining, area = durations.curve(last_checked_at - accepted_at)
    return Term(looks, accepted_at, last_checked_at, remaining, area, durations, loss_share)


def request_value(terms: Iterable[Term], at: float) -> tuple[float, float]:
    """The look-seconds that a request at ``at`` ends, and how many looks its answer should show done."""
    total = done = 0.0
    for looks, accepted_at, last_checked_at, remaining, area, durations, loss_share in terms:
        waited = at - last_checked_at
        if waited <= 0.0:
            continue
        remaining_now, area_now = durations.curve(at - accepted_at)
        count: float = looks
        if loss_share < 1.0:
            count *= _lost_by_now(loss_share, at, accepted_at, last_checked_at, remaining, durations)
        weight = min(max(_WEIGHT_BY_SHARE / loss_share, 1.0), _MAX_WEIGHT)
        total += weight * count * max(waited - (area_now - area) / remaining, 0.0)
        done += count * (1.0 - remaining_now / remaining)
    return total, done


def _lost_by_now(
    loss_share: float,
    at: float,
    accepted_at: float,
    last_checked_at: float,
    remaining: float,
    durations: Durations,
) -> float:
    """The probability that a look's delivery is lost, given that the look is done and none has come."""
    not_late_before = at - _DELIVERY_SECONDS
    not_yet = 1.0
    if not_late_before > last_checked_at:
        not_yet = durations.curve(not_late_before - accepted_at)[0] / remaining
    return loss_share / (loss_share + (1.0 - loss_share) * not_yet)


def time_of_value(terms: list[Term], value: float, after: float, looks: float = math.inf) -> float:
    """When a request reaches this value, ``after`` at the earliest; it may be a few percent late.

    Or when an answer is expected to show so many ``looks`` done, if that is earlier.
    """
    if not terms:
        return math.inf
    if any(each.loss_share < 1.0 for each in terms):
        return _search(terms, value, looks, after)
    count = sum(each.looks for each in terms)
    at = max(after, min(each.last_checked_at for each in terms)) + value / count
    expected = min(max(each.accepted_at + each.durations.median, each.last_checked_at) for each in terms)
    at = max(at, expected)
    for _ in range(12):  # the value is convex here, so Newton's method finds it
        value_then, slope = request_value(terms, at)
        step = (value_then - value) / max(slope, 1e-3 * count)
        at = max(at - step, after)
        if abs(step) <= 0.05 + 0.02 * (at - after):
            break
    return at


def _search(terms: list[Term], value: float, looks: float, after: float) -> float:
    """As `time_of_value`, where the value is not convex: steps that double, then bisection of the last."""

    def is_reached(at: float) -> bool:
        value_then, looks_then = request_value(terms, at)
        return value_then >= value or looks_then >= looks

    low = max(after, min(each.last_checked_at for each in terms))
    step = 0.25 * min(max(each.durations.median, low - each.last_checked_at) for each in terms)
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
