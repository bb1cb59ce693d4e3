"""One rule for every accounting of the quota: no server counts more than the limit in any 60 seconds.

`SlidingWindow` serves one process, the SQL functions many, and a copy of those in memory the tests in virtual
time. Each gets the same random histories: permits that are used late or cancelled, reports that come late,
processes that die, and steps of the database's clock. ``QUOTA_HISTORIES=200`` runs more of them.

Two things are taken for granted: a request arrives within the time for which its permit is held, and within
a second where its process dies.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

import attrs
import pytest
from internals_kit import SentPermit, SharedPermits
from shared_permits_kit import MemoryPermits, MemoryQuota
from test_shared_permits import EPOCH, FakeClock, ask, permits_of

from hoox_async._core.quota.sliding_window import SlidingWindow

__all__ = ["ask"]  # a fixture

HISTORIES = int(os.environ.get("QUOTA_HISTORIES", "3"))
STEPS = 400
HOLD = 6.0  # seconds for which a permit may be held
LIMITS = (3, 20, 100)
RESTORED = 70.0  # seconds for which a process that starts again restores what was sent


@attrs.define
class Request:
    """One request: when its headers left, when they arrived, and when the answer came."""

    process: str
    permit: int
    sent_at: float
    arrived_at: float
    answered_at: float


class Quota(Protocol):
    """An accounting of the quota, as the histories use it."""

    can_step: bool

    @property
    def now(self) -> float: ...

    async def open(self) -> None: ...

    async def advance(self, seconds: float) -> None: ...

    async def step(self, seconds: float) -> None: ...

    async def take(self, process: str, limit: int) -> tuple[int, float] | None:
        """A permit and from when it may be used; None if there is none soon."""

    async def sent(self, request: Request) -> None: ...

    async def answered(self, request: Request) -> None: ...

    async def cancel(self, process: str, permit: int) -> None: ...

    async def die(self, process: str, sent: list[Request]) -> None: ...


class WindowQuota:
    """The window of one process, which restores what it sent when it starts again."""

    can_step = False

    def __init__(self) -> None:
        self._now = 1_000.0
        self._window: SlidingWindow | None = None

    @property
    def now(self) -> float:
        return self._now

    async def open(self) -> None: ...

    async def advance(self, seconds: float) -> None:
        self._now += seconds

    async def step(self, seconds: float) -> None:
        raise AssertionError("its clock is never set")

    async def take(self, process: str, limit: int) -> tuple[int, float] | None:
        window = self._window = self._window or SlidingWindow(limit)
        at = window.earliest(self.now)
        if math.isinf(at) or at > self.now + 8.0:
            return None
        self._now = at
        return window.take(at), at

    async def sent(self, request: Request) -> None:
        assert self._window is not None
        self._window.mark_sent(request.permit, request.sent_at)

    async def answered(self, request: Request) -> None:
        assert self._window is not None
        self._window.end(request.permit, self.now)

    async def cancel(self, process: str, permit: int) -> None:
        assert self._window is not None
        self._window.cancel(permit)

    async def die(self, process: str, sent: list[Request]) -> None:
        if self._window is None:
            return
        self._window = SlidingWindow(self._window.limit)
        ages = [self.now - request.sent_at for request in sent if self.now - request.sent_at < RESTORED]
        self._window.restore(self.now, ages)


class PermitsQuota:
    """Permits that several processes take from one place: the database, or the copy in memory."""

    def __init__(self, clock: Any, open_permits: Callable[[str], SharedPermits], *, can_step: bool) -> None:
        self._clock = clock
        self._open = open_permits
        self._permits: dict[str, SharedPermits] = {}
        self.can_step = can_step

    @property
    def now(self) -> float:
        return float(self._clock.now)

    async def open(self) -> None:
        await self._clock.replace()

    async def advance(self, seconds: float) -> None:
        await self._clock.advance(seconds)

    async def step(self, seconds: float) -> None:
        await self._clock.step(seconds)

    def _of(self, process: str) -> SharedPermits:
        return self._permits.setdefault(process, self._open(process))

    async def take(self, process: str, limit: int) -> tuple[int, float] | None:
        got = await self._of(process).reserve(limit, 8.0, HOLD)
        return None if got.permit is None else (got.permit, self.now + got.wait)

    async def sent(self, request: Request) -> None:
        """It is reported with its answer."""

    async def answered(self, request: Request) -> None:
        ago = SentPermit(request.permit, self.now - request.sent_at, self.now - request.arrived_at)
        await self._of(request.process).report([ago], [])

    async def cancel(self, process: str, permit: int) -> None:
        await self._of(process).report([], [permit])

    async def die(self, process: str, sent: list[Request]) -> None:
        self._permits.pop(process, None)


class OwnClock:
    """A clock that only advances."""

    def __init__(self) -> None:
        self.now = EPOCH

    async def replace(self) -> None: ...

    async def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(params=["window", "copy in memory", "PostgreSQL"])
def quota(request: pytest.FixtureRequest) -> Quota:
    """Each accounting of the quota, as yet unused."""
    if request.param == "window":
        return WindowQuota()
    if request.param == "copy in memory":
        clock = OwnClock()
        memory = MemoryQuota(lambda: clock.now)
        return PermitsQuota(clock, lambda process: MemoryPermits(memory, process), can_step=False)
    run = request.getfixturevalue("ask")
    set_clock = FakeClock(run)
    return PermitsQuota(set_clock, lambda process: permits_of(run, process, set_clock), can_step=True)


class History:
    """Random events on one quota, and what arrived at the server."""

    def __init__(self, quota: Quota, rng: random.Random, limit: int) -> None:
        self.quota = quota
        self.limit = limit
        self.arrived: list[float] = []
        self._rng = rng
        self._outstanding: list[Request] = []
        self._sent: list[Request] = []
        self._die_from = rng.choice([0.0, 0.95])  # half of the histories have no deaths, and slower ways
        self._ways = [0.05, 0.05, 0.05, 0.9 if self._die_from else 4.0]
        self._processes = ["a"] if isinstance(quota, WindowQuota) else ["a", "b", "c"]
        self._born = 0

    async def run(self) -> None:
        """Run `STEPS` events, most of them requests."""
        await self.quota.open()
        for _ in range(STEPS):
            await self.quota.advance(self._rng.choice([0.0, 0.0, 0.05, 0.3, 2.0, 15.0]))
            await self._answer_what_is_due()
            chosen = self._rng.random()
            if chosen < 0.02 and self.quota.can_step:
                await self.quota.step(self._rng.choice([-3600.0, -20.0, 20.0, 3600.0]))
            elif self._die_from and chosen > self._die_from:
                await self._kill(self._rng.randrange(len(self._processes)))
            else:
                await self._request(self._rng.choice(self._processes))
        self.arrived += [request.arrived_at for request in self._outstanding]

    async def _request(self, process: str) -> None:
        taken = await self.quota.take(process, self.limit)
        if taken is None:
            return
        permit, usable_at = taken
        way = self._rng.choice(self._ways)
        late = self._rng.choice([0.0, 0.0, 0.01, 1.0, HOLD - way - 0.01])
        await self.quota.advance(max(0.0, usable_at - self.quota.now) + late)
        if self._rng.random() < 0.1:
            await self.quota.cancel(process, permit)
            return
        sent_at = self.quota.now
        request = Request(process, permit, sent_at, sent_at + way, sent_at + way + 0.05)
        await self.quota.sent(request)
        self._outstanding.append(request)
        self._sent.append(request)

    async def _answer_what_is_due(self) -> None:
        """Report answers, some of them late."""
        for request in [one for one in self._outstanding if one.answered_at <= self.quota.now]:
            if self._rng.random() < 0.8:
                self._outstanding.remove(request)
                self.arrived.append(request.arrived_at)
                await self.quota.answered(request)

    async def _kill(self, number: int) -> None:
        """The process ends: what it has sent arrives, and nothing of it is reported any more."""
        process = self._processes[number]
        for request in [one for one in self._outstanding if one.process == process]:
            self._outstanding.remove(request)
            self.arrived.append(request.arrived_at)
        await self.quota.die(process, self._sent)
        self._born += 1
        self._processes[number] = f"{process[0]}{self._born}"


def most_in_a_minute(arrived: list[float]) -> int:
    """The most requests that arrived in any 60 s."""
    arrived = sorted(arrived)
    return max(sum(at <= other < at + 60.0 for other in arrived) for at in arrived)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_no_server_counts_more_than_the_limit_in_any_minute(
    quota: Quota, seed: int, limit: int
) -> None:
    """Whatever happens in whatever order, at most ``limit`` requests arrive in any 60 s; many do arrive."""
    history = History(quota, random.Random(seed), limit)
    began = quota.now
    await history.run()
    minutes = timedelta(seconds=quota.now - began) / timedelta(minutes=1)
    assert most_in_a_minute(history.arrived) <= limit
    assert len(history.arrived) >= min(150.0, 0.5 * limit * minutes), "the quota is not used"
