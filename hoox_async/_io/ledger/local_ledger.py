"""The ledger of one process: in a SQLite file, or in memory where there is no store."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import anyio.to_thread

from ..._core.intents.intent import Intent, IntentState
from ..._core.intents.records import text_of_source
from ..._core.intents.transitions import Send, Transition, recovery_transitions
from ...errors import StoreError, StoreLocked
from ..clock import Clock
from ..protocols import Workspace
from ..tasks import tried_until
from . import statements as sql
from .binding import Binding, Copied, WorkspaceRow, plain_url, require_new_key, require_url
from .intent_rows import FORGETTABLE, Place, Row, Written, to_microseconds
from .ledger import Ledger, intents_of, page_of
from .news import write_told
from .offline import offline_file
from .sqlite import MemoryEngine, SQLiteEngine
from .sqlite_file import SQLiteFile, SQLiteMemory
from .sqlite_schema import FILE_WORKSPACE, ME
from .transaction import Transaction, Work

_FLUSH_AFTER = 1.0  # seconds
_KEPT_SENDS = timedelta(minutes=2) // timedelta(microseconds=1)

_T = TypeVar("_T")


class LocalLedger(Ledger):
    """A `Ledger` in a SQLite database, for one session at a time."""

    def __init__(self, file: SQLiteFile, engine: Callable[[], SQLiteEngine | MemoryEngine]) -> None:
        super().__init__(newer=False)
        self._file = file
        self._new_engine = engine
        self._opened: SQLiteEngine | MemoryEngine | None = None
        self._flushing: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._file.name

    async def open(self, workspace: Workspace) -> None:
        """Open the database, bind it, and mark what a crash left SENDING as UNKNOWN, in one transaction.

        Raises `StoreLocked` naming the holder, `StoreMismatch` where it belongs to another base URL or API
        key, `StoreError` where it is damaged, newer than this version, or cannot be written.
        """
        opened = self._opened
        if opened is not None and opened.inherited:
            raise StoreError(opened.inherited)
        if opened is not None and not opened.is_closed:
            raise StoreLocked(
                f"{self.name} is open in another session of this process; one session at a time"
            )
        await self.aclose()  # of an earlier session, if that is still under way
        engine = self._opened = self._new_engine()
        self.begin(engine, Place(0, ME), workspace.hooks)
        try:
            at = Clock(asyncio.get_running_loop()).utc()
            await engine.open(at, partial(self._prepare, workspace))
        except Exception:  # after a cancelled opening `aclose` still has to wait for the thread
            self._opened = None
            raise

    async def aclose(self, until: float | None = None) -> None:
        """Write what is waiting to be written and close. It can be called at any time, and again.

        In a forked child it does nothing, since the database belongs to the parent.
        """
        if self._opened is None or self._opened.inherited:
            return
        if self._flushing is not None:
            self._flushing.cancel()
        try:
            if self._news is not None and not self._opened.is_closed:
                # else a later session tells again what it does not find as told
                await tried_until(until, self._news.leave())
        finally:
            await self._opened.aclose()

    async def tell_owed(self) -> None:
        """Call hooks with what earlier sessions owe, and take over what they have left to be made."""
        if self._news is not None and self._place.tells:  # at once: no other session has the ledger open
            await self._news.adopt()
        await super().tell_owed()

    def told(self, intent: Intent) -> None:
        """Hooks were told that the look of this intent is done. It is written within a second."""
        super().told(intent)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        opened = self._opened
        if self._news is not None and opened is not None and not opened.is_closed:
            write_told(opened, [self._news])

    # --- binding, on the thread

    def _prepare(self, workspace: Workspace, tx: Transaction, version: int) -> None:
        number = self._bind(workspace, tx, is_new=version == 0)
        self._place = Place(number, ME, workspace.hooks == "hooks")
        for intent in self._of_state(IntentState.SENDING, tx):
            self._advance(intent.key, recovery_transitions(intent), tx)

    def _bind(self, workspace: Workspace, tx: Transaction, *, is_new: bool) -> int:
        """The number of the workspace, which the database belongs to from now on. Raises `StoreMismatch`."""
        if is_new:
            binding = self._bound_to(workspace, None)
            tx.write(sql.ADD_KEY_SALT, {"salt": binding.salt.hex()})
            values = {
                "name": FILE_WORKSPACE,
                "base_url": binding.base_url,
                "fingerprint": binding.fingerprint.hex(),
            }
            tx.write(sql.ADD_WORKSPACE, values)
        name = {"name": FILE_WORKSPACE}
        salts, rows, copies = tx.ask(
            (sql.KEY_SALT, {}),
            (sql.WORKSPACE, name),
            (sql.COPY, name),
        )
        if not salts or not rows:
            raise StoreError(
                "the record of its workspace is damaged: restore a copy of it, or start with a new file"
            )
        row = WorkspaceRow(*rows[0])
        if copies:
            Copied(*copies[0]).require_usable(self.name)
        require_url(row.base_url, workspace, self.name)
        binding = self._binding = self._bound_to(workspace, bytes.fromhex(salts[0][0]))
        if not row.has_key(binding.fingerprint.hex()):
            self._replace_key(row, binding, workspace, tx)
        return row.id

    def _replace_key(
        self, row: WorkspaceRow, binding: Binding, workspace: Workspace, tx: Transaction
    ) -> None:
        self._place = Place(row.id, ME)
        is_free = not row.key_confirmed and all(intent.never_charged for intent in self._of_state(None, tx))
        if not is_free:
            require_new_key(workspace, self.name)
        values = {"fingerprint": binding.fingerprint.hex(), "older": None, "was": row.fingerprint}
        tx.write(
            sql.REPLACE_KEYS,
            self._place.values(was_older=row.older_fingerprint or "", **values),
        )

    def _of_state(self, state: IntentState | None, tx: Transaction) -> list[Intent]:
        question = intents_of(None if state is None else (state,), self._place)
        [rows] = tx.ask(question)
        return [self._read(Row(*row)) for row in rows]

    def _bound_to(self, workspace: Workspace, salt: bytes | None) -> Binding:
        return Binding.to(workspace, salt)

    def confirm_key(self) -> None:
        """Bind the database to its API key for good. Returns at once; it is written with the next write."""
        opened, binding = self._opened, self._binding
        is_usable = opened is not None and not opened.is_closed and not opened.inherited
        if opened is not None and binding is not None and is_usable and not self._key_confirmed:
            self._key_confirmed = True
            # not awaited: if a full disk prevents it, the next session does it again
            values = self._place.values(fingerprint=binding.fingerprint.hex())
            opened.run(lambda tx: tx.write(sql.CONFIRM_KEY, values))

    # --- intents

    async def _change(self, key: str, work: Work[Written]) -> Written:  # noqa: ARG002 -- nothing is guessed
        return await self._run(work)

    def _plan(self, intent: Intent, tx: Transaction) -> Written:
        if intent.state is IntentState.SENDING:
            self._file.require_files()
        return super()._plan(intent, tx)

    def _advance(self, key: str, transitions: Sequence[Transition], tx: Transaction) -> Written:
        if any(isinstance(step, Send) for step in transitions):
            self._file.require_files()
        return super()._advance(key, transitions, tx)

    async def release(self, key: str | None) -> None:  # noqa: ARG002 -- the protocol's signature
        """Do nothing: no other process can give a planned intent other content."""
        self._require_open()

    def note_sends(self, sent_at: Sequence[datetime]) -> Awaitable[None]:
        """Write send times with the next commit. Returns at once; the result need not be awaited."""
        times = [to_microseconds(moment) for moment in sent_at]

        def add(tx: Transaction) -> None:
            for time in times:
                tx.write(sql.ADD_SEND, self._place.values(sent_at=time))
            if times:  # future times too: they were written before the clock was set back
                tx.write(sql.DROP_SENDS, self._place.values(newest=max(times), kept=_KEPT_SENDS))

        return self._require_open().run(add)

    async def _run(self, work: Work[_T], *, writes: bool = True) -> _T:
        return await self._require_open().run(work, writes=writes)

    def _require_open(self) -> SQLiteEngine | MemoryEngine:
        if self._opened is None:
            raise StoreError(f"{self.name}: the store is not open")
        self._opened.require_usable()
        return self._opened


class FileLedger(LocalLedger):
    """A ledger in the SQLite file ``path``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        file = SQLiteFile(self.path)
        super().__init__(file, lambda: SQLiteEngine(file))

    def __repr__(self) -> str:
        return f"FileLedger({self.path!r})"

    async def read_unopened(self) -> AsyncIterator[Intent]:
        """Every intent of the file as it is now, also while a session has it open; none if it is missing."""
        if not await anyio.to_thread.run_sync(os.path.exists, self.path):
            return
        async with offline_file(self.path) as records:
            async for intent in records.stream():
                yield intent


class MemoryLedger(LocalLedger):
    """A ledger in memory, which ends with the process. A later session of it goes on with it.

    An intent whose key cannot be used again is deleted by `forget`; its look stays claimed.
    """

    def __init__(self) -> None:
        memory = self._memory = SQLiteMemory("the memory store")
        super().__init__(memory, lambda: MemoryEngine(memory))

    def __repr__(self) -> str:
        return "MemoryLedger()"

    def _bound_to(self, workspace: Workspace, salt: bytes | None) -> Binding:
        secret = workspace.api_key.encode("utf-8", "surrogatepass")  # its hash does not leave this process
        return Binding(plain_url(workspace.base_url), salt or b"", hashlib.sha256(secret).digest())

    async def read_unopened(self) -> AsyncIterator[Intent]:
        """Every intent of earlier sessions, and of one that has it open."""
        after = 0
        while rows := [Row(*row) for row in self._memory.read(page_of(after))]:
            for row in rows:
                yield self._read(row)
            after = rows[-1].seq
            await asyncio.sleep(0)

    async def forget(self, key: str) -> None:
        """Delete an intent whose key cannot be used again, once its cost is certain. Others are kept."""
        await self._run(partial(self._forget, key))

    def _forget(self, key: str, tx: Transaction) -> None:
        [rows] = tx.ask(self._row(key))
        intent = self._read(Row(*rows[0])) if rows else None
        if intent is None or intent.own_key or intent.state not in FORGETTABLE:
            return
        source = text_of_source(intent.source.avatar_id) if intent.source is not None else ""
        seq = rows[0][1]
        for statement in sql.FORGET:  # a key of a user's has no NUL
            tx.write(statement, self._place.values(seq=seq, source=source, nobodys_key=f"\0{seq}"))
