"""The watchlist and the feed alone, in simulated time: slots of 0.6 s, shared by submissions and reads.

    python benchmarks/simulate.py [seeds]

Prints, for each scenario: makespan over the bound, mean and 95th-percentile lag from done to known,
status requests a look. Bound: submissions sent evenly, the last look done.
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from hoox_async._core.feed import Feed
from hoox_async._core.models import Avatar, Look, LookDetails, LookRef, LookStatus
from hoox_async._core.watchlist import Ask, AskKind, News, Watchlist

SLOT = 0.6


class Result(NamedTuple):
    """What one run showed."""

    ratio: float
    lag: float
    p95: float
    asks: float
    cpu: float


class Server:
    """When each look is done, and what a request is answered."""

    def __init__(self) -> None:
        self.done: dict[LookRef, float] = {}
        self.looks: dict[str, list[LookRef]] = {}

    def accept(self, ref: LookRef, done: float) -> None:
        """A submission came in."""
        self.done[ref] = done
        self.looks.setdefault(ref.avatar_id, []).append(ref)

    def status(self, ref: LookRef, at: float) -> LookStatus:
        """What the look is at that time."""
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


def batch(
    seed: int,
    items: int,
    avatars: int,
    *,
    median: float = 40.0,
    sigma: float = 0.5,
    latency: float = 0.3,
    lookahead: int = 1000,
    in_flight: int = 400,
    lost: float | None = None,
    watchlist: Callable[[], Watchlist] = Watchlist,
) -> Result:
    """One batch, input avatar by avatar in turn. ``lost``: share of webhooks lost; None for no webhooks."""
    rng = random.Random(seed)
    takes = [rng.lognormvariate(math.log(median), sigma) for _ in range(items)]
    bound = max(SLOT * i + g for i, g in enumerate(takes))
    started = time.perf_counter()
    watch, server, feed = watchlist(), Server(), Feed[int](spacing=SLOT, latency=latency)
    seen: dict[LookRef, float] = {}
    answers: list[tuple[float, int, Callable[[float], list[News]]]] = []
    lanes: dict[str, float] = {}
    pulled = asks = turn = flying = 0
    slot = 0.0

    def accepted(ref: LookRef) -> Callable[[float], list[News]]:
        def tell(now: float) -> list[News]:
            watch.add(ref, "edit", now, now, pushed=lost is not None)
            return []

        return tell

    def delivered(ref: LookRef) -> Callable[[float], list[News]]:
        def tell(now: float) -> list[News]:
            news = watch.heard(server.look(ref, now), now)
            return [news] if news is not None else []

        return tell

    def answered(ask: Ask, sent: float) -> Callable[[float], list[News]]:
        if ask.kind is AskKind.GROUP:
            avatar = server.avatar(ask.avatar_id, sent + latency / 2)
            return lambda now: watch.answered_avatar(ask, avatar, now)
        look = server.look(LookRef(ask.avatar_id, ask.look_id or ""), sent + latency / 2)
        return lambda now: watch.answered_look(ask, look, now)

    while len(seen) < items:
        while answers and answers[0][0] <= slot:
            at, _, tell = heapq.heappop(answers)
            for news in tell(at):
                if news.complete:
                    seen[news.look.ref] = at
                    flying -= 1
        while pulled < items and len(feed) < lookahead:
            feed.put(f"a{pulled % avatars}", pulled)
            pulled += 1
        now = slot
        slot += SLOT
        turn += 1
        busy = len(feed) > 0 and flying < in_flight
        ask = watch.take(now, busy) if watch.due(now, busy) <= now else None
        if ask is not None:
            asks += 1
            heapq.heappush(answers, (now + latency, turn, answered(ask, now)))
            continue
        item = feed.pop(lambda avatar_id: lanes.get(avatar_id, -1.0) <= slot - SLOT) if busy else None
        if item is not None:
            ref = LookRef(f"a{item % avatars}", str(item))
            lanes[ref.avatar_id] = now + latency
            flying += 1
            server.accept(ref, now + latency / 2 + takes[item])
            heapq.heappush(answers, (now + latency, turn, accepted(ref)))
            if lost is not None and rng.random() >= lost:
                heapq.heappush(answers, (max(server.done[ref], now + latency) + 0.2, turn, delivered(ref)))
    lags = sorted(seen[ref] - done for ref, done in server.done.items())
    return Result(
        max(seen.values()) / bound,
        statistics.fmean(lags),
        lags[int(0.95 * len(lags))],
        asks / items,
        time.perf_counter() - started,
    )


def lone(duration: float, watch: Watchlist, start: float = 0.0, latency: float = 0.3) -> tuple[float, int]:
    """One look, with nothing else to do: its lag, and how many requests it took."""
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
    fresh = [lone(duration, Watchlist()) for duration in lasting]
    watch = Watchlist()
    shuffled = lasting * 3
    random.Random(1).shuffle(shuffled)
    learned = [lone(duration, watch, 1000.0 * i) for i, duration in enumerate(shuffled)]
    for name, runs in (("a client that knows nothing", fresh), ("one that has seen others", learned)):
        lag, asks = (statistics.fmean(column) for column in zip(*runs, strict=True))
        print(f"one lone look of 0.5 to 30 s, {name}: lag {lag:.2f} s, {asks:.1f} requests")


if __name__ == "__main__":
    main()
