"""Tasks with one owner."""

from __future__ import annotations

import asyncio
import gc
from itertools import pairwise

import pytest
from internals_kit import TaskSet

from hoox_async._io.tasks import restarted
from hoox_async.errors import SessionClosed

pytestmark = pytest.mark.both_loops


async def answer() -> int:
    return 42


async def fail() -> None:
    raise ValueError("nobody awaits me")


async def test_a_task_returns_its_result_and_is_released() -> None:
    """A task gives its result, and the set keeps a reference to it only while it runs."""
    tasks = TaskSet()
    task = tasks.spawn(answer(), "asks")
    assert (len(tasks), task.get_name()) == (1, "asks")
    assert await task == 42
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_the_set_keeps_its_tasks_from_being_collected() -> None:
    """A task without any other reference is not collected in the middle of its work."""
    tasks = TaskSet()
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.set()

    tasks.spawn(work(), "work")
    gc.collect()
    await asyncio.wait_for(done.wait(), 60)


async def test_an_error_that_nobody_awaits_is_not_reported_by_asyncio() -> None:
    """asyncio does not report the exception of a task of the set that nobody awaits."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    tasks = TaskSet()
    tasks.spawn(fail(), "fails")
    await tasks.drain()
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []


async def test_awaiting_a_task_raises_its_error() -> None:
    """Awaiting a task raises its error, although the set has retrieved it too."""
    with pytest.raises(ValueError, match="nobody"):
        await TaskSet().spawn(fail(), "fails")


async def test_cancel_waits_until_all_tasks_have_ended() -> None:
    """`cancel` waits for slow tasks, and for tasks that are started meanwhile."""
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


async def test_a_task_that_was_spawned_just_before_the_set_is_cancelled_begins_first() -> None:
    """It releases what it was given: a task that is cancelled before its first step runs none of its code."""
    tasks, released = TaskSet(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            released.set()

    tasks.spawn(work(), "works")
    await tasks.cancel()
    assert released.is_set()


async def test_a_cancelled_cancel_has_cancelled_the_tasks() -> None:
    """Whoever cancels the set is cancelled at once: the tasks end nevertheless."""
    tasks = TaskSet()
    task = tasks.spawn(asyncio.sleep(60), "sleeps")
    ending = asyncio.create_task(tasks.cancel())
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait((ending, task), timeout=5)
    assert ending.cancelled()
    assert task.cancelled()


@pytest.mark.parametrize("end", ["drain", "cancel"])
async def test_a_set_that_is_ending_starts_no_task(end: str) -> None:
    """A set that is ending raises `SessionClosed` at a new task and closes its coroutine."""
    tasks = TaskSet()
    await getattr(tasks, end)()
    with pytest.raises(SessionClosed):
        tasks.spawn(answer(), "late")
    assert len(tasks) == 0


async def test_completed_work_outlasts_its_caller() -> None:
    """`complete` gives the result or error of the work, which goes on if the caller is cancelled."""
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
    await asyncio.wait_for(ended.wait(), 60)


async def test_awaiting_work_that_ends_with_the_set_raises_session_closed() -> None:
    """A caller whose work was cancelled with the set gets `SessionClosed`, and no CancelledError."""
    tasks = TaskSet()
    caller = asyncio.create_task(tasks.complete(asyncio.sleep(60), "slow"))
    await asyncio.sleep(0)
    await tasks.cancel()
    with pytest.raises(SessionClosed):
        await caller
    with pytest.raises(SessionClosed):
        await tasks.complete(answer(), "late")


# --- what nobody awaits


async def test_the_error_of_a_background_task_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error of a background task is logged with its traceback, unless it is `SessionClosed`."""
    tasks = TaskSet()

    async def closed() -> None:
        raise SessionClosed("the session is closed")

    tasks.background(fail(), "a-task")
    tasks.background(closed(), "another-task")
    await tasks.drain()
    await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.getMessage() == "the task a-task failed"
    assert record.exc_info
    assert isinstance(record.exc_info[1], ValueError)


async def test_work_that_outlasts_its_caller_and_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error of work is logged if its caller has left, and else only raised to the caller."""
    tasks, go = TaskSet(), asyncio.Event()

    async def fail_later() -> None:
        await go.wait()
        raise ValueError("too late")

    with pytest.raises(ValueError, match="nobody"):
        await tasks.complete(fail(), "fails")
    assert caplog.records == []
    caller = asyncio.create_task(tasks.complete(fail_later(), "fails-later"))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    go.set()
    await tasks.drain()
    await asyncio.sleep(0)
    assert "the task fails-later failed" in caplog.text


class Flaky:
    """Work that raises a few times, and when it began."""

    def __init__(self, *errors: Exception | None, lasts: float = 0.0) -> None:
        self.errors = list(errors)
        self.lasts = lasts
        self.began: list[float] = []

    async def __call__(self) -> str:
        self.began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.lasts)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return "done"

    @property
    def pauses(self) -> list[float]:
        return [b - a - self.lasts for a, b in pairwise(self.began)]


@pytest.mark.virtual_time
async def test_work_that_raises_is_started_again_after_growing_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Work that raises is started again after 1, 2, 4 … 60 seconds, and each failure is logged."""
    work = Flaky(*(ValueError(str(n)) for n in range(9)))
    assert await restarted(work, "the work") == "done"
    assert work.pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])
    assert len([record for record in caplog.records if record.exc_info]) == 9
    assert "the work failed; trying again in 1 s" in caplog.text


@pytest.mark.virtual_time
async def test_the_pauses_are_short_again_after_a_minute_without_a_failure() -> None:
    """After a minute without a failure the next pause is one second again."""
    work = Flaky(*(ValueError(str(n)) for n in range(5)), lasts=61.0)
    await restarted(work, "the work")
    assert work.pauses == pytest.approx([1.0] * 5)


@pytest.mark.virtual_time
async def test_work_with_a_number_of_tries_raises_its_last_error() -> None:
    """Work raises its error after the given number of tries, and `SessionClosed` at once."""
    work = Flaky(*(ValueError(str(n)) for n in range(9)))
    with pytest.raises(ValueError, match="2"):
        await restarted(work, "the work", tries=3)
    assert len(work.began) == 3
    work = Flaky(SessionClosed("the session is closed"))
    with pytest.raises(SessionClosed):
        await restarted(work, "the work")
    assert len(work.began) == 1


async def test_a_supervised_task_ends_when_the_set_is_cancelled() -> None:
    """A supervised task that answers its cancellation with an error is not started again."""
    tasks, begun = TaskSet(), asyncio.Event()

    async def stubborn() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ValueError("not now") from None

    tasks.supervise(stubborn, "stubborn")
    await begun.wait()
    await asyncio.wait_for(tasks.cancel(), 60)
    assert len(tasks) == 0
