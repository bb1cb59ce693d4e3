"""How long looks take, learned by kind: a few numbers each, in log space.

The model is log-normal with a small share of a heavy tail (log-logistic), so that a look which is
very late is still expected, at growing intervals. All durations are in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

from ..._api.requests import ImageAvatar, KnownRequest, PrunedRequest

AT_ONCE = "at once"
"""The kind of looks that are ready when they are accepted: those of avatars from images (API reference)."""
PRIOR_MEDIAN = 40.0
_PRIOR_SIGMA = 0.55
_PRIOR_WEIGHT = 1.5  # in observations; small: the first answers overrule the prior median
_PRIOR_WEIGHT_SPREAD = 6.0
_MEMORY = 100.0  # observations; older ones fade
_MIN_SIGMA, _MAX_SIGMA = 0.12, 1.2
_TAIL_SHARE = 0.02
_TAIL_SCALE = 2.0  # medians
_OUTLIER = 2.5  # standard deviations from the median; an observation farther off is clipped to that
_UNINFORMATIVE = 0.97  # an interval that was this probable anyway is not informative
_SHIFT = 0.2
_HALF_ROOT = math.sqrt(0.5)


class Durations:
    """The durations of one kind of looks, as far as they are known. ``mu`` is the logarithm of the median."""

    __slots__ = (
        "_inverse",
        "_mean",
        "_planned",
        "_sigma",
        "_tail",
        "_variance",
        "_weight",
        "_weight_spread",
        "mu",
        "observations",
    )

    def __init__(self, median: float = PRIOR_MEDIAN, sigma: float = _PRIOR_SIGMA) -> None:
        self.mu: float = math.log(median)
        self.observations: int = 0
        self._variance = sigma * sigma
        self._weight = _PRIOR_WEIGHT
        self._weight_spread = _PRIOR_WEIGHT_SPREAD
        self._refresh()
        self._planned = self.mu, self._sigma

    @property
    def median(self) -> float:
        """Seconds within which half of the looks are expected to be done."""
        return math.exp(self.mu)

    @property
    def sigma(self) -> float:
        """The standard deviation of the logarithm, including the uncertainty about the median."""
        return self._sigma

    @property
    def usual_range(self) -> tuple[float, float]:
        """Seconds within which hardly any look is done, and within which nearly all are."""
        return math.exp(self.mu - 2.5 * self._sigma), math.exp(self.mu + 2.5 * self._sigma)

    def has_shifted(self) -> bool:
        """Whether the median or the spread has changed by a fifth since this was last true."""
        mu, sigma = self._planned
        if abs(self.mu - mu) < _SHIFT and abs(math.log(self._sigma / sigma)) < _SHIFT:
            return False
        self._planned = self.mu, self._sigma
        return True

    @property
    def spread(self) -> float:
        """The standard deviation of the logarithm from look to look, without that uncertainty."""
        return min(max(math.sqrt(self._variance), _MIN_SIGMA), _MAX_SIGMA)

    def curve(self, age: float) -> tuple[float, float]:
        """The share of looks that take longer than ``age``, and that share's integral from 0 to ``age``."""
        if age <= 0.0:
            return 1.0, age
        z = (math.log(age) - self.mu) * self._inverse
        remaining = 0.5 * math.erfc(z * _HALF_ROOT)
        area = age * remaining + self._mean * 0.5 * math.erfc((self._sigma - z) * _HALF_ROOT)
        y = age / self._tail
        return (
            (1.0 - _TAIL_SHARE) * remaining + _TAIL_SHARE / (1.0 + y),
            (1.0 - _TAIL_SHARE) * area + _TAIL_SHARE * self._tail * math.log1p(y),
        )

    def observe(self, not_yet: float, done: float) -> None:
        """Learn from a look that was unfinished at the age ``not_yet`` and done at the age ``done``."""
        done = max(done, 0.05)
        not_yet = min(max(not_yet, 0.0), done)
        spread = max(self._sigma, 0.3)
        estimate = _between(self.mu, spread, not_yet, done)
        if estimate is None:
            return
        mean, variance = estimate
        off = min(max(mean - self.mu, -_OUTLIER * spread), _OUTLIER * spread)
        self.observations += 1
        self._weight = min(self._weight + 1.0, _MEMORY)
        self._weight_spread = min(self._weight_spread + 1.0, _MEMORY)
        step = off / self._weight
        self.mu += step
        self._variance += (off * (off - step) + variance - self._variance) / self._weight_spread
        self._refresh()

    def _refresh(self) -> None:
        sigma = math.sqrt(self._variance * (1.0 + 1.0 / self._weight))
        self._sigma = min(max(sigma, _MIN_SIGMA), _MAX_SIGMA)
        self._inverse = 1.0 / self._sigma
        self._mean = math.exp(self.mu + 0.5 * self._sigma * self._sigma)
        self._tail = _TAIL_SCALE * math.exp(self.mu)


def _between(mu: float, sigma: float, low: float, high: float) -> tuple[float, float] | None:
    """Mean and variance of a log duration that lies between two ages; None if that is not informative."""
    if high - low <= 0.02 * high:
        return math.log(0.5 * (low + high)), 0.0
    b = (math.log(high) - mu) / sigma
    a = (math.log(low) - mu) / sigma if low > 0.0 else -12.0
    mass = 0.5 * (math.erfc(a * _HALF_ROOT) - math.erfc(b * _HALF_ROOT))
    if mass > _UNINFORMATIVE:
        return None
    if mass < 1e-9:  # far from what was expected: take the nearer end
        return (math.log(high) if b < 0.0 else math.log(low)), 0.0
    density_a = math.exp(-0.5 * a * a) * 0.3989422804014327
    density_b = math.exp(-0.5 * b * b) * 0.3989422804014327
    shift = (density_a - density_b) / mass
    narrowed = 1.0 + (a * density_a - b * density_b) / mass - shift * shift
    return mu + sigma * shift, sigma * sigma * min(max(narrowed, 0.0), 1.0)


def kind_of(request: KnownRequest) -> Hashable:
    """The kind of the request's look: looks of one kind are expected to take equally long."""
    if isinstance(request, PrunedRequest):
        return AT_ONCE if request.kind == ImageAvatar.KIND else (request.kind, None)
    if isinstance(request, ImageAvatar):
        return AT_ONCE
    return request.KIND, request.resolution


class DurationModels:
    """`Durations` by kind. A new kind starts from the observations of all kinds but `AT_ONCE` together."""

    def __init__(self) -> None:
        self._all = Durations()
        self._at_once = Durations(0.05, 0.5)
        self._kinds: dict[Hashable, Durations] = {AT_ONCE: self._at_once}

    def of(self, kind: Hashable) -> Durations:
        """The durations of the kind: always the same object, which keeps learning."""
        known = self._kinds.get(kind)
        if known is None:
            known = (
                Durations(self._all.median, max(self._all.sigma, 0.4))
                if self._all.observations
                else Durations()
            )
            self._kinds[kind] = known
        return known

    def observe(self, model: Durations, not_yet: float, done: float) -> None:
        """Learn for one kind (``model`` as returned by `of`) and for kinds that were not seen yet."""
        model.observe(not_yet, done)
        if model is not self._at_once:
            self._all.observe(not_yet, done)

    def expected(self, kind: Hashable) -> float:
        """The median, in seconds. A kind that was never seen gets that of all kinds."""
        return self._best_known(kind).median

    def quantile(self, kind: Hashable, z: float) -> float:
        """The seconds that a look takes which is ``z`` standard deviations slower than the median."""
        known = self._best_known(kind)
        return known.median * math.exp(z * known.spread)

    def _best_known(self, kind: Hashable) -> Durations:
        known = self._kinds.get(kind)
        if known is not None and (known.observations or known is self._at_once):
            return known
        return self._all
