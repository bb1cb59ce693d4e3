"""Simulated servers that count requests, and clients that share their quota."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attrs

from hoox_async._api.models import ServerQuota
from hoox_async._core.quota.sliding_window import SlidingWindow

INTERVAL = 60.05 / 100


def send(
    window: SlidingWindow, count: int, now: float = 0.0, answer: ServerQuota | None = None
) -> list[float]:
    """Send paid requests one after the other, each as early as allowed. Returns when each was sent."""
    times = []
    for _ in range(count):
        now = window.earliest(now)
        permit = window.take(now)
        window.mark_sent(permit, now)
        window.mark_accepted(permit, now)
        window.end(permit, now)
        times.append(now)
        if answer is not None:
            window.observe(now, answer, now)
    return times


def most_in_a_minute(intervals: Iterable[tuple[float, float]]) -> int:
    """The most requests that a server can have counted in any 60 s, if each arrived within its interval."""
    edges = sorted(intervals)
    return max(sum(last > first - 60.0 for start, last in edges if start <= first) for first, _ in edges)


class Server(Protocol):
    def hit(self, now: float) -> tuple[bool, ServerQuota]: ...


class SlidingServer:
    """Counts the last 60 s. Its reset is when the oldest request leaves them, or when all have left."""

    def __init__(self, limit: int = 100, *, oldest: bool = True) -> None:
        self.limit = limit
        self.oldest = oldest
        self.log: deque[float] = deque()

    def hit(self, now: float) -> tuple[bool, ServerQuota]:
        while self.log and self.log[0] <= now - 60.0:
            self.log.popleft()
        accepted = len(self.log) < self.limit
        if accepted:
            self.log.append(now)
        reset = self.log[0 if self.oldest else -1] + 60.0
        return accepted, ServerQuota(self.limit, self.limit - len(self.log), math.ceil(reset - now))


class FixedServer:
    """Counts fixed minutes."""

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit
        self.minute = -1.0
        self.count = 0

    def hit(self, now: float) -> tuple[bool, ServerQuota]:
        minute = (now + 43.0) // 60.0
        if minute != self.minute:
            self.minute, self.count = minute, 0
        accepted = self.count < self.limit
        self.count += accepted
        reset = math.ceil((minute + 1) * 60.0 - 43.0 - now)
        return accepted, ServerQuota(self.limit, self.limit - self.count, reset)


@attrs.define
class HintedServer:
    """A server as no page of the vendor's says: a 429 counts and has no quota headers, nor a Retry-After, and
    the reset is always a minute ahead."""

    server: SlidingServer | FixedServer

    def hit(self, now: float) -> tuple[bool, ServerQuota]:
        accepted, quota = self.server.hit(now)
        if accepted:
            return True, quota._replace(resets_in=60.0)
        if isinstance(self.server, SlidingServer):
            self.server.log.append(now)
        return False, ServerQuota(None, None, None)


@attrs.define
class SilentServer:
    """A server without quota headers. It throttles more than ``per_second`` requests in a second too."""

    server: SlidingServer | FixedServer
    per_second: int | None = None
    second: deque[float] = attrs.field(factory=deque)

    def hit(self, now: float) -> tuple[bool, ServerQuota]:
        while self.second and self.second[0] <= now - 1.0:
            self.second.popleft()
        accepted = self.per_second is None or len(self.second) < self.per_second
        if accepted:
            accepted, _ = self.server.hit(now)
        if accepted:
            self.second.append(now)
        return accepted, ServerQuota(None, None, None)


@attrs.define
class Run:
    accepted: list[float] = attrs.field(factory=list)
    throttled: int = 0
    others: int = 0

    def per_minute(self, start: float, end: float) -> float:
        """Our accepted requests a minute in that time."""
        return 60.0 * sum(start <= at < end for at in self.accepted) / (end - start)

    def share(self, start: float, end: float) -> float:
        """Our accepted requests in that time, divided by what the others left of 100 a minute."""
        mine = sum(start <= at < end for at in self.accepted)
        return mine / ((end - start) / 60.0 * 100.0 - self.others)


def simulate(
    server: Server, others: list[float], *, seconds: float, latency: Callable[[], float], reads: bool = False
) -> Run:
    """Use all of the quota that we can get, while other clients send requests at the given times."""
    window, run, now = SlidingWindow(100), Run(), 0.0
    events: list[tuple[float, int, str, Any]] = [(at, n, "other", None) for n, at in enumerate(others)]
    heapq.heapify(events)

    def later(what: str, data: Any) -> None:
        heapq.heappush(events, (now + latency() / 2, len(events) + 10**6, what, data))

    while now < seconds:
        free_at = window.earliest(now)
        if free_at <= now:
            permit = window.take(now)
            window.start_read(permit, now) if reads else window.mark_sent(permit, now)
            later("arrives", (permit, now))
        elif events and events[0][0] <= free_at:
            now, _, what, data = heapq.heappop(events)
            if what == "other":
                run.others += server.hit(now)[0]
            elif what == "arrives":
                later("answered", (*data, *server.hit(now)))
            else:
                permit, sent_at, accepted, quota = data
                window.observe(now, quota, sent_at)
                if accepted:
                    window.mark_accepted(permit, now)
                    run.accepted.append(now)
                else:
                    run.throttled += 1
                    window.pause(now, None, permit)
                window.end(permit, now)
        else:
            now = free_at
    return run


def steady(per_minute: float, until: float) -> list[float]:
    return [n * 60.0 / per_minute for n in range(int(until * per_minute / 60.0))]


def at_random(per_minute: float, until: float, seed: int) -> list[float]:
    dice, times = random.Random(seed), [0.0]
    while times[-1] < until:
        times.append(times[-1] + dice.expovariate(per_minute / 60.0))
    return times[:-1]
