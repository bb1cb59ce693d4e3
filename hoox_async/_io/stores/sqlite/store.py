"""The store on disk: a SQLite file that survives the end of the process at any moment."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from sqlite3 import Connection
from typing import TypeVar

from ...._api.models import LookRef
from ...._api.webhook_payloads import Delivery
from ...._core.intents.intent import Intent, IntentState
from ...._core.intents.transitions import Send, Transition
from ....errors import StoreError, StoreLocked
from ...clock import Clock
from ...protocols import Workspace
from . import rows
from .database import Database, Done, Job
from .writer_thread import Worker, heard

_PAGE = 500

_T = TypeVar("_T")


class SQLiteStore:
    """Keeps the session's memory of money in the SQLite file ``path``, for one session at a time.

    All database work runs on one thread. What comes while it writes is committed together in the
    next commit. A method that writes returns after its commit is on the disk (``synchronous=FULL``).
    Beside the file stand SQLite's own ``-wal`` and ``-shm`` while it is open, and ``.lock``.

    It belongs to the loop that opened it. A caller that is cancelled while a write is under way has
    written nevertheless. After a failed write each later one is tried anew, and fails as long as
    the disk does.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._queue: _Queue | None = None
        self._key_confirmed = False

    def __repr__(self) -> str:
        return f"SQLiteStore({self.path!r})"

    async def open(self, workspace: Workspace) -> None:
        """Open the file (made where it is missing), bind it, and mark what a crash left outstanding.

        Raises `StoreLocked` naming the holder, `StoreMismatch` where the file belongs to another base
        URL or API key, `StoreError` where it is damaged, newer than this version, or cannot be written.
        """
        if self._queue is not None and self._queue.inherited:
            raise StoreError(self._queue.inherited)
        if self._queue is not None and not self._queue.closed:
            raise StoreLocked(
                f"{self.path} is open in another session of this process; one session at a time"
            )
        await self.aclose()  # of an earlier session, should that still be under way
        loop = asyncio.get_running_loop()
        self._key_confirmed = False
        queue = self._queue = _Queue(loop, Database(self.path))
        try:
            await queue.start(workspace, Clock(loop).utc())
        except Exception:  # a cancelled opening has still to be waited for: see `aclose`
            self._queue = None
            raise

    async def aclose(self) -> None:
        """Write what is waiting and let go of the file. Can be called at any time, and again.

        In a forked child it does nothing: the file is its parent's.
        """
        queue = self._queue
        if queue is not None and not queue.inherited:
            await queue.aclose()

    def confirm_key(self) -> None:
        """Bind the file to its API key for good. Returns at once; written with the next write."""
        queue = self._queue
        if not self._key_confirmed and queue is not None and not queue.closed and not queue.inherited:
            self._key_confirmed = True
            # nobody waits for it: where a full disk swallows it, the next session says it again
            queue.post(rows.confirm_key, writes=True).add_done_callback(heard)

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents of these keys, those that are known."""
        return await self._read(partial(rows.get, keys=tuple(keys)))

    async def plan(self, intent: Intent) -> Intent:
        """Write a new intent; where its key is known already, change nothing and return what stands."""
        sends = intent.state is IntentState.SENDING
        return await self._write(partial(rows.plan, intent=intent), sends=sends)

    async def advance(self, key: str, *steps: Transition) -> Intent:
        """Take the intent through the steps, all or none. Raises `IllegalTransition`; no such key:
        `StoreError`.

        A `Send` is also refused with `StoreError` where the file was removed or replaced meanwhile. Other
        steps are written into the file that was opened, which may have been moved only.
        """
        sends = any(isinstance(step, Send) for step in steps)
        return await self._write(partial(rows.advance, key=key, steps=steps), sends=sends)

    async def by_attempt(self, attempt_id: str) -> Intent | None:
        """The intent that this attempt, also an earlier one, belongs to."""
        return await self._read(partial(rows.by_attempt, attempt_id=attempt_id))

    async def by_ref(self, ref: LookRef) -> Intent | None:
        """The intent whose look this is."""
        return await self._read(partial(rows.by_ref, ref=ref))

    async def in_states(self, states: Collection[IntentState]) -> list[Intent]:
        """All intents in these states, oldest first."""
        return await self._read(partial(rows.in_states, states=tuple(states)))

    async def stream(self) -> AsyncIterator[Intent]:
        """Every intent, in the order in which they were planned; a few hundred at a time are in memory."""
        place = 0
        while True:
            place, intents = await self._read(partial(rows.page, after=place, size=_PAGE))
            for intent in intents:
                yield intent
            if len(intents) < _PAGE:
                return

    async def stream_accepted(self) -> AsyncIterator[Intent]:
        """Every intent that is accepted and not settled, oldest first; a few hundred at a time in memory."""
        place: int | None = 0
        while place is not None:
            place, intents = await self._read(partial(rows.page_accepted, after=place, size=_PAGE))
            for intent in intents:
                yield intent

    async def forget(self, key: str) -> None:  # noqa: ARG002 -- the protocol's signature
        """Does nothing: what is on disk is kept."""
        self._open_queue()

    async def seen_looks(self, avatar_id: str) -> frozenset[str] | None:
        """The looks that are nobody's lost POST's: baseline and claimed. None where no baseline stands."""
        return await self._read(partial(rows.seen_looks, avatar_id=avatar_id))

    async def add_seen(self, avatar_id: str, look_ids: Iterable[str]) -> None:
        """Add to an avatar's baseline (and make it one, if it is the first)."""
        await self._write(partial(rows.add_seen, avatar_id=avatar_id, look_ids=tuple(look_ids)))

    async def keep_delivery(self, attempt_id: str, delivery: Delivery) -> None:
        """Keep an attempt's first delivery; for an attempt that the store doesn't know, nothing is kept."""
        await self._write(partial(rows.keep_delivery, attempt_id=attempt_id, delivery=delivery))

    async def kept_delivery(self, attempt_id: str) -> Delivery | None:
        """The delivery kept for this attempt."""
        return await self._read(partial(rows.kept_delivery, attempt_id=attempt_id))

    def note_sends(self, sent_at: Sequence[datetime]) -> Awaitable[None]:
        """Remember send times. Returns at once; they are in the next commit, which can be awaited."""
        written = self._open_queue().post(partial(rows.add_sends, sent_at=tuple(sent_at)), writes=True)
        written.add_done_callback(heard)  # nobody has to wait for it
        return written

    async def recent_sends(self, since: datetime) -> list[datetime]:
        """The send times after ``since``, oldest first."""
        return await self._read(partial(rows.recent_sends, since=since))

    async def _read(self, work: Callable[[Connection], _T]) -> _T:
        return await self._open_queue().post(work, writes=False)

    async def _write(self, work: Callable[[Connection], _T], *, sends: bool = False) -> _T:
        return await self._open_queue().post(work, writes=True, sends=sends)

    def _open_queue(self) -> _Queue:
        if self._queue is None:
            raise StoreError(f"{self.path}: the store is not open")
        if self._queue.inherited:
            raise StoreError(self._queue.inherited)
        if self._queue.closed:
            raise StoreError(f"{self.path}: the store is closed")
        return self._queue


class _Queue:
    """The loop's side of the one thread: what waits for it, and who is told what became of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, database: Database) -> None:
        self.loop = loop
        self._database = database
        self._worker = Worker(loop)
        self._waiting: deque[Job] = deque()
        self._running = False
        self._pid = os.getpid()

    @property
    def inherited(self) -> str:
        """Why it cannot be used, in a child that was forked after the opening; else empty."""
        if os.getpid() == self._pid:
            return ""
        return (
            f"{self._database.path}: the store belongs to process {self._pid}, from which this one was "
            "forked: a forked process needs a session and a store of its own"
        )

    @property
    def closed(self) -> bool:
        """Whether nothing is taken any more."""
        return self._worker.ending

    async def start(self, workspace: Workspace, at: datetime) -> None:
        """Open the database. Raised or cancelled, it ends as if it had been closed."""
        try:
            await asyncio.shield(self._worker.run(self._database.open, workspace, at))
        except asyncio.CancelledError:
            self._end()
            raise
        except Exception:
            await self.aclose()
            raise

    def post(
        self, work: Callable[[Connection], _T], *, writes: bool, sends: bool = False
    ) -> asyncio.Future[_T]:
        """Let the function run in one of the next transactions."""
        if asyncio.get_running_loop() is not self.loop:
            raise StoreError(f"{self._database.path}: the store belongs to the loop that opened it")
        waiter: asyncio.Future[_T] = self.loop.create_future()
        self._waiting.append(Job(work, writes, sends, waiter))
        if not self._running:
            self._go()
        return waiter

    async def aclose(self) -> None:
        """Run what waits, close the database and end the thread."""
        self._end()
        await self._worker.ended()

    def _end(self) -> None:
        if not self.closed:
            self._worker.end(self._database.finish, self._waiting).add_done_callback(self._tell)

    def _go(self) -> None:
        self._running = True
        self._worker.run(self._database.run, self._waiting).add_done_callback(self._went)

    def _went(self, group: asyncio.Future[list[Done]]) -> None:
        self._running = False
        self._tell(group)
        if self._waiting and not self.closed:
            self._go()

    def _tell(self, group: asyncio.Future[list[Done]]) -> None:
        for job, value, error in group.result():
            if job.waiter.done():  # whoever waited was cancelled; it is written all the same
                continue
            if error is not None:
                job.waiter.set_exception(error)
            else:
                job.waiter.set_result(value)
