"""One thread beside the event loop, for database work that would block the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


class WorkerThread:
    """Runs functions one after the other on its own thread, until the last one.

    Each goes through ``run_in_executor``, so that a loop with virtual time knows that it is running.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread: threading.Thread | None = None
        self._executor = ThreadPoolExecutor(1, "hoox-store", initializer=self._note_thread)
        self._last: asyncio.Future[Any] | None = None

    @property
    def ending(self) -> bool:
        """Whether the last function was submitted."""
        return self._last is not None

    def run(self, work: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:
        """Run a function after those before it. Its exception is lost if the future is not awaited."""
        future = self._loop.run_in_executor(self._executor, work, *args)
        future.add_done_callback(ignore_error)
        return future

    def end(self, last: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:
        """Run the last function. The thread ends after it, even if the future is not awaited."""
        if self._last is None:
            self._last = self.run(last, *args)
            self._executor.shutdown(wait=False)
        return self._last

    async def ended(self) -> None:
        """Wait until the thread has ended. Cancelling the caller does not change that."""
        if self._last is not None:
            await asyncio.shield(self._last)
        # it is about to end; join() would block the loop, and a thread's end sets no event
        while self._thread is not None and self._thread.is_alive():  # noqa: ASYNC110
            await asyncio.sleep(0)

    def _note_thread(self) -> None:
        self._thread = threading.current_thread()


def ignore_error(future: asyncio.Future[Any]) -> None:
    """A callback for a future that need not be awaited: the loop must not report its exception."""
    if not future.cancelled():
        future.exception()
