"""Whatever happens at the rate limiter, in any order: everybody is served, and the limit is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from hypothesis import given
from hypothesis import strategies as st
from internals_kit import Clock, Permit, RateLimiter, ServerQuota
from rate_limiter_kit import most_in_a_minute

from hoox_async.testing import VirtualTimeLoop

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["caller", "caller", "batch", "batch", "poller", "cancel", "headers", "pause", "wait"]
        ),
        st.floats(0.0, 1.0),
        st.floats(0.0, 1.0),
    ),
    min_size=1,
    max_size=80,
)


@given(steps=STEPS, limit=st.sampled_from([2, 5, 30]))
def test_in_any_order_of_events_everybody_is_served_and_the_limit_is_kept(
    steps: list[tuple[str, float, float]], limit: int
) -> None:
    """Events are arrivals, cancellations, answers with quota headers, and pauses after a 429."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        intervals = runner.run(play(steps, limit))
    assert not intervals or most_in_a_minute(intervals) <= limit


async def play(steps: list[tuple[str, float, float]], limit: int) -> list[tuple[float, float]]:
    """Do the steps and wait for everybody. Returns the intervals in which requests were outstanding."""
    story = Story(limit)
    for what, x, y in steps:
        story.step(what, x, y)
        await asyncio.sleep(x * y * 20.0 if what == "wait" else 0)
    async with asyncio.timeout(60.0 * 2 * (len(steps) + 2)):
        ends = await asyncio.gather(*story.tasks, return_exceptions=True)
    assert all(end is None or task in story.cancelled for task, end in zip(story.tasks, ends, strict=True))
    assert story.rate_limiter.waiting == 0
    assert story.rate_limiter.window.held == 0
    return story.intervals


class Story:
    """One run of the property test: who came, who was cancelled, and when requests were outstanding."""

    def __init__(self, limit: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.rate_limiter = RateLimiter(Clock(self.loop), limit)
        self.intervals: list[tuple[float, float]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.cancelled: set[asyncio.Task[None]] = set()
        self.poller: asyncio.Task[None] | None = None

    def step(self, what: str, x: float, y: float) -> None:
        if what == "caller":
            self.come(self.rate_limiter.acquire(), x, y)
        elif what == "batch":
            free = asyncio.Event()
            self.come(self.rate_limiter.acquire_for_batch(free.is_set), x, y)
            self.loop.call_later(50.0 * y, self.open, free)
        elif what == "poller" and (self.poller is None or self.poller.done()):
            due = self.loop.time() + 100.0 * y
            self.poller = self.come(
                self.rate_limiter.acquire_for_poller(lambda now, busy: due + 50.0 * busy), x, y
            )
        elif what == "cancel" and self.tasks:
            self.cancelled.add(task := self.tasks[int(x * (len(self.tasks) - 1))])
            task.cancel()
        elif what == "headers":
            self.rate_limiter.observe(
                ServerQuota(int(60 * x), int(60 * y), 100.0 * (x - y)), self.loop.time()
            )
        elif what == "pause":
            self.rate_limiter.pause(None if x < 0.5 else 100.0 * y, "429")

    def open(self, free: asyncio.Event) -> None:
        free.set()
        self.rate_limiter.wake()

    def come(self, permit: Awaitable[Permit], x: float, y: float) -> asyncio.Task[None]:
        self.tasks.append(task := asyncio.create_task(self.visit(permit, x, y)))
        return task

    async def visit(self, permit: Awaitable[Permit], x: float, y: float) -> None:
        with await permit as got:
            if x < 0.4:  # a read
                got.start_read()
                start = self.loop.time()
                try:
                    await asyncio.sleep(20.0 * y)
                finally:
                    self.intervals.append((start, self.loop.time()))
            elif x < 0.9:  # a paid request; else nothing is sent
                await asyncio.sleep(y)
                got.mark_sent()
                self.intervals.append((self.loop.time(), self.loop.time()))
                await asyncio.sleep(20.0 * y)
