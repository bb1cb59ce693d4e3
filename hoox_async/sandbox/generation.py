"""Decides when a fake look settles, and how."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Literal, get_args

from .._checks import argument, option
from .avatars import FakeLook

Duration = Callable[[int, Mapping[str, Any]], float]
Ending = Literal["ready", "failed", "pending"]


class Generation:
    """Settles looks after a random time, after the time that a callable gives, or on demand.

    The random time is log-normal with ``median`` (seconds) and ``sigma``. ``duration(index, body)`` replaces
    it: it gets the number of the generated look, from 0, and the request's JSON, and returns seconds. Both
    times are divided by ``speed``.
    ``failures`` is the share of looks that fail; a prompt that contains ``fail_marker`` always fails.

    It also keeps a heap of the looks whose webhook is still to be sent: `take_settled` empties it.
    Raises `ConfigurationError` for an option that is not usable.
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
        option.number("median", median, above=True)
        option.number("sigma", sigma)
        option.number("speed", speed, above=True)
        option.number("failures", failures, most=1.0)
        if duration is not None:
            option.function("duration", duration, "a function of a look's number and its request, or None")
        option.instance("fail_marker", fail_marker, str, "a text")
        self._rng = rng
        self._mu = math.log(median)
        self._sigma = sigma
        self._speed = speed
        self._failures = failures
        self._marker = fail_marker
        self._duration = duration
        self._count = 0
        self._held_from: float | None = None
        self._awaiting_webhook: list[tuple[float, int, FakeLook]] = []
        self._scheduled = 0
        self._overdue: list[FakeLook] = []
        self._notified: set[str] = set()

    def start(self, look: FakeLook, body: Mapping[str, Any], now: float) -> None:
        """Decide when the look settles and whether it fails."""
        drawn = self._rng.lognormvariate(self._mu, self._sigma)
        drawn_to_fail = self._rng.random() < self._failures
        seconds = drawn if self._duration is None else self._duration(self._count, body)
        self._count += 1
        look.done_at = now + seconds / self._speed
        look.failed = drawn_to_fail or self._marker in (look.prompt or "")
        self.schedule_webhook(look)

    def state(self, look: FakeLook, now: float) -> str:
        """The look's state: pending, processing, ready or error."""
        if self._settled(look, now):
            return "error" if look.failed else "ready"
        started = now - look.created_at
        return "processing" if started > 0.2 * (look.done_at - look.created_at) else "pending"

    def hold(self, now: float) -> None:
        """Let no look settle by the passing of time, from now on."""
        if self._held_from is None:
            self._held_from = now

    def release(self, looks: Iterable[FakeLook], now: float) -> None:
        """Undo `hold`. Looks whose time came in between settle now."""
        if self._held_from is None:
            return
        for look in looks:
            if self._held_from < look.done_at < now and not look.settled_on_demand:
                look.done_at = now
        self._held_from = None
        for look in self._overdue:
            self._push(look)
        self._overdue.clear()

    def settle(self, look: FakeLook, ending: Ending, now: float) -> None:
        """Settle the look now. "pending" makes it unsettled again, until the next call.

        Raises `InvalidRequest` for another word.
        """
        argument.choice("ending", ending, get_args(Ending))
        look.settled_on_demand = True
        look.failed = ending == "failed"
        look.done_at = math.inf if ending == "pending" else now
        self.schedule_webhook(look)

    def settle_without_webhook(self, look: FakeLook, now: float) -> None:
        """Settle the look now, in the way that was decided for it. The caller sends its webhook."""
        self._notified.add(look.id)
        self.settle(look, "failed" if look.failed else "ready", now)

    def schedule_webhook(self, look: FakeLook) -> None:
        """Let `take_settled` return the look when it settles, if its request named a webhook URL."""
        if look.webhook_url is not None and look.done_at != math.inf:
            self._push(look)

    def next_settling(self) -> float | None:
        """The loop's time at which `take_settled` may return a look; None if there is no such time yet."""
        return self._awaiting_webhook[0][0] if self._awaiting_webhook else None

    def take_settled(self, now: float) -> list[FakeLook]:
        """The looks that settled since the last call and whose webhook is to be sent now."""
        settled = []
        while self._awaiting_webhook and self._awaiting_webhook[0][0] <= now:
            look = heapq.heappop(self._awaiting_webhook)[2]
            if look.id in self._notified:
                continue
            if self._settled(look, now):
                self._notified.add(look.id)
                settled.append(look)
            elif self._held_from is not None:
                self._overdue.append(look)
        return settled

    def _settled(self, look: FakeLook, now: float) -> bool:
        if look.done_at > now:
            return False
        return look.settled_on_demand or self._held_from is None or look.done_at <= self._held_from

    def _push(self, look: FakeLook) -> None:
        self._scheduled += 1
        heapq.heappush(self._awaiting_webhook, (look.done_at, self._scheduled, look))
