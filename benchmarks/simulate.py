"""The poll scheduler and the locality queue alone, in simulated time, with one permit every 0.6 s.

    python benchmarks/simulate.py [seeds]

Prints, for each scenario: makespan over the bound, mean and 95th-percentile lag from done to known,
status requests a look. Bound: submissions sent evenly, the last look done.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hoox_async._api.models import Avatar, Look, LookDetails, LookRef, LookStatus
from hoox_async._batch.locality_queue import LocalityQueue
from hoox_async._core.polling import THRESHOLD, LookUpdate, PollKind, PollRequest, PollScheduler

INTERVAL = 0.6
Arrival = Callable[[float], "Sequence[LookUpdate | None]"]


class Result(NamedTuple):
    """The figures of one run."""

    ratio: float
    lag: float
    p95: float
    asks: float
    cpu: float


class Server:
    """A server that knows when each look is done."""

    def __init__(self) -> None:
        self.done: dict[LookRef, float] = {}
        self.looks: dict[str, list[LookRef]] = {}

    def accept(self, ref: LookRef, done: float) -> None:
        """Take a submission."""
        self.done[ref] = done
        self.looks.setdefault(ref.avatar_id, []).append(ref)

    def status(self, ref: LookRef, at: float) -> LookStatus:
        """The look's status at that time."""
        return LookStatus.READY if self.done[ref] <= at else LookStatus.PENDING

    def avatar(self, avatar_id: str, at: float) -> Avatar:
        """All looks of the avatar."""
        looks = (
            LookDetails(ref, status, thumbnail_url="https://x/y.jpg" if status.settled else None)
            for ref in self.looks[avatar_id]
            for status in [self.status(ref, at)]
        )
        return Avatar(avatar_id, looks=tuple(looks))

    def look(self, ref: LookRef, at: float) -> Look:
        """One look."""
        status = self.status(ref, at)
        return Look(ref, status, "https://x/y.jpg" if status.settled else None)


class Batch:
    """One batch, input avatar by avatar in turn. ``lost``: share of webhooks lost; None for no webhooks."""

    def __init__(
        self,
        seed: int,
        items: int,
        avatars: int,
        *,
        median: float = 40.0,
        sigma: float = 0.5,
        latency: float = 0.3,
        prefetch: int = 20_000,
        in_flight: int = 400,
        lost: float | None = None,
        threshold: float = THRESHOLD,
    ) -> None:
        self.rng = random.Random(seed)
        self.items, self.avatars, self.latency = items, avatars, latency
        self.prefetch, self.in_flight, self.lost = prefetch, in_flight, lost
        self.takes = [self.rng.lognormvariate(math.log(median), sigma) for _ in range(items)]
        self.watch = PollScheduler(threshold=threshold)
        self.server = Server()
        self.queue = LocalityQueue[int]()
        self.seen: dict[LookRef, float] = {}
        self.arrivals: list[tuple[float, int, Arrival]] = []  # responses and deliveries to come
        self.number = itertools.count()
        self.asks = self.read = self.looks_in_flight = 0

    def run(self) -> Result:
        """Use one permit after the other, until all looks are known to be settled."""
        started = time.perf_counter()
        permit = 0
        while len(self.seen) < self.items:
            self.arrive(permit * INTERVAL)
            self.use_permit(permit * INTERVAL)
            permit += 1
        bound = max(INTERVAL * i + took for i, took in enumerate(self.takes))
        lags = sorted(self.seen[ref] - done for ref, done in self.server.done.items())
        return Result(
            max(self.seen.values()) / bound,
            statistics.fmean(lags),
            lags[int(0.95 * len(lags))],
            self.asks / self.items,
            time.perf_counter() - started,
        )

    def arrive(self, now: float) -> None:
        """Process what has arrived until now, and read more of the input."""
        while self.arrivals and self.arrivals[0][0] <= now:
            at, _, arrival = heapq.heappop(self.arrivals)
            for update in arrival(at):
                if update is not None and update.complete:
                    self.seen[update.look.ref] = at
                    self.looks_in_flight -= 1
        while self.read < self.items and len(self.queue) < self.prefetch:
            self.queue.put(f"a{self.read % self.avatars}", self.read)
            self.read += 1

    def use_permit(self, now: float) -> None:
        """Send one request, if there is one to send."""
        busy = len(self.queue) > 0 and self.looks_in_flight < self.in_flight
        self.watch.backlog = self.queue.grouped
        ask = self.watch.take(now, busy) if self.watch.due(now, busy) <= now else None
        if ask is not None:
            self.asks += 1
            self.expect(now + self.latency, self.answer(ask, now + self.latency / 2))
        elif busy:
            item = self.queue.pop()
            if item is not None:
                self.submit(item, now)

    def expect(self, at: float, arrival: Arrival) -> None:
        """Let something arrive at that time."""
        heapq.heappush(self.arrivals, (at, next(self.number), arrival))

    def submit(self, item: int, now: float) -> None:
        """Send a paid request; its response and its webhook arrive later."""
        ref = LookRef(f"a{item % self.avatars}", str(item))
        accepted = now + self.latency
        self.looks_in_flight += 1
        self.server.accept(ref, now + self.latency / 2 + self.takes[item])
        self.expect(accepted, lambda at: self.accept(ref, at))
        if self.lost is not None and self.rng.random() >= self.lost:
            delivered = max(self.server.done[ref], accepted) + 0.2
            self.expect(
                delivered, lambda at: [self.watch.update(self.server.look(ref, at), at, delivered=True)]
            )

    def accept(self, ref: LookRef, at: float) -> list[LookUpdate | None]:
        """The response to a paid request arrives."""
        self.watch.add(ref, "edit", at, at, expects_webhook=self.lost is not None)
        return []

    def answer(self, ask: PollRequest, read: float) -> Arrival:
        """The response to a status request, with the looks as they were at ``read``."""
        if ask.kind is PollKind.GROUP:
            avatar = self.server.avatar(ask.avatar_id, read)
            return lambda at: self.watch.answered_avatar(ask, avatar, at)
        look = self.server.look(LookRef(ask.avatar_id, ask.look_id or ""), read)
        return lambda at: self.watch.answered_look(ask, look, at)


def batch(seed: int, items: int, avatars: int, **options: Any) -> Result:
    """Run one batch."""
    return Batch(seed, items, avatars, **options).run()


def single_look(
    duration: float, watch: PollScheduler, start: float = 0.0, latency: float = 0.3
) -> tuple[float, int]:
    """One look, with no other work: its lag, and the number of its status requests."""
    server, ref = Server(), LookRef(f"a{start}", "l")
    server.accept(ref, start + duration)
    watch.add(ref, "edit", start, start)
    now, asks = start, 0
    while ref in watch:
        now = max(now, watch.due(now, busy=False))
        ask = watch.take(now, busy=False)
        if ask is None:
            continue
        asks += 1
        watch.answered_look(ask, server.look(ref, now + latency / 2), now + latency)
        now += latency
    return now - start - duration, asks


SCENARIOS: dict[str, Callable[[int], Result]] = {
    "1,000 edits of 20 avatars": lambda seed: batch(seed, 1000, 20),
    "1,000 edits of 1,000 avatars": lambda seed: batch(seed, 1000, 1000),
    "1,000 edits of one avatar": lambda seed: batch(seed, 1000, 1),
    "1,000 edits of 200 avatars": lambda seed: batch(seed, 1000, 200),
    "20 avatars, median 15 s": lambda seed: batch(seed, 1000, 20, median=15.0),
    "20 avatars, median 60 s": lambda seed: batch(seed, 1000, 20, median=60.0),
    "20 avatars, median 120 s": lambda seed: batch(seed, 1000, 20, median=120.0),
    "20 avatars, spread 0.25": lambda seed: batch(seed, 1000, 20, sigma=0.25),
    "20 avatars, webhooks": lambda seed: batch(seed, 1000, 20, lost=0.0),
    "20 avatars, 10 % of webhooks lost": lambda seed: batch(seed, 1000, 20, lost=0.1),
    "1,000 avatars, 10 % lost": lambda seed: batch(seed, 1000, 1000, lost=0.1),
    "10,000 edits of 200 avatars": lambda seed: batch(seed, 10_000, 200),
}


def main() -> None:
    """Run all scenarios and print a table."""
    seeds = range(1, 1 + (int(sys.argv[1]) if len(sys.argv) > 1 else 5))
    print(f"{'':34} {'over bound':>10} {'lag s':>6} {'p95 s':>6} {'asks/look':>9} {'CPU s':>6}")
    for name, run in SCENARIOS.items():
        if len(sys.argv) > 2 and sys.argv[2] not in name:
            continue
        results = [run(seed) for seed in seeds]
        mean = [statistics.fmean(column) for column in zip(*results, strict=True)]
        print(
            f"{name:34} {mean[0]:10.3f} {mean[1]:6.1f} {mean[2]:6.1f} {mean[3]:9.3f} {mean[4]:6.2f}",
            flush=True,
        )
    lasting = [0.5 * step for step in range(1, 61)]
    fresh = [single_look(duration, PollScheduler()) for duration in lasting]
    watch = PollScheduler()
    shuffled = lasting * 3
    random.Random(1).shuffle(shuffled)
    learned = [single_look(duration, watch, 1000.0 * i) for i, duration in enumerate(shuffled)]
    for name, runs in (("a client that knows nothing", fresh), ("one that has seen others", learned)):
        lag, asks = (statistics.fmean(column) for column in zip(*runs, strict=True))
        print(f"one single look of 0.5 to 30 s, {name}: lag {lag:.2f} s, {asks:.1f} requests")


if __name__ == "__main__":
    main()
