"""SQLite as an engine of the ledger: the loop's side of a thread, on which all work runs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from ...errors import StoreError
from .sqlite_file import Done, Job, Prepare, SQLiteFile, SQLiteMemory, change_nothing
from .transaction import Work, ignore_error

_T = TypeVar("_T")


class SQLiteEngine:
    """Runs the ledger's functions on one thread. Writes that arrive during a commit share the next one."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._worker = WorkerThread(self._loop)
        self._waiting: deque[Job] = deque()
        self._is_running = False
        self._pid = os.getpid()

    @property
    def name(self) -> str:
        """What messages call the database."""
        return self._file.name

    @property
    def inherited(self) -> str:
        """Why it cannot be used, in a child that was forked after the opening; else empty."""
        if os.getpid() == self._pid:
            return ""
        return (
            f"{self.name}: the store belongs to process {self._pid}, from which this one was "
            "forked: a forked process needs its own session and store"
        )

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more work."""
        return self._worker.ending

    def require_usable(self) -> None:
        """Raise `StoreError` where it is closed, or belongs to another process."""
        if self.inherited:
            raise StoreError(self.inherited)
        if self.is_closed:
            raise StoreError(f"{self.name}: the store is closed")

    async def open(self, at: datetime, prepare: Prepare = change_nothing) -> None:
        """Open the database. If that raises or is cancelled, it is closed."""
        try:
            await asyncio.shield(self._worker.run(self._file.open, at, prepare))
        except asyncio.CancelledError:
            self._end()
            raise
        except Exception:
            await self.aclose()
            raise

    def run(self, work: Work[_T], *, writes: bool = True) -> asyncio.Future[_T]:
        """Run the function in one of the next transactions. It need not be awaited."""
        self.require_usable()
        if asyncio.get_running_loop() is not self._loop:
            raise StoreError(f"{self.name}: the store belongs to the loop that opened it")
        future: asyncio.Future[_T] = self._loop.create_future()
        future.add_done_callback(ignore_error)
        self._waiting.append(Job(work, writes, future))
        if not self._is_running:
            self._start_group()
        return future

    async def vacuum(self) -> None:
        """Write the whole file anew, without the pages and the parts of pages that are free."""
        await self._worker.run(self._file.vacuum)

    async def aclose(self) -> None:
        """Run what waits, close the database and end the thread."""
        self._end()
        await self._worker.ended()

    def _end(self) -> None:
        if not self.is_closed:
            self._worker.end(self._file.finish, self._waiting).add_done_callback(self._resolve)

    def _start_group(self) -> None:
        self._is_running = True
        self._worker.run(self._file.run, self._waiting).add_done_callback(self._group_done)

    def _group_done(self, group: asyncio.Future[list[Done]]) -> None:
        self._is_running = False
        self._resolve(group)
        if self._waiting and not self.is_closed:
            self._start_group()

    def _resolve(self, group: asyncio.Future[list[Done]]) -> None:
        for job, value, error in group.result():
            _answer(job.future, value, error)


def _answer(future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if future.done():  # its caller was cancelled; it is written nevertheless
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


class MemoryEngine:
    """Runs the ledger's functions in memory, at once and on the loop: nothing waits for a disk.

    Their results come in the loop's next turn: who reads page after page blocks it for a page at most.
    """

    inherited = ""

    def __init__(self, file: SQLiteMemory) -> None:
        self._file = file
        self.is_closed = False

    @property
    def name(self) -> str:
        """What messages call the database."""
        return self._file.name

    def require_usable(self) -> None:
        """Raise `StoreError` where it is closed."""
        if self.is_closed:
            raise StoreError(f"{self.name}: the store is closed")

    async def open(self, at: datetime, prepare: Prepare) -> None:
        """Open the database."""
        self._file.open(at, prepare)

    def run(self, work: Work[_T], *, writes: bool = True) -> asyncio.Future[_T]:  # noqa: ARG002
        """Run the function in a transaction of its own."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        future.add_done_callback(ignore_error)
        try:
            loop.call_soon(_answer, future, self._file.transact(work), None)
        except Exception as error:
            loop.call_soon(_answer, future, None, error)
        return future

    async def aclose(self) -> None:
        """Close it until it is opened again."""
        if not self.is_closed:
            self.is_closed = True
            self._file.close()


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
