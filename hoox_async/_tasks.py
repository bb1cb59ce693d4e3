"""Plain asyncio tasks with one owner, which ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from .errors import SessionClosed

_T = TypeVar("_T")


class TaskSet:
    """Owns tasks: holds them while they run, and cancels and awaits them at the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closed: bool = False
        """Whether it ends or has ended: then no task is taken any more."""

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        """Start a task. What it raises is its awaiter's, and nobody's where nobody awaits it.

        Raises `SessionClosed` once the set is ending, so that nothing outlives it.
        """
        if self.closed:
            work.close()
            raise SessionClosed("the session is closed")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def complete(self, work: Coroutine[Any, Any, _T], name: str) -> _T:
        """The result of work that goes on to its end also where its caller is cancelled.

        Raises what the work raises, and `SessionClosed` where the set ends before it.
        """
        task = self.spawn(work, name)
        await asyncio.wait((task,))
        if task.cancelled():
            raise SessionClosed("the session was closed")
        return task.result()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # taken, so that it is not reported as never retrieved

    async def drain(self) -> None:
        """Take no more tasks, and wait until all have ended by themselves."""
        self.closed = True
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def cancel(self) -> None:
        """Take no more tasks, cancel all and wait until they are gone."""
        self.closed = True
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
