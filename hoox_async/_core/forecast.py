"""How long a batch will take, by a deterministic simulation of its requests, and how long one still takes."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from statistics import NormalDist
from typing import NamedTuple

from .polling.scheduler import THRESHOLD

_MASK = (1 << 64) - 1
_LAG = 2.0
"""Seconds from when a look is done until a status request finds it, on average, where the quota is idle."""


class PlannedLook(NamedTuple):
    """One look that a batch will have made.

    ``source`` is the key of the look that it waits for, where that is made in the same batch. ``group`` is
    its avatar, whose looks share a status request; None for a new avatar, and for a look whose source is
    made in the same batch. ``expects_webhook``: no status request is needed to know that it is done.
    """

    key: str
    kind: Hashable
    source: str | None
    group: Hashable
    expects_webhook: bool = False


_NORMAL = NormalDist()
_SIMULATED = 8_000
_MOST_RUNS = 50
"""Runs that are averaged: the end of a small batch depends much on chance, that of a large one less."""

_WITH_STATUS_REQUESTS = 1.1
"""Requests for each look, roughly: its own, and its share of the status requests."""

Quantile = Callable[[Hashable, float], float]
"""The duration of looks of a kind, in seconds, at a number of standard deviations from the median."""


def makespan(
    looks: Iterable[PlannedLook],
    quantile: Quantile,
    *,
    interval: float,
    max_in_flight: int,
    read_ahead: int = 1_000,
) -> float:
    """The seconds until the last look is known to be done, when one request is sent each ``interval``.

    Among the next ``read_ahead`` looks, those of one avatar are sent one after the other.
    """
    planned = _by_avatar(list(looks), read_ahead)
    runs = max(1, min(_MOST_RUNS, _SIMULATED // max(1, len(planned))))
    times = [_Simulation(planned, quantile, interval, max_in_flight, run << 32).run() for run in range(runs)]
    return sum(times) / runs


def _by_avatar(planned: list[PlannedLook], read_ahead: int) -> list[PlannedLook]:
    """The order in which a batch sends them: new avatars first, then avatar by avatar."""
    ordered: list[PlannedLook] = []
    for start in range(0, len(planned), read_ahead):
        groups: dict[Hashable, list[PlannedLook]] = {None: []}
        for look in planned[start : start + read_ahead]:
            groups.setdefault(look.group, []).append(look)
        for group in groups.values():
            ordered += group
    return ordered


class _Simulation:
    def __init__(
        self, planned: list[PlannedLook], quantile: Quantile, interval: float, max_in_flight: int, draws: int
    ) -> None:
        self._quantile = quantile
        self._interval = interval
        self._room = max_in_flight
        self._to_send: deque[PlannedLook] = deque()
        self._dependents: dict[str, list[PlannedLook]] = {}
        self._making: list[tuple[float, int, PlannedLook]] = []
        # looks that are done without our knowing, by group (one status request each), the oldest first
        self._done: dict[Hashable, list[tuple[float, PlannedLook]]] = {}
        self._draws = draws
        self._sent = 0
        self._now = self._last = 0.0
        keys = {look.key for look in planned}
        for look in planned:
            if look.source is not None and look.source in keys:
                self._dependents.setdefault(look.source, []).append(look)
            else:
                self._to_send.append(look)

    def run(self) -> float:
        while self._can_send() or self._making or self._done:
            self._settle()
            if self._can_send() and not self._is_poll_due():
                self._send()
            elif self._done:
                self._poll()
            elif self._making:
                self._now = max(self._now, self._making[0][0])
                continue
            self._now += self._interval
        return self._last

    def _can_send(self) -> bool:
        return bool(self._to_send) and self._room > 0

    def _settle(self) -> None:
        while self._making and self._making[0][0] <= self._now:
            at, _, look = heapq.heappop(self._making)
            if look.expects_webhook:
                self._mark_known(look, at)
            else:
                self._done.setdefault(look.group or (look.key,), []).append((at, look))

    def _is_poll_due(self) -> bool:
        group = next(iter(self._done.values()), ())
        return sum(self._now - at for at, _ in group) >= THRESHOLD

    def _poll(self) -> None:
        for _, look in self._done.pop(next(iter(self._done))):
            self._mark_known(look, self._now)

    def _mark_known(self, look: PlannedLook, at: float) -> None:
        self._room += 1
        self._last = max(self._last, at)
        for dependent in self._dependents.pop(look.key, ()):
            self._to_send.append(dependent._replace(group=look.group or (look.key,)))

    def _send(self) -> None:
        look = self._to_send.popleft()
        self._room -= 1
        self._sent += 1
        seconds = self._quantile(look.kind, _NORMAL.inv_cdf(_drawn(self._draws + self._sent)))
        lag = 0.0 if look.expects_webhook else _LAG
        heapq.heappush(self._making, (self._now + seconds + lag, self._sent, look))


def _drawn(number: int) -> float:
    """A pseudo-random number between 0 and 1 (SplitMix64), always the same for the same input."""
    mixed = number * 0x9E3779B97F4A7C15 & _MASK
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    return ((mixed ^ mixed >> 31) + 0.5) / (_MASK + 1.0)


def seconds_left(
    unsent: int,
    in_flight: int,
    *,
    look: Callable[[float], float],
    permits: Callable[[int], float],
    max_in_flight: int,
) -> float:
    """About how many seconds until the last of these items is known to be done.

    ``look`` gives the duration of a look at a number of standard deviations from the median, and ``permits``
    the seconds until so many requests may be sent. As many looks as now will be in flight at the end.
    """
    if not unsent + in_flight:
        return 0.0
    sending = permits(round(unsent * _WITH_STATUS_REQUESTS)) if unsent else 0.0
    count = max(1, in_flight)
    slowest = look(_NORMAL.inv_cdf(count / (count + 1)))
    return max(sending, unsent * look(0.0) / max_in_flight) + slowest
