"""Lost webhook deliveries, for `quota.py`: how late their looks are known, and what finding them costs."""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

from _worlds import LATENCY, SIGMA

from hoox_async import BatchRunner, HooxSession, ImageAvatar, LookEdit, LookRef, OutcomeState
from hoox_async.sandbox import DeliveryOptions, InProcessTransport, Space
from hoox_async.testing import VirtualTimeLoop
from hoox_async.webhooks import WebhookHub


class LostCase(NamedTuple):
    """A batch of edits with webhooks, of which a share is never delivered. Times in seconds."""

    name: str
    edits: int
    avatars: int
    median: float
    sigma: float
    lost: float
    requests_per_minute: int = 100


class Found(NamedTuple):
    """What one run showed. Lags are from a look's being done to its being known."""

    took: float
    bound: float
    lost: int
    mean_lag: float
    within_15: float
    """The share of lost looks known within 15 s."""
    status: float
    """Status requests a look."""


CASES = (
    LostCase("80 looks of 1.5 s, 6,000 requests a minute, all delivered", 80, 4, 1.5, 0.0, 0.0, 6_000),
    LostCase("80 looks of 1.5 s, 6,000 requests a minute, 10 % lost", 80, 4, 1.5, 0.0, 0.1, 6_000),
    LostCase("80 looks of 1.5 s of 80 avatars, 6,000 a minute, 10 % lost", 80, 80, 1.5, 0.0, 0.1, 6_000),
    LostCase("1,000 edits of 20 avatars, all delivered", 1_000, 20, 40.0, SIGMA, 0.0),
    LostCase("1,000 edits of 20 avatars, 10 % lost", 1_000, 20, 40.0, SIGMA, 0.1),
    LostCase("1,000 edits of 20 avatars, 50 % lost", 1_000, 20, 40.0, SIGMA, 0.5),
    LostCase("1,000 edits of 20 avatars, all lost", 1_000, 20, 40.0, SIGMA, 1.0),
    LostCase("1,000 edits of 1,000 avatars, 10 % lost", 1_000, 1_000, 40.0, SIGMA, 0.1),
)


def run_lost(case: LostCase, seed: int) -> Found:
    """One run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_run(case, seed))


async def _run(case: LostCase, seed: int) -> Found:
    rng = random.Random(seed)
    times = [rng.lognormvariate(math.log(case.median), case.sigma) for _ in range(case.edits)]

    def duration(_: int, body: Mapping[str, Any]) -> float:
        text = str(body.get("prompt", ""))
        return times[int(text.split()[1])] if text.startswith("item ") else 0.0

    space = Space(rng=random.Random(seed), requests_per_minute=case.requests_per_minute, duration=duration)
    avatars = await _avatars(space, case.avatars, case.requests_per_minute)
    await asyncio.sleep(130)  # until the quota is whole again
    hub = WebhookHub("https://example.com/hooks", secret="a benchmark's own secret")
    delivered: set[str] = set()

    async def deliver(url: str, body: Mapping[str, Any]) -> int:
        delivered.add(str(body["look_id"]))
        return await hub.handle(url.rpartition("/")[2], json.dumps(body).encode())

    transport = InProcessTransport(
        space,
        latency=LATENCY,
        connect=0.0,
        deliver=deliver,
        deliveries=DeliveryOptions(lose=case.lost, delay=0.2),
    )
    loop = asyncio.get_running_loop()
    started, before, lags = loop.time(), len(space.requests), {}
    requests = [LookEdit(avatars[i % len(avatars)], f"item {i}") for i in range(case.edits)]
    async with HooxSession(
        space.api_key,
        transport=transport,
        webhooks=hub,
        requests_per_minute=case.requests_per_minute,
    ) as session:
        async for outcome in BatchRunner(session).stream(requests):
            assert outcome.state is OutcomeState.READY, outcome
            assert outcome.ref is not None
            done = space.done_at(outcome.ref)
            assert done is not None
            lags[outcome.ref.look_id] = loop.time() - done
        took = loop.time() - started
    late = [lag for look_id, lag in lags.items() if look_id not in delivered]
    asked = sum(r.endpoint in ("status", "avatar") for r in space.requests[before:])
    gap = 60.0 / case.requests_per_minute
    return Found(
        took=took,
        bound=max(gap * i + seconds for i, seconds in enumerate(times)),
        lost=len(late),
        mean_lag=statistics.fmean(late) if late else 0.0,
        within_15=sum(lag <= 15.0 for lag in late) / len(late) if late else 1.0,
        status=asked / case.edits,
    )


class FewCase(NamedTuple):
    """Few looks on an idle quota of 100 requests a minute, each waited for as a web app does.

    ``at_once`` are sent together once all that were sent before are known; three of the kind are known first.
    """

    name: str
    at_once: int
    avatars: int
    median: float
    lost: float


class FoundFew(NamedTuple):
    """What one run showed of the looks from the fourth on. Lags are in seconds."""

    lags: list[float]
    status: float
    """Status requests a look."""


FEW = (
    FewCase("one after the other, all lost", 1, 1, 40.0, 1.0),
    FewCase("one after the other, all lost, of 120 s", 1, 1, 120.0, 1.0),
    FewCase("one after the other, all lost, of 5 s", 1, 1, 5.0, 1.0),
    FewCase("one after the other, a tenth lost", 1, 1, 40.0, 0.1),
    FewCase("ten at once, of one avatar, all lost", 10, 1, 40.0, 1.0),
    FewCase("ten at once, of ten avatars, all lost", 10, 10, 40.0, 1.0),
    FewCase("one after the other, all delivered", 1, 1, 40.0, 0.0),
    FewCase("ten at once, of ten avatars, all delivered", 10, 10, 40.0, 0.0),
)
_KNOWN_FIRST, _FEW_LOOKS = 3, 20


def run_few(case: FewCase, seed: int) -> FoundFew:
    """One run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_run_few(case, seed))


async def _run_few(case: FewCase, seed: int) -> FoundFew:
    rng = random.Random(seed)
    space = Space(
        rng=random.Random(seed),
        requests_per_minute=100,
        duration=lambda _, __: rng.lognormvariate(math.log(case.median), SIGMA),
    )
    avatars = await _avatars(space, case.avatars, 100)
    hub = WebhookHub("https://example.com/hooks", secret="a benchmark's own secret")

    async def deliver(url: str, body: Mapping[str, Any]) -> int:
        return await hub.handle(url.rpartition("/")[2], json.dumps(body).encode())

    deliveries = DeliveryOptions(lose=case.lost, delay=0.2)
    transport = InProcessTransport(
        space, latency=LATENCY, connect=0.0, deliver=deliver, deliveries=deliveries, seed=seed
    )
    async with HooxSession(space.api_key, transport=transport, webhooks=hub) as session:

        async def lag_of(number: int) -> float:
            look = await session.run(LookEdit(avatars[number % len(avatars)], f"item {number}"))
            done = space.done_at(look.ref)
            assert done is not None
            return asyncio.get_running_loop().time() - done

        for number in range(_KNOWN_FIRST):
            await lag_of(number)
        before, lags = len(space.requests), list[float]()
        for first in range(0, _FEW_LOOKS, case.at_once):
            lags += await asyncio.gather(*(lag_of(first + i) for i in range(case.at_once)))
    asked = sum(r.endpoint in ("status", "avatar") for r in space.requests[before:])
    return FoundFew(lags, asked / len(lags))


async def _avatars(space: Space, count: int, limit: int) -> list[LookRef]:
    refs = []
    transport = InProcessTransport(space, latency=LATENCY, connect=0.0)
    async with HooxSession(space.api_key, transport=transport, requests_per_minute=limit) as session:
        for number in range(count):
            job = await session.submit(ImageAvatar([f"https://example.com/{number}.jpg"]))
            refs.append(job.ref)
    return refs
