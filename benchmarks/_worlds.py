"""A fake workspace in virtual time for `quota.py`: each item's look takes a time that is fixed beforehand."""

from __future__ import annotations

import asyncio
import heapq
import json
import math
import random
import re
import statistics
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from hoox_async import BatchRunner, HooxSession, ImageAvatar, LookEdit, LookRef, OutcomeState, PromptAvatar
from hoox_async._api.endpoints import look_request
from hoox_async.sandbox import DeliveryOptions, InProcessTransport, Space
from hoox_async.testing import VirtualTimeLoop
from hoox_async.webhooks import WebhookHub

LATENCY = 0.3
SIGMA = 0.5


class Looks(Enum):
    """How long looks take. Log-normal by itself."""

    USUAL = "usual"
    BIMODAL = "bimodal"
    """Median 20 s, or 90 s for three tenths of them; sigma 0.25."""
    DRIFTING = "drifting"
    """Half as long as usual at the start, twice as long after an hour."""
    LOADED = "loaded"
    """Longer beside others: by 1 % of the usual time for each that is being made, half of it alone."""
    STUCK = "stuck"
    """1 % of them take ten minutes more."""


class Scenario(NamedTuple):
    """What is run: so many edits of so many avatars, and what disturbs it."""

    name: str
    edits: int = 1_000
    avatars: int = 20
    median: float = 40.0
    webhooks: bool = False
    lost: float = 0.0
    others: float = 0.0
    """The share of the quota that a second client takes."""
    looks: Looks = Looks.USUAL
    sigma: float = SIGMA
    limit: int = 100
    """The quota, in requests a minute."""


class Making:
    """How long each look takes: fixed beforehand, but for what depends on the moment of its sending."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        rng = random.Random(seed)
        self._looks = scenario.looks
        self._times = [
            rng.lognormvariate(math.log(scenario.median), scenario.sigma) for _ in range(scenario.edits)
        ]
        self.stuck: set[int] = set()
        if self._looks is Looks.BIMODAL:
            self._times = [
                rng.lognormvariate(math.log(90.0 if rng.random() < 0.3 else 20.0), 0.25) for _ in self._times
            ]
        elif self._looks is Looks.STUCK:
            self.stuck = {item for item in range(scenario.edits) if rng.random() < 0.01}

    def seconds(self, item: int, at: float, running: int) -> float:
        """For a look that is accepted ``at`` seconds after the start, while so many others are made."""
        took = self._times[item]
        if item in self.stuck:
            return took + 600.0
        if self._looks is Looks.DRIFTING:
            return took * 0.5 * math.pow(4.0, min(at / 3600.0, 1.0))
        if self._looks is Looks.LOADED:
            return took * (0.5 + running / 100.0)
        return took

    def evenly(self, gap: float) -> list[float]:
        """When the looks would be done if submissions went out evenly and nothing had to be asked for."""
        running: list[float] = []
        done = []
        for item in range(len(self._times)):
            at = gap * item
            done.append(at + self.seconds(item, at, _running(running, at)))
            heapq.heappush(running, done[-1])
        return done


def _running(done_at: list[float], now: float) -> int:
    """How many of a heap of times are still to come. Drops the others."""
    while done_at and done_at[0] <= now:
        heapq.heappop(done_at)
    return len(done_at)


class Result(NamedTuple):
    """What one run showed. Times in seconds; ``done_at`` are when looks were known, from the start."""

    ratio: float
    """Of the looks that do not get stuck, over the bound."""
    requests: float
    lag: float
    p95: float
    most: int
    refused: float
    done_at: tuple[float, ...]
    ideal: tuple[float, ...]
    """When looks would be done if submissions went out evenly and nothing had to be asked for."""
    lost: tuple[float, ...]
    """The lags of the looks whose delivery was lost."""


Client = Callable[["World", list[LookRef]], Awaitable[None]]


class World:
    """One run's workspace, its clock, and what a client reports to it."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.making = Making(scenario, seed)
        self.space = Space(
            rng=random.Random(seed), requests_per_minute=scenario.limit, duration=self._duration
        )
        self.known: dict[int, float] = {}
        self.lags: dict[LookRef, float] = {}
        self.delivered: set[str] = set()
        self._started = 0.0
        self._running: list[float] = []

    def _duration(self, _: int, body: Mapping[str, Any]) -> float:
        found = re.match(r"item (\d+)$", str(body.get("prompt", "")))
        if not found:
            return 0.0
        now = asyncio.get_running_loop().time()
        took = self.making.seconds(int(found[1]), now - self._started, _running(self._running, now))
        heapq.heappush(self._running, now + took)
        return took

    def transport(self, **options: Any) -> InProcessTransport:
        """A way to the workspace."""
        return InProcessTransport(self.space, latency=LATENCY, connect=0.0, **options)

    def saw(self, item: int, ref: LookRef) -> None:
        """A client knows now that the item's look is done."""
        now = asyncio.get_running_loop().time()
        done = self.space.done_at(ref)
        assert done is not None
        self.known[item] = now
        self.lags[ref] = now - done

    async def run(self, client: Client) -> Result:
        """Make the avatars, wait until the quota is whole again, then let the client run."""
        loop = asyncio.get_running_loop()
        avatars = await self._avatars()
        await asyncio.sleep(130)
        started, before = loop.time(), len(self.space.requests)
        self._started = started
        crowd = asyncio.create_task(self._others(avatars[0]))
        try:
            await client(self, avatars)
        finally:
            crowd.cancel()
            await asyncio.wait((crowd,))
        return self._result(started, before)

    async def _avatars(self) -> list[LookRef]:
        refs = []
        async with self.session() as session:
            for number in range(self.scenario.avatars):
                job = await session.submit(ImageAvatar([f"https://example.com/{number}.jpg"]))
                refs.append(job.ref)
        return refs

    def session(self, webhooks: WebhookHub | None = None, **options: Any) -> HooxSession:
        """A session of this library on the workspace."""
        return HooxSession(
            self.space.api_key,
            transport=self.transport(**options),
            webhooks=webhooks,
            requests_per_minute=self.scenario.limit,
        )

    async def _others(self, ref: LookRef) -> None:
        """The second client: status requests at an even pace."""
        if not self.scenario.others:
            return
        transport = self.transport()
        await transport.start()
        while True:
            await transport.send(look_request(ref))
            await asyncio.sleep(60 / (self.scenario.limit * self.scenario.others) - LATENCY)

    def _result(self, started: float, before: int) -> Result:
        records = [r for r in self.space.requests[before:] if r.endpoint != "look"]
        refused = sum(r.status == 429 for r in records)
        evenly = self.making.evenly(60 / self.scenario.limit / (1 - self.scenario.others))
        counted = [item for item in self.known if item not in self.making.stuck]
        assert len(self.known) == self.scenario.edits, "a look was not found"
        lags = sorted(self.lags.values())
        return Result(
            ratio=(max(self.known[item] for item in counted) - started)
            / max(evenly[item] for item in counted),
            requests=len(records) / self.scenario.edits,
            lag=statistics.fmean(lags),
            p95=lags[int(0.95 * len(lags))],
            most=_most_in_a_minute([r.at for r in records if r.status != 429]),
            refused=refused / len(records),
            done_at=tuple(sorted(at - started for at in self.known.values())),
            ideal=tuple(sorted(evenly)),
            lost=tuple(lag for ref, lag in self.lags.items() if ref.look_id not in self.delivered),
        )


def _most_in_a_minute(times: list[float]) -> int:
    most, window = 0, deque[float]()
    for at in times:
        window.append(at)
        while window[0] <= at - 60:
            window.popleft()
        most = max(most, len(window))
    return most


async def ours(world: World, avatars: list[LookRef]) -> None:
    """This library: one session, one runner."""
    scenario = world.scenario
    hub = (
        WebhookHub("https://example.com/hooks", secret="a benchmark's own secret")
        if scenario.webhooks
        else None
    )
    options: dict[str, Any] = {}
    if hub is not None:

        async def deliver(url: str, body: Mapping[str, Any]) -> int:
            world.delivered.add(body["look_id"])
            return await hub.handle(url.rpartition("/")[2], json.dumps(body).encode())

        options = {"deliver": deliver, "deliveries": DeliveryOptions(lose=scenario.lost)}
    requests = [LookEdit(avatars[i % len(avatars)], f"item {i}") for i in range(scenario.edits)]
    async with world.session(hub, **options) as session:
        async for outcome in BatchRunner(session).stream(requests):
            assert outcome.state is OutcomeState.READY, outcome
            assert outcome.ref is not None
            assert isinstance(outcome.request, LookEdit)
            world.saw(int(outcome.request.prompt.split()[1]), outcome.ref)


def run(scenario: Scenario, client: Client, seed: int) -> Result:
    """One run of one client in a world of its own."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(World(scenario, seed).run(client))


class Lone(NamedTuple):
    """What happened to one look alone."""

    seconds: float
    lag: float
    requests: int


def lone(seconds: float) -> Lone:
    """One look that takes so long, in a fresh session that knows nothing of durations."""

    async def go() -> Lone:
        space = Space(requests_per_minute=100, duration=lambda _, __: seconds)
        transport = InProcessTransport(space, latency=LATENCY, connect=0.0)
        async with HooxSession(space.api_key, transport=transport) as session:
            look = await session.run(PromptAvatar("one look"))
            done = space.done_at(look.ref)
            assert done is not None
            lag = asyncio.get_running_loop().time() - done
        return Lone(seconds, lag, sum(r.endpoint != "create" for r in space.requests))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(go())
