"""Several processes on one store and one virtual clock: a small shared store in memory, with its failures.

It has what the core relies on: compare-and-set on a row's version, a lease for each process that its sendings
hang on, a sweep that presumes a process dead, and calls for the changes of others. Each process can be cut
off from the store, or frozen as a whole, and its writes can fail before they take place, after that, or take
place late.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Any, Literal

from hoox_async import HooxSession
from hoox_async._api.endpoints import WireRequest, WireResponse
from hoox_async._core.intents.intent import Intent, IntentState
from hoox_async._core.intents.transitions import IllegalTransition, MarkUnknown, Send, Transition
from hoox_async._io.protocols import BeforeSend, Workspace
from hoox_async._io.stores.memory import MemoryStore
from hoox_async.errors import StoreError
from hoox_async.sandbox import InProcessTransport, Space

LEASE = 10.0
FEED = 0.9  # seconds until others hear of a change
LATE = 3.0  # seconds until a write that takes place late does so

StoreFault = Literal["before", "after", "late"]


class SharedRecords(MemoryStore):
    """What the processes share: the intents with their versions, who sent them last, and the leases."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: Counter[str] = Counter()
        self.sent_by: dict[str, str] = {}
        self.changed_by: dict[str, str] = {}
        self.leases: dict[str, float] = {}
        self.stores: list[ProcessStore] = []

    def is_alive(self, member: str) -> bool:
        """Whether this process's lease is not over."""
        return self.leases.get(member, 0.0) > asyncio.get_running_loop().time()


class ProcessStore(MemoryStore):
    """One process's handle of the shared store."""

    def __init__(self, records: SharedRecords, member: str) -> None:
        super().__init__()
        own = ("_is_open", "_workspace", "_key_confirmed", "_planned", "_sends")
        for name, value in vars(MemoryStore()).items():
            if name not in own:
                assert type(value) is type(getattr(records, name))
                setattr(self, name, getattr(records, name))
        self.records = records
        self.member = member
        self.faults: list[StoreFault] = []
        self.statements: Counter[str] = Counter()
        self.is_cut_off = False
        self.freeze_when_sending: float | None = None  # seconds, from the next commit of SENDING on
        self._running = asyncio.Event()
        self._running.set()
        self._listeners: list[Callable[[Intent], None]] = []
        self._heartbeat: asyncio.Task[None] | None = None
        records.stores.append(self)

    @property
    def is_shared(self) -> bool:
        return True

    def on_changed_elsewhere(self, listener: Callable[[Intent], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # --- the process

    async def open(self, workspace: Workspace) -> None:
        self._workspace, self._is_open = workspace, True
        self._renew()
        self._heartbeat = asyncio.create_task(self._keep_lease(), name=f"heartbeat-{self.member}")

    async def aclose(self) -> None:
        for intent in await super().in_states((IntentState.SENDING,)) if self._is_open else ():
            if self.records.sent_by.get(intent.key) == self.member:  # nobody here awaits its answer any more
                await self._apply(intent.key, MarkUnknown("ended", intent.attempts[-1].id))
        self._is_open = False
        self.thaw()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            await asyncio.wait((self._heartbeat,))
        self.records.leases.pop(self.member, None)

    def freeze(self, seconds: float | None = None) -> None:
        """Stop the process: it renews no lease, and what it is about to do it does after `thaw`."""
        self._running.clear()
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self.thaw)

    def thaw(self) -> None:
        """Let the process go on."""
        self._running.set()

    async def running(self) -> None:
        """Wait while the process is frozen."""
        await self._running.wait()

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            await self.running()
            if not self.is_cut_off:
                self._renew()
                await self._sweep()

    def _renew(self) -> None:
        self.records.leases[self.member] = asyncio.get_running_loop().time() + LEASE

    async def _sweep(self) -> None:
        for intent in await super().in_states((IntentState.SENDING,)):
            if not self.records.is_alive(self.records.sent_by[intent.key]):
                attempt_id = intent.attempts[-1].id
                presumed = MarkUnknown("its process is presumed dead", attempt_id, presumed=True)
                await self._commit(intent.key, partial(self._apply, intent.key, presumed))
                self._publish(intent.key)

    async def _apply(self, key: str, *transitions: Transition) -> Intent:
        return await super().advance(key, *transitions)

    # --- reading

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        await self._statement("get")
        return await super().get(keys)

    async def in_states(self, states: Collection[IntentState], *, own: bool = False) -> list[Intent]:
        await self._statement("in_states")
        found = await super().in_states(states)
        return [i for i in found if not own or self.records.sent_by.get(i.key) == self.member]

    async def _statement(self, name: str) -> None:
        await self.running()
        self.statements[name] += 1
        if self.is_cut_off:
            raise StoreError("the connection to the store is lost")

    # --- writing

    async def plan(self, intent: Intent) -> Intent:
        sends = intent.state is IntentState.SENDING
        return await self._write("plan", intent.key, lambda: super(ProcessStore, self).plan(intent), sends)

    async def advance(self, key: str, *transitions: Transition) -> Intent:
        sends = any(isinstance(transition, Send) for transition in transitions)
        return await self._write("advance", key, lambda: self._apply(key, *transitions), sends)

    async def _write(
        self, name: str, key: str, work: Callable[[], Coroutine[Any, Any, Intent]], sends: bool
    ) -> Intent:
        await self._statement(name)
        version = self.records.versions[key]
        fault = self.faults.pop(0) if self.faults else None
        if fault == "before":
            raise StoreError("the connection broke before the statement")
        if fault == "late":
            asyncio.get_running_loop().call_later(LATE, self._write_late, key, version, work, sends)
            raise StoreError("the connection broke, and the server goes on with the statement")
        after = await self._commit(key, work, sends)
        if fault == "after":
            raise StoreError("the connection broke after the commit")
        return after

    def _write_late(
        self, key: str, version: int, work: Callable[[], Coroutine[Any, Any, Intent]], sends: bool
    ) -> None:
        if self.records.versions[key] == version:
            late = self._commit(key, work, sends)
            with suppress(StopIteration, IllegalTransition, StoreError):
                late.send(None)  # nothing of it waits
            late.close()

    async def _commit(self, key: str, work: Callable[[], Awaitable[Intent]], sends: bool = False) -> Intent:
        if sends and not self.records.is_alive(self.member):
            raise StoreError("the lease of this process is over")
        known = self.records._intents.get(key)
        after = await work()
        if sends and after is not known:
            self.records.sent_by[key] = self.member
            if self.freeze_when_sending is not None:
                self.freeze(self.freeze_when_sending)
                self.freeze_when_sending = None
        if not (sends and after is known):  # `plan` of a key that exists writes nothing
            self.records.versions[key] += 1
            self.records.changed_by[key] = self.member
        for other in self.records.stores:
            if other is not self:
                self._tell(other, key)
        return after

    def _tell(self, store: ProcessStore, key: str) -> None:
        asyncio.get_running_loop().call_later(FEED, store._hear, key)

    def _hear(self, key: str) -> None:
        if self.records.changed_by.get(key) != self.member:  # a process reads no change of its own
            self._publish(key)

    def _publish(self, key: str) -> None:
        if self._is_open and self._running.is_set() and not self.is_cut_off:
            for listener in tuple(self._listeners):
                listener(self.records._intents[key])


class ProcessTransport(InProcessTransport):
    """The transport of a process, which can be frozen before the bytes of a paid request leave."""

    def __init__(self, space: Space, store: ProcessStore, **options: Any) -> None:
        super().__init__(space, **options)
        self._store = store

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        async def hold() -> None:
            if before_send is not None:
                await before_send()
                await self._store.running()

        return await super().send(request, None if before_send is None else hold)


class Process:
    """One process: its session and its handle of the store."""

    def __init__(self, session: HooxSession, store: ProcessStore) -> None:
        self.session = session
        self.store = store


def new_process(space: Space, records: SharedRecords, member: str, **options: Any) -> Process:
    """A process whose session is not open yet."""
    store = ProcessStore(records, member)
    transport = options.pop("transport", {})
    carrier = ProcessTransport(space, store, **transport)
    options.setdefault("requests_per_minute", 60_000)
    return Process(HooxSession(space.api_key, transport=carrier, store=store, **options), store)


@asynccontextmanager
async def two_processes(**options: Any) -> AsyncIterator[tuple[Process, Process, Space]]:
    """Two processes on one store and one workspace."""
    space, records = Space(rng=Random(1), requests_per_minute=None), SharedRecords()
    one, two = (new_process(space, records, member, **options) for member in ("one", "two"))
    async with one.session, two.session:
        try:
            yield one, two, space
        finally:
            for process in (one, two):
                process.store.thaw()
