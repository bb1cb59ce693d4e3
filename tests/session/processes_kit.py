"""Two processes that share one database in memory, on one virtual clock: see `shared_memory_kit`.

A process can be frozen or cut off from the database, and its writes of intents can fail, lose their answers
or come late.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, Literal

from shared_memory_kit import MemoryDatabase, MemoryEngine, SharedMemory, name_of, no_fault

from hoox_async import HooxSession
from hoox_async._api.endpoints import WireRequest, WireResponse
from hoox_async._io.ledger.member import Member
from hoox_async._io.ledger.postgres import Outdated
from hoox_async._io.ledger.transaction import Question, Rows
from hoox_async._io.protocols import BeforeSend
from hoox_async.errors import StoreError
from hoox_async.sandbox import InProcessTransport, Space

LEASE = 10.0  # seconds
LATE = 3.0  # seconds after its error at which a late write takes place

StoreFault = Literal["before", "after", "late"]


class ProcessEngine(MemoryEngine):
    """The connections of one process."""

    def __init__(self, database: ProcessDatabase) -> None:
        super().__init__(database.memory, no_fault)
        self._database = database

    async def _execute(self, questions: Sequence[Question]) -> list[Rows]:
        process, name = self._database, name_of(questions)
        await process.running()
        process.statements[name] += 1
        if process.is_cut_off:
            raise StoreError("the connection to the database is lost")
        fault = process.faults.pop(0) if process.faults and name == "put" else None
        if fault == "before":
            raise StoreError("the connection broke before the statement")
        if fault == "late":
            asyncio.get_running_loop().call_later(LATE, self._execute_late, questions)
            raise StoreError("the connection broke, and the server goes on with the statement")
        answers = self._memory.execute(*questions)
        if process.freeze_when_sending is not None and _sends(questions):
            process.freeze(process.freeze_when_sending)
            process.freeze_when_sending = None
        if fault == "after":
            raise StoreError("the connection broke after the commit")
        await asyncio.sleep(0)
        return answers

    def _execute_late(self, questions: Sequence[Question]) -> None:
        with suppress(Outdated, StoreError):
            self._memory.execute(*questions)


def _sends(questions: Sequence[Question]) -> bool:
    return any(values.get("state") == "sending" for _, values in questions)


class ProcessDatabase(MemoryDatabase):
    """One process's view of the database, and what goes wrong in that process."""

    def __init__(self, memory: SharedMemory) -> None:
        super().__init__(memory, lease=LEASE)
        self.faults: list[StoreFault] = []
        self.statements: Counter[str] = Counter()
        self.is_cut_off = False
        self.freeze_when_sending: float | None = None  # seconds, from the next commit of SENDING on
        self._running = asyncio.Event()
        self._running.set()

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

    async def _connect(self) -> Member:
        general, for_lease = ProcessEngine(self), ProcessEngine(self)
        self._engines = [general, for_lease]
        return Member(general, for_lease, self.memory.new_member(), self._lease)


class ProcessTransport(InProcessTransport):
    """The transport of a process, which can be frozen before the bytes of a paid request leave."""

    def __init__(self, space: Space, database: ProcessDatabase, **options: Any) -> None:
        super().__init__(space, **options)
        self._database = database

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        async def hold() -> None:
            if before_send is not None:
                await before_send()
                await self._database.running()

        return await super().send(request, None if before_send is None else hold)


class Process:
    """One process: its session, the ledger of that, and its view of the database."""

    def __init__(self, space: Space, memory: SharedMemory, **options: Any) -> None:
        self.database = ProcessDatabase(memory)
        self.ledger = self.database.default_workspace()
        carrier = ProcessTransport(space, self.database, **options.pop("transport", {}))
        options.setdefault("requests_per_minute", 60_000)
        self.session = HooxSession(space.api_key, transport=carrier, store=self.ledger, **options)


@asynccontextmanager
async def two_processes(**options: Any) -> AsyncIterator[tuple[Process, Process, Space]]:
    """Two processes on one database and one workspace."""
    space, memory = Space(rng=Random(1), requests_per_minute=None), SharedMemory()
    one, two = (Process(space, memory, **dict(options)) for _ in range(2))
    async with one.session, two.session:
        try:
            yield one, two, space
        finally:
            for process in (one, two):
                process.database.thaw()
