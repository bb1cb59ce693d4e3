"""The duration of an estimate against that of the same batch, run in virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from random import Random
from statistics import NormalDist

import pytest
from session_kit import made, on_space

from hoox_async import BatchItem, BatchRunner, ImageAvatar, LookEdit, PromptAvatar, Request
from hoox_async._core.forecast import PlannedLook, makespan
from hoox_async.sandbox import Space

Given = list[Request | BatchItem]
IMAGE = "https://media.example/a.jpg"


def edits(count: int, avatars: int) -> Callable[[Space], Given]:
    def make(space: Space) -> Given:
        refs = [made(space) for _ in range(avatars)]
        return [LookEdit(refs[n % avatars], f"scene {n}") for n in range(count)]

    return make


def creations(count: int) -> Callable[[Space], Given]:
    return lambda _: [PromptAvatar(f"host {n}") for n in range(count)]


def images(count: int) -> Callable[[Space], Given]:
    return lambda _: [ImageAvatar([f"{IMAGE}?{n}"]) for n in range(count)]


def chains(avatars: int, looks: int) -> Callable[[Space], Given]:
    """New avatars, each look made from the one before."""

    def make(_: Space) -> Given:
        given: Given = [BatchItem(f"{n}-0", PromptAvatar(f"host {n}")) for n in range(avatars)]
        for place in range(1, looks):
            given += [
                BatchItem(f"{n}-{place}", LookEdit(f"{n}-{place - 1}", f"scene {place}"))
                for n in range(avatars)
            ]
        return given

    return make


def durations(count: int, seed: int) -> list[float]:
    """Durations that follow the expected distribution, evenly spread over it and shuffled."""
    shares = [(n + 0.5) / count for n in range(count)]
    Random(seed).shuffle(shares)
    return [40.0 * math.exp(0.55 * NormalDist().inv_cdf(share)) for share in shares]


SHAPES = [
    ("edits", edits(80, 8), 400, 100),
    ("edits of one avatar", edits(100, 1), 400, 100),
    ("few edits", edits(20, 4), 400, 100),
    ("new avatars", creations(60), 400, 100),
    ("avatars from images", images(100), 400, 100),
    ("ten in flight", edits(60, 6), 10, 100),
    ("a larger quota", edits(60, 6), 400, 600),
    ("chains", chains(12, 4), 400, 100),
]


@pytest.mark.virtual_time
@pytest.mark.parametrize(("make", "in_flight", "rate"), [s[1:] for s in SHAPES], ids=[s[0] for s in SHAPES])
async def test_an_estimate_is_what_the_batch_takes(
    make: Callable[[Space], Given], in_flight: int, rate: int
) -> None:
    """Where looks take as long as is expected, it is within 15 %: on average over two orders of their
    durations.
    """
    estimated, took = 0.0, 0.0
    loop = asyncio.get_running_loop()
    for seed in range(2):
        drawn: list[float] = []
        space = Space(rng=Random(seed), requests_per_minute=rate, duration=lambda n, _, d=drawn: d[n])  # type: ignore[misc]
        given = make(space)
        drawn += durations(len(given), seed)
        async with on_space(space, transport={"latency": 0.2}, requests_per_minute=rate) as (session, _):
            runner = BatchRunner(session, max_in_flight=in_flight)
            estimated += (await runner.estimate(given)).duration
            began = loop.time()
            report = await runner.run(given)
            took += loop.time() - began
            assert len(report.ready) == len(given)
    assert estimated == pytest.approx(took, rel=0.15)


@pytest.mark.virtual_time
async def test_an_estimate_goes_by_the_durations_that_the_session_has_seen() -> None:
    """After looks that took 300 s each, a look is expected to take about that long."""
    space = Space(rng=Random(1), requests_per_minute=300, duration=lambda *_: 300.0)
    async with on_space(space, requests_per_minute=300) as (session, _):
        runner = BatchRunner(session)
        refs = [made(space) for _ in range(30)]
        before = (await runner.estimate([LookEdit(refs[0], "next")])).duration
        await runner.run([LookEdit(ref, "a scene") for ref in refs])
        after = (await runner.estimate([LookEdit(refs[0], "next")])).duration
    assert before < 100 < 200 < after < 600


def constant(kind: object, spreads: float) -> float:
    return 40.0


def test_with_webhooks_no_status_requests_are_counted() -> None:
    """With webhooks a hundred looks take 99 intervals and the last look's time, without status requests."""
    looks = [PlannedLook(str(n), "edit", None, n, expects_webhook=True) for n in range(100)]
    assert makespan(looks, constant, interval=0.6, max_in_flight=400) == pytest.approx(99 * 0.6 + 40)


def test_a_cycle_or_an_empty_batch_takes_no_time() -> None:
    """The estimate is 0 for an empty batch and for looks whose sources form a cycle."""
    cycle = [PlannedLook("a", "edit", "b", None), PlannedLook("b", "edit", "a", None)]
    assert makespan(cycle, constant, interval=0.6, max_in_flight=400) == 0.0
    assert makespan([], constant, interval=0.6, max_in_flight=400) == 0.0


def test_a_source_outside_of_the_batch_is_there_already() -> None:
    """A look whose source is outside of the batch does not wait for it."""
    one = [PlannedLook("a", "edit", "known", None, expects_webhook=True)]
    assert makespan(one, constant, interval=0.6, max_in_flight=1) == pytest.approx(40)
