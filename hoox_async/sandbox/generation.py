"""When a fake look is done, and how it ends."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Literal

from .workspace_records import FakeLook

Duration = Callable[[int, Mapping[str, Any]], float]
Ending = Literal["ready", "failed", "pending"]


class Generation:
    """Settles looks: in log-normal time, by a callable's word, or by hand.

    ``median`` (seconds) and ``sigma`` shape the time, ``duration(index, body)`` replaces it (seconds, by the
    number of the generated look from 0 and the request's JSON); both are divided by ``speed``.
    ``failures`` is the share of looks that fail; a prompt with ``fail_marker`` in it always does.
    """

    def __init__(
        self,
        rng: Random,
        *,
        median: float,
        sigma: float,
        speed: float,
        failures: float,
        fail_marker: str,
        duration: Duration | None,
    ) -> None:
        self._rng = rng
        self._mu = math.log(median)
        self._sigma = sigma
        self._speed = speed
        self._failures = failures
        self._marker = fail_marker
        self._duration = duration
        self._count = 0
        self._held_from: float | None = None
        self._telling: list[tuple[float, int, FakeLook]] = []
        self._pushed = 0
        self._overdue: list[FakeLook] = []
        self._told: set[str] = set()

    def start(self, look: FakeLook, body: Mapping[str, Any], now: float) -> None:
        """Decide when the look is done and how it ends."""
        drawn = self._rng.lognormvariate(self._mu, self._sigma)
        unlucky = self._rng.random() < self._failures
        seconds = drawn if self._duration is None else self._duration(self._count, body)
        self._count += 1
        look.done_at = now + seconds / self._speed
        look.failed = unlucky or self._marker in (look.prompt or "")
        self.watch(look)

    def word(self, look: FakeLook, now: float) -> str:
        """The look's state: pending, processing, ready or error."""
        if self._settled(look, now):
            return "error" if look.failed else "ready"
        started = now - look.created_at
        return "processing" if started > 0.2 * (look.done_at - look.created_at) else "pending"

    def hold(self, now: float) -> None:
        """From now on no look settles of itself."""
        if self._held_from is None:
            self._held_from = now

    def release(self, looks: Iterable[FakeLook], now: float) -> None:
        """Looks settle of themselves again; those that would have meanwhile do so now."""
        if self._held_from is None:
            return
        for look in looks:
            if self._held_from < look.done_at < now and not look.by_hand:
                look.done_at = now
        self._held_from = None
        for look in self._overdue:
            self._push(look)
        self._overdue.clear()

    def settle(self, look: FakeLook, ending: Ending, now: float) -> None:
        """End the look now; "pending" takes it back to the start, until it is settled again."""
        look.by_hand = True
        look.failed = ending == "failed"
        look.done_at = math.inf if ending == "pending" else now
        self.watch(look)

    def settle_silently(self, look: FakeLook, now: float) -> None:
        """Let the look end now as it would have; whoever calls this tells of it."""
        self._told.add(look.id)
        self.settle(look, "failed" if look.failed else "ready", now)

    def watch(self, look: FakeLook) -> None:
        """Tell of the look once, if its request asked for a webhook and when it settles."""
        if look.webhook_url is not None and look.done_at != math.inf:
            self._push(look)

    def next_told(self) -> float | None:
        """When `told` may have something, in seconds of the loop; None for never."""
        return self._telling[0][0] if self._telling else None

    def told(self, now: float) -> list[FakeLook]:
        """The looks with a webhook that settled since the last call."""
        settled = []
        while self._telling and self._telling[0][0] <= now:
            look = heapq.heappop(self._telling)[2]
            if look.id in self._told:
                continue
            if self._settled(look, now):
                self._told.add(look.id)
                settled.append(look)
            elif self._held_from is not None:
                self._overdue.append(look)
        return settled

    def _settled(self, look: FakeLook, now: float) -> bool:
        if look.done_at > now:
            return False
        return look.by_hand or self._held_from is None or look.done_at <= self._held_from

    def _push(self, look: FakeLook) -> None:
        self._pushed += 1
        heapq.heappush(self._telling, (look.done_at, self._pushed, look))
