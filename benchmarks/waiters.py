"""What a waiting look costs: bytes, and microseconds for each decision which request comes next.

    python benchmarks/waiters.py

``bytes a job``: the real `LookJob` of an accepted look, its waiter's future and the scheduler's share; beside
it the same where another process polls it, and the coroutine that waits. ``bytes a look``: the ref with its
ids, a future and the scheduler's share. ``decide``: `due` and `take`, busy and idle in turn, the median of
many, their mean and the slowest; ``group answer``: processing the answer about a whole avatar. With 50 looks
an avatar, with one, and all of one. Python's garbage collection is off while decisions are timed: with this
many objects it takes longer than any of them.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import sys
import time
import tracemalloc
from typing import NamedTuple

from hoox_async._api.models import Avatar, Look, LookDetails, LookRef, LookStatus
from hoox_async._api.requests import LookEdit
from hoox_async._core.intents.intent import Intent, IntentState
from hoox_async._core.polling import PollKind, PollRequest, PollScheduler
from hoox_async._core.settings import Timeouts
from hoox_async._io.clock import Clock
from hoox_async._io.hooks import Hooks
from hoox_async._io.ledger.local_ledger import MemoryLedger
from hoox_async._io.protocols import PollDuty
from hoox_async._io.tasks import TaskSet
from hoox_async._io.transport import HttpTransport
from hoox_async._session.api_answers import ApiAnswers
from hoox_async._session.intents import Intents
from hoox_async._session.jobs import JobRegistry
from hoox_async._session.rate_limiter import RateLimiter
from hoox_async._session.reads import Reads

DECISIONS = 300


class Row(NamedTuple):
    """One line of the table. Times are in microseconds."""

    looks: int
    avatars: int
    bytes_all: float
    bytes_watch: float
    add: float
    decide: float
    mean: float
    slowest: float
    answer: float


def fill(
    looks: int, avatars: int, loop: asyncio.AbstractEventLoop
) -> tuple[PollScheduler, list[object], Row]:
    """A scheduler of that many looks, accepted at 100 a minute or, if that takes long, within ten minutes."""
    rng = random.Random(1)
    gap = min(0.6, 600.0 / looks)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    ids = [f"avtr_{number:024x}" for number in range(avatars)]
    refs = [LookRef(ids[i % avatars], f"look_{rng.getrandbits(96):024x}") for i in range(looks)]
    futures = [loop.create_future() for _ in refs]
    with_refs = tracemalloc.get_traced_memory()[0]
    scheduler = PollScheduler()
    for i, ref in enumerate(refs):
        scheduler.add(ref, ("edit", "2K"), gap * i, gap * i)
    scheduler.due(gap * looks, busy=True)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    timed = PollScheduler()
    started = time.perf_counter()
    for i, ref in enumerate(refs):
        timed.add(ref, ("edit", "2K"), gap * i, gap * i)
    timed.due(gap * looks, busy=True)
    add = (time.perf_counter() - started) / looks * 1e6
    row = Row(looks, avatars, (after - before) / looks, (after - with_refs) / looks, add, 0, 0, 0, 0)
    return timed, [refs, futures], row


def registry_of(loop: asyncio.AbstractEventLoop, duty: PollDuty) -> JobRegistry:
    """The registry of jobs of a session that sends nothing, and has this duty."""
    clock, timeouts, tasks, hooks, store = Clock(loop), Timeouts(), TaskSet(), Hooks(), MemoryLedger()
    limiter = RateLimiter(clock, 100)
    answers = ApiAnswers(clock=clock, store=store, rate_limiter=limiter, hooks=hooks)
    reads = Reads(
        clock=clock,
        store=store,
        rate_limiter=limiter,
        transport=HttpTransport("http://127.0.0.1:1", "unused", timeouts),
        hooks=hooks,
        api_answers=answers,
        tasks=tasks,
    )
    registry = JobRegistry(
        clock=clock,
        store=store,
        intents=Intents(store, clock, hooks),
        rate_limiter=limiter,
        hooks=hooks,
        api_answers=answers,
        tasks=tasks,
        reads=reads,
        scheduler=PollScheduler(),
        default_timeout=timeouts.wait,
        has_webhooks=False,
        polls_all=True,
    )
    registry.set_duty(duty)
    return registry


async def job_bytes(looks: int, avatars: int, duty: PollDuty) -> tuple[float, float]:
    """Bytes of a job that is waited for (job, future, scheduler entry), and of its waiter's coroutine."""
    loop = asyncio.get_running_loop()
    registry, now = registry_of(loop, duty), Clock(loop).utc()
    refs = [LookRef(f"avtr_{i % avatars:024x}", f"look_{i:024x}") for i in range(looks)]
    request = LookEdit(refs[0], "podcast scene")
    intents = [
        Intent(str(i), True, request, "", now, state=IntentState.ACCEPTED, ref=ref, accepted_at=now)
        for i, ref in enumerate(refs)
    ]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    jobs = [registry.job_of(intent) for intent in intents]
    waits = [job._next_change() for job in jobs]
    coroutines = sum(sys.getsizeof(wait) for wait in waits)
    for wait in waits:
        wait.send(None)
    all_bytes = tracemalloc.get_traced_memory()[0] - before - 2 * sys.getsizeof(waits)
    tracemalloc.stop()
    for wait in waits:
        wait.close()
    return (all_bytes - coroutines) / looks, coroutines / looks


def answer(
    scheduler: PollScheduler, request: PollRequest, by_avatar: dict[str, list[LookRef]], now: float
) -> None:
    """Answer the request: no look is done yet."""
    if request.kind is PollKind.STATUS:
        ref = LookRef(request.avatar_id, request.look_id or "")
        scheduler.answered_look(request, Look(ref, LookStatus.PENDING), now)
    else:
        looks = tuple(LookDetails(ref, LookStatus.PENDING) for ref in by_avatar[request.avatar_id])
        avatar = Avatar(request.avatar_id, looks=looks)
        started = time.perf_counter()
        scheduler.answered_avatar(request, avatar, now)
        ANSWERS.append(time.perf_counter() - started)


ANSWERS: list[float] = []


def measure(looks: int, avatars: int) -> Row:
    """One line of the table."""
    loop = asyncio.new_event_loop()
    scheduler, kept, row = fill(looks, avatars, loop)
    refs: list[LookRef] = kept[0]  # type: ignore[assignment]
    by_avatar: dict[str, list[LookRef]] = {}
    for ref in refs:
        by_avatar.setdefault(ref.avatar_id, []).append(ref)
    now = min(0.6, 600.0 / looks) * looks
    scheduler.due(now, busy=False)
    times = []
    ANSWERS.clear()
    gc.collect()
    gc.disable()
    for turn in range(DECISIONS):
        now += 0.6
        started = time.perf_counter()
        scheduler.due(now, busy=bool(turn % 2))
        request = scheduler.take(now, busy=bool(turn % 2))
        times.append(time.perf_counter() - started)
        if request is not None:
            answer(scheduler, request, by_avatar, now + 0.3)
    gc.enable()
    loop.close()
    told = statistics.fmean(ANSWERS) * 1e6 if ANSWERS else 0.0
    return row._replace(
        decide=statistics.median(times) * 1e6,
        mean=statistics.fmean(times) * 1e6,
        slowest=max(times) * 1e6,
        answer=told,
    )


def main() -> None:
    """Print the table."""
    print(f"Python {sys.version.split()[0]}")
    print(f"{'looks':>15} {'avatars':>15} {'bytes a job':>15} {'polled by others':>17} {'its coroutine':>15}")
    for looks, avatars in ((1_000, 20), (100_000, 2_000), (100_000, 20), (100_000, 100_000)):
        job, coroutine = asyncio.run(job_bytes(looks, avatars, PollDuty.ALL))
        others, _ = asyncio.run(job_bytes(looks, avatars, PollDuty.OTHERS))
        print(f"{looks:15,} {avatars:15,} {job:15,.0f} {others:17,.0f} {coroutine:15,.0f}", flush=True)
    print("add, decide, mean, slowest and group answer in µs")
    names = (
        "looks",
        "avatars",
        "bytes a look",
        "of it scheduler",
        "add",
        "decide",
        "mean",
        "slowest",
        "group answer",
    )
    print(" ".join(f"{name:>15}" for name in names))
    for looks in (1_000, 10_000, 100_000):
        for avatars in (max(1, looks // 50), looks, 1):
            row = measure(looks, avatars)
            print(" ".join(f"{value:15,.0f}" for value in row), flush=True)


if __name__ == "__main__":
    main()
