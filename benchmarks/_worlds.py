"""A fake workspace in virtual time for `quota.py`: each item's look takes a time that is fixed beforehand."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import statistics
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from hoox_async import (
    BatchRunner,
    HooxSession,
    ImageAvatar,
    LookEdit,
    LookRef,
    OutcomeState,
    PromptAvatar,
)
from hoox_async._core.wire import look_request
from hoox_async.sandbox import DeliveryOptions, InProcessTransport, Space
from hoox_async.testing import VirtualTimeLoop
from hoox_async.webhooks import WebhookHub

GAP = 0.6
LATENCY = 0.3
SIGMA = 0.5


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


class Result(NamedTuple):
    """What one run showed. Times in seconds; ``done_at`` are when looks were known, from the start."""

    ratio: float
    requests: float
    lag: float
    p95: float
    most: int
    refused: float
    done_at: tuple[float, ...]
    ideal: tuple[float, ...]
    """When looks would be done if submissions went out evenly and nothing had to be asked for."""


Client = Callable[["World", list[LookRef]], Awaitable[None]]


class World:
    """One run's workspace, its clock, and what a client reports to it."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        rng = random.Random(seed)
        self.times = [rng.lognormvariate(math.log(scenario.median), SIGMA) for _ in range(scenario.edits)]
        self.space = Space(rng=random.Random(seed), requests_per_minute=100, duration=self._duration)
        self.known: dict[int, float] = {}
        self.lags: list[float] = []

    def _duration(self, _: int, body: Mapping[str, Any]) -> float:
        found = re.match(r"item (\d+)$", str(body.get("prompt", "")))
        return self.times[int(found[1])] if found else 0.0

    def transport(self, **options: Any) -> InProcessTransport:
        """A way to the workspace."""
        return InProcessTransport(self.space, latency=LATENCY, connect=0.0, **options)

    def saw(self, item: int, ref: LookRef) -> None:
        """A client knows now that the item's look is done."""
        now = asyncio.get_running_loop().time()
        done = self.space.done_at(ref)
        assert done is not None
        self.known[item] = now
        self.lags.append(now - done)

    async def run(self, client: Client) -> Result:
        """Make the avatars, wait until the quota is whole again, then let the client run."""
        loop = asyncio.get_running_loop()
        avatars = await self._avatars()
        await asyncio.sleep(130)
        started, before = loop.time(), len(self.space.requests)
        crowd = asyncio.create_task(self._others(avatars[0]))
        try:
            await client(self, avatars)
        finally:
            crowd.cancel()
            await asyncio.wait((crowd,))
        return self._result(started, before)

    async def _avatars(self) -> list[LookRef]:
        refs = []
        async with HooxSession(self.space.api_key, transport=self.transport()) as session:
            for number in range(self.scenario.avatars):
                job = await session.submit(ImageAvatar([f"https://example.com/{number}.jpg"]))
                refs.append(job.ref)
        return refs

    async def _others(self, ref: LookRef) -> None:
        """The second client: status requests at an even pace."""
        if not self.scenario.others:
            return
        transport = self.transport()
        await transport.start()
        while True:
            await transport.send(look_request(ref))
            await asyncio.sleep(60 / (100 * self.scenario.others) - LATENCY)

    def _result(self, started: float, before: int) -> Result:
        records = [r for r in self.space.requests[before:] if r.endpoint != "look"]
        refused = sum(r.status == 429 for r in records)
        finished = max(self.known.values()) - started
        gap = GAP / (1 - self.scenario.others)
        ideal = sorted(gap * i + g for i, g in enumerate(self.times))
        assert len(self.known) == self.scenario.edits, "a look was not found"
        lags = sorted(self.lags)
        return Result(
            ratio=finished / ideal[-1],
            requests=len(records) / self.scenario.edits,
            lag=statistics.fmean(lags),
            p95=lags[int(0.95 * len(lags))],
            most=_most_in_a_minute([r.at for r in records if r.status != 429]),
            refused=refused / len(records),
            done_at=tuple(sorted(at - started for at in self.known.values())),
            ideal=tuple(ideal),
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
            return await hub.handle(url.rpartition("/")[2], json.dumps(body).encode())

        options = {"deliver": deliver, "deliveries": DeliveryOptions(lose=scenario.lost)}
    requests = [LookEdit(avatars[i % len(avatars)], f"item {i}") for i in range(scenario.edits)]
    async with HooxSession(
        world.space.api_key, transport=world.transport(**options), webhooks=hub
    ) as session:
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
