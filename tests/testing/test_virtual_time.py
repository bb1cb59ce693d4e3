"""The clock that jumps: order and time-outs intact, threads waited for, deadlocks told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import aiohttp
import anyio
import anyio.to_thread
import pytest
from aioresponses import aioresponses
from internals_kit import Clock

from hoox_async.testing import VirtualTimeLoop, virtual_time

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


def running() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


@pytest.mark.virtual_time
async def test_marker_gives_the_virtual_loop() -> None:
    """A test with the marker runs on a fresh VirtualTimeLoop, at time 0."""
    assert running().time() == 0.0


async def test_without_the_marker_the_loop_is_a_real_one() -> None:
    """A test without the marker runs on asyncio's own loop."""
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)


def test_a_week_of_sleep_passes_to_the_second() -> None:
    """A sleep ends at exactly its time, also beyond the day to which asyncio cuts a select."""

    async def main() -> float:
        await asyncio.sleep(7 * 86400)
        return running().time()

    assert run(main) == 7 * 86400


def test_timers_run_in_the_order_of_their_times() -> None:
    """Timers of several tasks interleave by time, not by who was made first."""
    seen: list[tuple[str, float]] = []

    async def ticks(name: str, gap: float, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(gap)
            seen.append((name, round(running().time(), 6)))

    async def main() -> None:
        await asyncio.gather(ticks("a", 2.0, 3), ticks("b", 3.0, 2), ticks("c", 0.5, 1))

    run(main)
    assert [when for _, when in seen] == sorted(when for _, when in seen)
    assert set(seen) == {("c", 0.5), ("a", 2), ("b", 3), ("a", 4), ("a", 6), ("b", 6)}


def test_timeouts_of_asyncio_and_anyio_fire_when_due() -> None:
    """asyncio.timeout, anyio.fail_after and move_on_after cut at their own time, not at the sleeper's."""

    async def main() -> list[float]:
        cuts = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(3600)
        cuts.append(running().time())
        with pytest.raises(TimeoutError), anyio.fail_after(20):
            await anyio.sleep(3600)
        cuts.append(running().time())
        with anyio.move_on_after(5) as scope:
            await anyio.Event().wait()
        assert scope.cancelled_caught
        cuts.append(running().time())
        return cuts

    assert run(main) == [10.0, 30.0, 35.0]


@pytest.mark.parametrize("kind", ["default executor", "own executor", "asyncio.to_thread", "anyio.to_thread"])
def test_work_in_a_thread_takes_no_virtual_time(kind: str) -> None:
    """No timeout fires while a thread works, however long that really takes."""
    own = ThreadPoolExecutor(1)

    async def work() -> None:
        if kind == "anyio.to_thread":
            await anyio.to_thread.run_sync(time.sleep, 0.05)
        elif kind == "asyncio.to_thread":
            await asyncio.to_thread(time.sleep, 0.05)
        else:
            await running().run_in_executor(own if kind == "own executor" else None, time.sleep, 0.05)

    async def main() -> float:
        async with asyncio.timeout(1e-6):
            await work()
        return running().time()

    with own:
        assert run(main) == 0.0


def test_the_clock_jumps_again_after_work_in_a_thread() -> None:
    """This holds also after work that failed or whose caller was cancelled."""
    release = threading.Event()

    def fail() -> None:
        raise ValueError("from the thread")

    async def main() -> float:
        with pytest.raises(ValueError, match="from the thread"):
            await asyncio.to_thread(fail)
        given_up = running().run_in_executor(None, release.wait)
        given_up.cancel()
        await asyncio.sleep(60)
        release.set()
        return running().time()

    assert run(main) == 60.0


def test_outside_work_holds_the_clock() -> None:
    """Inside outside_work a call from another thread arrives before any timer fires."""

    async def main() -> float:
        loop, called = running(), asyncio.Event()
        thread = threading.Timer(0.05, lambda: loop.call_soon_threadsafe(called.set))
        thread.start()
        with loop.outside_work():
            async with asyncio.timeout(0.001):
                await called.wait()
        thread.join()
        return loop.time()

    assert run(main) == 0.0


def test_a_deadlock_is_an_error_that_names_the_waiting_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that can never continue ends with a RuntimeError."""
    monkeypatch.setattr(virtual_time, "STUCK_AFTER", 0.05)

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("the-stuck-one")
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match=r"deadlock.*the-stuck-one"):
        run(main)


def test_a_late_call_from_a_thread_is_no_deadlock() -> None:
    """Uncounted outside work may still wake a loop that has no timer, within the real grace time."""

    async def main() -> float:
        loop, called = running(), asyncio.Event()
        thread = threading.Timer(0.05, lambda: loop.call_soon_threadsafe(called.set))
        thread.start()
        await called.wait()
        thread.join()
        return loop.time()

    assert run(main) == 0.0


def test_the_clock_of_the_session_is_deterministic() -> None:
    """On this loop, UTC is the epoch plus the loop's time: the same in each run."""

    async def main() -> datetime:
        await asyncio.sleep(90)
        return Clock(running()).utc()

    assert VirtualTimeLoop.epoch.tzinfo is UTC
    assert run(main) == VirtualTimeLoop.epoch + timedelta(seconds=90)


async def test_mocked_api_answers(mocked_api: aioresponses) -> None:
    """The shared fixture mocks aiohttp's answers on every supported version."""
    mocked_api.get("https://api.invalid/x", payload={"a": 1}, headers={"X-RateLimit-Limit": "100"})
    async with aiohttp.ClientSession() as client, client.get("https://api.invalid/x") as answer:
        assert answer.status == 200
        assert answer.headers["X-RateLimit-Limit"] == "100"
        assert await answer.json() == {"a": 1}
