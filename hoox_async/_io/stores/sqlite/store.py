"""The store on disk: a SQLite file, which survives a crash of its process at any time."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from sqlite3 import Connection
from typing import TypeVar

import anyio.to_thread

from ...._api.models import LookRef
from ...._api.webhook_payloads import Delivery
from ...._core.intents.budget import StoredBudget
from ...._core.intents.copies import KnownAvatar
from ...._core.intents.intent import Intent, IntentState
from ...._core.intents.transitions import Send, Transition
from ....errors import StoreError, StoreLocked
from ...clock import Clock
from ...protocols import StoreGauges, Workspace
from ..one_process import OneProcessStore
from . import queries
from .database import Database, Done, Job
from .reader import read_store
from .worker_thread import WorkerThread, ignore_error

_PAGE = 500

_T = TypeVar("_T")


class SQLiteStore(OneProcessStore):
    """A `Store` in the SQLite file ``path``, for one session at a time.

    All database work runs on one thread. Writes that arrive during a commit share the next one. A method that
    writes returns when its commit is on the disk (``synchronous=FULL``). While the file is open, SQLite's own
    ``-wal`` and ``-shm`` and our ``.lock`` are beside it.

    The store belongs to the loop that opened it. A write whose caller is cancelled takes place nevertheless.
    After a failed write, later ones are still tried; they fail as long as the disk does.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._queue: _JobQueue | None = None
        self._key_confirmed = False

    def __repr__(self) -> str:
        return f"SQLiteStore({self.path!r})"

    async def read_unopened(self) -> AsyncIterator[Intent]:
        """Every intent of the file as it is now, also while a session has it open; none if it is missing."""
        if not await anyio.to_thread.run_sync(os.path.exists, self.path):
            return
        async with await read_store(self.path) as snapshot:
            async for intent in snapshot:
                yield intent

    async def open(self, workspace: Workspace) -> None:
        """Open the file (or create it), bind it, and mark what a crash left SENDING as UNKNOWN.

        Raises `StoreLocked` naming the holder, `StoreMismatch` where the file belongs to another base
        URL or API key, `StoreError` where it is damaged, newer than this version, or cannot be written.
        """
        if self._queue is not None and self._queue.inherited:
            raise StoreError(self._queue.inherited)
        if self._queue is not None and not self._queue.closed:
            raise StoreLocked(
                f"{self.path} is open in another session of this process; one session at a time"
            )
        await self.aclose()  # of an earlier session, if that is still under way
        loop = asyncio.get_running_loop()
        self._key_confirmed = False
        queue = self._queue = _JobQueue(loop, Database(self.path))
        try:
            await queue.start(workspace, Clock(loop).utc())
        except Exception:  # after a cancelled opening `aclose` still has to wait for the thread
            self._queue = None
            raise

    async def aclose(self) -> None:
        """Write what is waiting to be written and close the file. It can be called at any time, and again.

        In a forked child it does nothing, since the file belongs to the parent.
        """
        queue = self._queue
        if queue is not None and not queue.inherited:
            await queue.aclose()

    def confirm_key(self) -> None:
        """Bind the file to its API key for good. Returns at once; it is written with the next write."""
        queue = self._queue
        if not self._key_confirmed and queue is not None and not queue.closed and not queue.inherited:
            self._key_confirmed = True
            # not awaited: if a full disk prevents it, the next session does it again
            queue.enqueue(queries.confirm_key, writes=True).add_done_callback(ignore_error)

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents of these keys, those that are known."""
        return await self._read(partial(queries.get, keys=tuple(keys)))

    async def plan(self, intent: Intent) -> Intent:
        """Insert a new intent. Where its key exists already, change nothing and return the stored intent."""
        sends = intent.state is IntentState.SENDING
        return await self._write(partial(queries.plan, intent=intent), sends=sends)

    async def advance(self, key: str, *transitions: Transition) -> Intent:
        """Apply the transitions, all or none. Raises `IllegalTransition`; `StoreError` for an unknown key.

        A `Send` also raises `StoreError` where the file was removed or replaced since it was opened. Other
        transitions are written into the open file, which may only have been moved.
        """
        sends = any(isinstance(transition, Send) for transition in transitions)
        return await self._write(partial(queries.advance, key=key, transitions=transitions), sends=sends)

    async def open_budget(self, name: str, max_credits: Decimal, spent: Decimal) -> StoredBudget:
        """Create the budget, unless there is one of this name. Returns what is stored."""
        create = partial(queries.open_budget, name=name, max_credits=max_credits, spent=spent)
        return await self._write(create)

    async def budget(self, name: str) -> StoredBudget | None:
        """The budget of this name."""
        return await self._read(partial(queries.budget, name=name))

    async def by_attempt(self, attempt_id: str) -> Intent | None:
        """The intent that has this attempt, the latest or an earlier one."""
        return await self._read(partial(queries.by_attempt, attempt_id=attempt_id))

    async def by_ref(self, ref: LookRef) -> Intent | None:
        """The intent that has this look."""
        return await self._read(partial(queries.by_ref, ref=ref))

    async def in_states(self, states: Collection[IntentState], *, own: bool = False) -> list[Intent]:  # noqa: ARG002 -- of one process, all are its own
        """All intents in these states, in the order in which they were planned."""
        return await self._read(partial(queries.in_states, states=tuple(states)))

    async def stream(self) -> AsyncIterator[Intent]:
        """Every intent, in the order in which they were planned, with a few hundred in memory at a time."""
        place = 0
        while True:
            place, intents = await self._read(partial(queries.page, after=place, size=_PAGE))
            for intent in intents:
                yield intent
            if len(intents) < _PAGE:
                return

    async def stream_accepted(self) -> AsyncIterator[Intent]:
        """Every intent that is ACCEPTED, in the order of the plan, with a few hundred in memory at a time."""
        place: int | None = 0
        while place is not None:
            page = partial(queries.page_in_states, states=(IntentState.ACCEPTED,), after=place, size=_PAGE)
            place, intents = await self._read(page)
            for intent in intents:
                yield intent

    async def gauges(self) -> StoreGauges:
        """Counts of the open intents."""
        return await self._read(queries.gauges)

    async def release(self, key: str) -> None:  # noqa: ARG002 -- the protocol's signature
        """Do nothing: no other process can give a planned intent other content."""
        self._require_queue()

    async def forget(self, key: str) -> None:  # noqa: ARG002 -- the protocol's signature
        """Do nothing: on disk all intents are kept."""
        self._require_queue()

    async def claimed_looks(self, avatar_id: str) -> frozenset[str]:
        """The ids of an avatar's looks that were made for an intent."""
        return await self._read(partial(queries.claimed_looks, avatar_id=avatar_id))

    async def known_avatar(self, avatar_id: str) -> KnownAvatar:
        """What the store's intents tell of an avatar."""
        return await self._read(partial(queries.known_avatar, avatar_id=avatar_id))

    async def claim_look(self, ref: LookRef) -> None:
        """Write that this look was made for an intent."""
        await self._write(partial(queries.claim_look, ref=ref))

    async def keep_delivery(self, attempt_id: str, delivery: Delivery) -> None:
        """Keep the first delivery of an attempt. One of an unknown attempt is not kept."""
        await self._write(partial(queries.keep_delivery, attempt_id=attempt_id, delivery=delivery))

    async def kept_delivery(self, attempt_id: str) -> Delivery | None:
        """The delivery that was kept for this attempt."""
        return await self._read(partial(queries.kept_delivery, attempt_id=attempt_id))

    async def stream_delivered(self) -> AsyncIterator[str]:
        """The ids of attempts for which a delivery was kept, of intents that are ACCEPTED or UNKNOWN."""
        place: int | None = 0
        while place is not None:
            place, attempts = await self._read(partial(queries.page_delivered, after=place, size=_PAGE))
            for attempt_id in attempts:
                yield attempt_id

    def note_sends(self, sent_at: Sequence[datetime]) -> Awaitable[None]:
        """Write send times with the next commit. Returns at once; the result can be awaited."""
        written = self._require_queue().enqueue(
            partial(queries.add_sends, sent_at=tuple(sent_at)), writes=True
        )
        written.add_done_callback(ignore_error)  # it need not be awaited
        return written

    async def recent_sends(self, since: datetime) -> list[datetime]:
        """The send times after ``since``, oldest first."""
        return await self._read(partial(queries.recent_sends, since=since))

    async def _read(self, work: Callable[[Connection], _T]) -> _T:
        return await self._require_queue().enqueue(work, writes=False)

    async def _write(self, work: Callable[[Connection], _T], *, sends: bool = False) -> _T:
        return await self._require_queue().enqueue(work, writes=True, sends=sends)

    def _require_queue(self) -> _JobQueue:
        if self._queue is None:
            raise StoreError(f"{self.path}: the store is not open")
        if self._queue.inherited:
            raise StoreError(self._queue.inherited)
        if self._queue.closed:
            raise StoreError(f"{self.path}: the store is closed")
        return self._queue


class _JobQueue:
    """The loop's side of the thread: jobs that wait for a transaction, and the futures of their callers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, database: Database) -> None:
        self.loop = loop
        self._database = database
        self._worker = WorkerThread(loop)
        self._waiting: deque[Job] = deque()
        self._running = False
        self._pid = os.getpid()

    @property
    def inherited(self) -> str:
        """Why the queue cannot be used, in a child that was forked after the opening; else empty."""
        if os.getpid() == self._pid:
            return ""
        return (
            f"{self._database.path}: the store belongs to process {self._pid}, from which this one was "
            "forked: a forked process needs its own session and store"
        )

    @property
    def closed(self) -> bool:
        """Whether the queue takes no more jobs."""
        return self._worker.ending

    async def start(self, workspace: Workspace, at: datetime) -> None:
        """Open the database. If that raises or is cancelled, the queue is closed."""
        try:
            await asyncio.shield(self._worker.run(self._database.open, workspace, at))
        except asyncio.CancelledError:
            self._end()
            raise
        except Exception:
            await self.aclose()
            raise

    def enqueue(
        self, work: Callable[[Connection], _T], *, writes: bool, sends: bool = False
    ) -> asyncio.Future[_T]:
        """Run the function in one of the next transactions."""
        if asyncio.get_running_loop() is not self.loop:
            raise StoreError(f"{self._database.path}: the store belongs to the loop that opened it")
        future: asyncio.Future[_T] = self.loop.create_future()
        self._waiting.append(Job(work, writes, sends, future))
        if not self._running:
            self._start_group()
        return future

    async def aclose(self) -> None:
        """Run the jobs that wait, close the database and end the thread."""
        self._end()
        await self._worker.ended()

    def _end(self) -> None:
        if not self.closed:
            self._worker.end(self._database.finish, self._waiting).add_done_callback(self._resolve)

    def _start_group(self) -> None:
        self._running = True
        self._worker.run(self._database.run, self._waiting).add_done_callback(self._group_done)

    def _group_done(self, group: asyncio.Future[list[Done]]) -> None:
        self._running = False
        self._resolve(group)
        if self._waiting and not self.closed:
            self._start_group()

    def _resolve(self, group: asyncio.Future[list[Done]]) -> None:
        for job, value, error in group.result():
            if job.future.done():  # its caller was cancelled; it is written nevertheless
                continue
            if error is not None:
                job.future.set_exception(error)
            else:
                job.future.set_result(value)
