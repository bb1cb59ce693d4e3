"""Tasks with one owner."""

from __future__ import annotations

import asyncio
import gc

import pytest

from hoox_async._tasks import TaskSet
from hoox_async.errors import SessionClosed

pytestmark = pytest.mark.both_loops


async def answer() -> int:
    return 42


async def fail() -> None:
    raise ValueError("nobody awaits me")


async def test_a_task_gives_its_result_and_is_let_go() -> None:
    """The set holds it only while it runs."""
    tasks = TaskSet()
    task = tasks.spawn(answer(), "asks")
    assert (len(tasks), task.get_name()) == (1, "asks")
    assert await task == 42
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_the_set_holds_its_tasks() -> None:
    """A task that nobody else refers to is not collected in the middle of its work."""
    tasks = TaskSet()
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.set()

    tasks.spawn(work(), "work")
    gc.collect()
    await asyncio.wait_for(done.wait(), 1)


async def test_what_nobody_awaits_is_not_reported() -> None:
    """An error that nobody takes is no "exception was never retrieved"."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    tasks = TaskSet()
    tasks.spawn(fail(), "fails")
    await tasks.drain()
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []


async def test_what_is_awaited_raises() -> None:
    """The awaiter has the error all the same."""
    with pytest.raises(ValueError, match="nobody"):
        await TaskSet().spawn(fail(), "fails")


async def test_cancel_waits_until_all_are_gone() -> None:
    """Also for those that take their time, and for those that they start meanwhile."""
    tasks = TaskSet()
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append("slow")

    tasks.spawn(slow(), "slow")
    await asyncio.sleep(0)
    await tasks.cancel()
    assert ended == ["slow"]
    assert len(tasks) == 0


@pytest.mark.parametrize("end", ["drain", "cancel"])
async def test_nothing_is_taken_once_it_ends(end: str) -> None:
    """What comes too late is refused, and its coroutine is closed."""
    tasks = TaskSet()
    await getattr(tasks, end)()
    with pytest.raises(SessionClosed):
        tasks.spawn(answer(), "late")
    assert len(tasks) == 0


async def test_work_can_outlast_its_caller() -> None:
    """Who waits for it has its result, or its error; who leaves has started it all the same."""
    tasks, ended = TaskSet(), asyncio.Event()

    async def slow() -> None:
        await asyncio.sleep(0.01)
        ended.set()

    assert await tasks.complete(answer(), "asks") == 42
    with pytest.raises(ValueError, match="nobody"):
        await tasks.complete(fail(), "fails")
    caller = asyncio.create_task(tasks.complete(slow(), "slow"))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    await asyncio.wait_for(ended.wait(), 1)


async def test_who_waits_for_work_that_ends_with_the_set_is_told_so() -> None:
    """It was not cancelled itself."""
    tasks = TaskSet()
    caller = asyncio.create_task(tasks.complete(asyncio.sleep(60), "slow"))
    await asyncio.sleep(0)
    await tasks.cancel()
    with pytest.raises(SessionClosed):
        await caller
    with pytest.raises(SessionClosed):
        await tasks.complete(answer(), "late")
