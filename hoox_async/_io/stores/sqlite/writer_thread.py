"""One thread beside the loop, for work that would block it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


class Worker:
    """Runs functions one after the other on a thread of its own, until a last one.

    The loop is asked by ``run_in_executor`` for each, so that a loop of virtual time knows of them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread: threading.Thread | None = None
        self._executor = ThreadPoolExecutor(1, "hoox-store", initializer=self._note_thread)
        self._end: asyncio.Future[Any] | None = None

    @property
    def ending(self) -> bool:
        """Whether the last function was handed in."""
        return self._end is not None

    def run(self, work: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:
        """Hand in a function. What it raises is raised to whoever awaits it, and lost where nobody does."""
        future = self._loop.run_in_executor(self._executor, work, *args)
        future.add_done_callback(heard)
        return future

    def end(self, last: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:
        """Hand in the last function; after it the thread ends, also where nobody awaits it."""
        if self._end is None:
            self._end = self.run(last, *args)
            self._executor.shutdown(wait=False)
        return self._end

    async def ended(self) -> None:
        """Wait until the thread is gone. A caller that is cancelled changes nothing."""
        if self._end is not None:
            await asyncio.shield(self._end)
        # It is about to end, and join() would block. A thread sets no event after its end.
        while self._thread is not None and self._thread.is_alive():  # noqa: ASYNC110
            await asyncio.sleep(0)

    def _note_thread(self) -> None:
        self._thread = threading.current_thread()


def heard(future: asyncio.Future[Any]) -> None:
    """A callback for a future that nobody need wait for: its error is no news to the loop."""
    if not future.cancelled():
        future.exception()
