"""asyncio tasks with an owner that ends them. The error of a task is always logged or awaited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ..errors import SessionClosed, StoreError
from .logs import LogLimit

_T = TypeVar("_T")
_log = logging.getLogger("hoox_async")
_FIRST_PAUSE = 1.0  # seconds
_LONGEST_PAUSE = 60.0


class TaskSet:
    """Owns tasks: keeps a reference to them while they run, and cancels and awaits them at the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closed: bool = False
        """Whether it is ending or has ended; then it starts no more tasks."""

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        """Start a task that the caller awaits, and whose errors the caller handles.

        Raises `SessionClosed` once the set is ending, so that no task outlives it.
        """
        if self.closed:
            work.close()
            raise SessionClosed("the session is closed")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def background(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """As `spawn`, for a task that is not awaited: its error is logged with a traceback."""
        task = self.spawn(work, name)
        task.add_done_callback(log_failure)
        return task

    def supervise(self, work: Callable[[], Awaitable[object]], name: str) -> asyncio.Task[Any]:
        """As `background`, for work that must go on as long as the session: see `restarted`."""
        return self.background(restarted(work, name), name)

    async def complete(self, work: Coroutine[Any, Any, _T], name: str) -> _T:
        """Run the work to its end, even if the caller is cancelled meanwhile, and return its result.

        Raises what the work raises, and `SessionClosed` if the set ends before the work. An error after the
        caller was cancelled is logged.
        """
        task = self.spawn(work, name)
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.add_done_callback(log_failure)
            raise
        if task.cancelled():
            raise SessionClosed("the session was closed")
        return task.result()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieve it, or asyncio reports that it was never retrieved

    async def drain(self) -> None:
        """Start no more tasks, and wait until all have ended by themselves."""
        self.closed = True
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def stop(self) -> None:
        """Start no more tasks, and cancel all. They end a few turns of the loop later."""
        self.closed = True
        for task in tuple(self._tasks):
            task.cancel()

    async def cancel(self) -> None:
        """Start no more tasks, cancel all and wait until they have ended.

        One that was spawned just now begins first. Cancelled before its first step it would run no line of
        its code, and what it was given, such as a permit of the quota, would never be released.
        """
        self.closed = True
        try:
            await asyncio.sleep(0)
        finally:
            self.stop()
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))


async def restarted(
    work: Callable[[], Awaitable[_T]],
    what: str,
    *,
    tries: int | None = None,
    store_failures: LogLimit | None = None,
) -> _T:
    """Run the work, start it again after a pause whenever it raises, and return its result.

    The pauses are 1, 2, 4 … 60 s, and begin at 1 s again after a minute without a failure. Each failure is
    logged with its traceback; a `StoreError` is counted by ``store_failures`` instead, as many tasks can meet
    the same one. Raises the error of the last of ``tries`` (None: no limit). `SessionClosed`, and what is
    raised while the task is being cancelled, are raised at once.
    """
    loop = asyncio.get_running_loop()
    pause, failures = _FIRST_PAUSE, 0
    while True:
        began = loop.time()
        try:
            return await work()
        except SessionClosed:
            raise
        except Exception as error:
            failures += 1
            if failures == tries or _being_cancelled():
                raise
            if loop.time() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            if store_failures is not None and isinstance(error, StoreError):
                store_failures.add(str(error))
            else:
                _log.exception("%s failed; trying again in %g s", what, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def tried_until(moment: float | None, work: Awaitable[object]) -> None:
    """Await what another session does where the store fails, until the loop's time ``moment`` at most."""
    with suppress(StoreError, TimeoutError):
        async with asyncio.timeout_at(moment):
            await work


async def cancelled_by_task_only(work: Awaitable[_T], what: str) -> _T:
    """Await the work. Where it was cancelled though this task was not, that is an error of ``what``."""
    try:
        return await work
    except asyncio.CancelledError:
        if _being_cancelled():
            raise
        raise RuntimeError(f"{what} was cancelled") from None


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def log_failure(task: asyncio.Task[Any]) -> None:
    """Log the error of a task that is done, unless it is `SessionClosed`. A done callback."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, SessionClosed):
        _log.error("the task %s failed", task.get_name(), exc_info=error)
