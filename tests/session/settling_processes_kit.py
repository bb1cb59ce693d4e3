"""The processes of a random schedule of settling: their stores, their hubs, and the API's deliveries.

See `settling_kit`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import attrs
from processes_kit import ProcessDatabase, ProcessEngine
from shared_memory_kit import SharedMemory

from hoox_async import Event, HooxSession, LookSettled, Timeouts, Unknown
from hoox_async._api.endpoints import WireRequest, WireResponse
from hoox_async._api.webhook_payloads import Delivery
from hoox_async._io.ledger.ledger import Ledger
from hoox_async._io.ledger.local_ledger import MemoryLedger
from hoox_async._io.ledger.member import Member
from hoox_async._io.ledger.sqlite import MemoryEngine
from hoox_async._io.ledger.sqlite_file import SQLiteMemory
from hoox_async._io.ledger.transaction import Question, Rows, Work
from hoox_async._io.protocols import BeforeSend
from hoox_async._session import runtime_of
from hoox_async.errors import StoreError
from hoox_async.sandbox import InProcessTransport
from hoox_async.sandbox.avatars import FakeLook
from hoox_async.sandbox.webhook_sender import WebhookSender, _PendingDelivery
from hoox_async.webhooks import WebhookHub

if TYPE_CHECKING:
    from settling_kit import Schedule, Setup, Told, World

ANSWER = 10.0  # seconds that a POST's answer may take
SECRET = "a secret of the tests, long enough"


# --- the store of a process, and its failures


class LocalEngine(MemoryEngine):
    """A database of one process, whose answers come later than its commits."""

    def __init__(self, file: SQLiteMemory, world: World) -> None:
        super().__init__(file)
        self._world = world

    def run(self, work: Work[Any], *, writes: bool = True) -> asyncio.Future[Any]:
        loop, world = asyncio.get_running_loop(), self._world
        fault = world.local_faults.pop(0) if writes and world.local_faults else None
        if world.is_cut_off or fault == "before":
            return _failed("the disk is away")
        if fault == "late":
            loop.call_later(3.0, self._run_late, work)
            return _failed("the disk is slow")
        done = super().run(work, writes=writes)
        if fault == "after":
            return _failed("the disk is away since the commit")
        answer: asyncio.Future[Any] = loop.create_future()
        loop.call_later(world.store_pause(), _pass_on, done, answer)
        return answer

    def _run_late(self, work: Work[Any]) -> None:
        if not self.is_closed:
            super().run(work)


def _failed(text: str) -> asyncio.Future[Any]:
    failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    failed.set_exception(StoreError(text))
    failed.exception()
    return failed


def _pass_on(done: asyncio.Future[Any], answer: asyncio.Future[Any]) -> None:
    error = done.exception()
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
        answer.exception()
    else:
        answer.set_result(done.result())


class LocalStore(MemoryLedger):
    """A ledger that stays when its process dies."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._new_engine = lambda: LocalEngine(self._memory, world)

    def die(self) -> None:
        """End as in a process that is killed: nothing more is written."""
        if self._flushing is not None:
            self._flushing.cancel()
        if isinstance(self._opened, LocalEngine) and not self._opened.is_closed:
            self._opened.is_closed = True
            self._memory.close()

    @property
    def db(self) -> sqlite3.Connection:
        """The database's connection, also while no session has it open."""
        assert self._memory._kept is not None
        return self._memory._kept


class SlowEngine(ProcessEngine):
    """Connections on which answers take their time, and reach no frozen process."""

    def __init__(self, database: SlowDatabase) -> None:
        super().__init__(database)
        self._process = database
        self._pause = database.pause

    async def _execute(self, questions: Sequence[Question]) -> list[Rows]:
        if seconds := self._pause():
            await asyncio.sleep(seconds)
        if self._process.is_killed:
            raise StoreError("the process is dead")
        answers = await super()._execute(questions)
        if seconds := self._pause():
            await asyncio.sleep(seconds)
        await self._process.running()
        return answers


class SlowDatabase(ProcessDatabase):
    """A process's view of the database, with a latency."""

    def __init__(self, memory: SharedMemory, pause: Callable[[], float]) -> None:
        super().__init__(memory)
        self.pause = pause
        self.is_killed = False

    async def _connect(self) -> Member:
        general, for_lease = SlowEngine(self), SlowEngine(self)
        self._engines = [general, for_lease]
        return Member(general, for_lease, self.memory.new_member(), self._lease)


# --- the API and its deliveries


class Deliveries(WebhookSender):
    """The API's deliveries, in both forms, with some before the look is done or has its picture."""

    def __init__(self, world: World, schedule: Schedule) -> None:
        super().__init__(world.space, world.deliver, schedule.deliveries, Random(schedule.seed))
        self._schedule = schedule

    async def accepted(self, look: FakeLook) -> None:
        """Deliver some looks about when their POST is answered: they are done at once."""
        if look.webhook_url is None:
            return
        now, rng = asyncio.get_running_loop().time(), self._rng
        if rng.random() < self._schedule.without_picture:
            self._add_other(look, now + rng.random() * 0.3, {"status": "processing"})
        if rng.random() < self.options.early:
            self._space.generation.settle_without_webhook(look, now)
            self._schedule_look(look, now + rng.random() * 0.3 - self.options.delay)
        self.wake()

    def _schedule_look(self, look: FakeLook, now: float) -> None:
        if not look.failed and self._rng.random() < self._schedule.without_picture:
            self._add_other(look, now, {"status": "completed"})
        super()._schedule_look(look, now)

    def _add_other(self, look: FakeLook, due: float, fields: dict[str, Any]) -> None:
        body = self._payload(look)
        ids = {name: value for name, value in body.items() if name not in ("status", "result", "error")}
        self._add(_PendingDelivery(look.webhook_url or "", {**ids, **fields}), due)

    def _payload(self, look: FakeLook, *, contradict: bool = False) -> dict[str, Any]:
        form: Literal["old", "new"] = "old" if self._rng.random() < self._schedule.old_form else "new"
        self.options = attrs.evolve(self.options, form=form)
        return super()._payload(look, contradict=contradict)


class Hub(WebhookHub):
    """A process's hub, which notes what was acknowledged."""

    def __init__(self, note: Callable[[str, Delivery], None]) -> None:
        super().__init__("https://hooks.example/hoox", SECRET)
        self._note = note

    def subscribe(
        self, receiver: Callable[[str, Delivery], Awaitable[bool]], *, last: bool = False
    ) -> Callable[[], None]:
        async def noted(attempt: str, delivery: Delivery) -> bool:
            has_it = await receiver(attempt, delivery)
            if has_it:
                self._note(attempt, delivery)
            return has_it

        return super().subscribe(noted, last=last)


class Carrier(InProcessTransport):
    """The transport of one process, which may be frozen. It does not own the deliveries."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.world.space, answer=ANSWER)
        self._process = process

    async def start(self) -> None:
        await super().start()
        self.webhook_sender = self._process.world.deliveries

    async def aclose(self) -> None:
        """Leave the deliveries alone."""

    async def send(self, request: WireRequest, before_send: BeforeSend | None = None) -> WireResponse:
        process = self._process

        async def note() -> None:
            assert before_send is not None
            await before_send()
            await process.running()
            process.world.posted(request.body, process)

        response = await super().send(request, None if before_send is None else note)
        await process.running()
        return response


# --- a process


class Process:
    """One process: the sessions that it opens one after the other, its hub and its hooks."""

    def __init__(self, world: World, number: int, setup: Setup) -> None:
        self.world = world
        self.setup = setup
        self.has_hooks = setup.hooks is not None
        self.database = None if world.memory is None else SlowDatabase(world.memory, world.store_pause)
        self.session: HooxSession | None = None
        self.is_dead = False
        self._one_at_a_time = asyncio.Lock()
        self._number = number
        self._sessions = 0
        self._new_hub()

    def _new_hub(self) -> None:
        self.hub = Hub(lambda attempt, delivery: self.world.acknowledged(attempt, delivery, self.name))

    @property
    def name(self) -> str:
        return f"{self._number}.{self._sessions}"

    @property
    def is_open(self) -> bool:
        return self.session is not None and not self.is_dead

    async def running(self) -> None:
        """Wait while the process is frozen."""
        if self.database is not None:
            await self.database.running()

    async def open(self) -> None:
        """Open a session, as a process that was started or goes on."""
        async with self._one_at_a_time:
            if self.session is None:
                await self._open()

    async def _open(self) -> None:
        world, setup = self.world, self.setup
        if self.is_dead:
            self.is_dead = False
            self._new_hub()
            if world.memory is not None:
                self.database = SlowDatabase(world.memory, world.store_pause)
        self._sessions += 1
        store: Ledger
        if self.database is None:
            store = world.local
        else:
            if self.database._member is None:
                await self.database.open()
            store = self.database.workspace("w")
        session = HooxSession(
            world.space.api_key,
            transport=Carrier(self),
            store=store,
            webhooks=self.hub if setup.webhooks else None,
            hooks=[] if setup.hooks is None else [self._hook(self.name)],
            poll=setup.poll,
            requests_per_minute=60_000,
            timeouts=Timeouts(answer=ANSWER, connect=3.0, wait=60.0, refused=20.0),
        )
        await session.__aenter__()
        self.session = session
        world.watch_ends()

    def _hook(self, name: str) -> Callable[[Event], Any]:
        world, seconds = self.world, self.setup.hooks or 0.0

        def hear(event: Event) -> Any:
            if isinstance(event, LookSettled):
                told = world.told_now(event, name)
                if seconds:
                    return take_time(told)
                told.done = True
            return None

        async def take_time(told: Told) -> None:
            await asyncio.sleep(seconds)
            await self.running()
            told.done = True

        return hear

    async def unknowns(self) -> list[Unknown]:
        """The unknowns as a person sees them."""
        assert self.session is not None
        return await self.session.unknowns()

    async def close(self, *, whole: bool = True) -> None:
        """Close the session, and the database with it where ``whole``."""
        async with self._one_at_a_time:
            session, self.session = self.session, None
            if session is not None:
                await session.aclose()
                self.world.closed(self.name)
            if self.database is not None and whole:
                await self.database.aclose()

    async def kill(self) -> None:
        """End as a process that is killed: nothing more is sent, written or told."""
        session, self.session = self.session, None
        if session is None:
            return
        self.is_dead = True
        runtime = runtime_of(session)
        session._open = None
        session._left.set()
        if self.database is None:
            self.world.local.die()
        else:
            self.database.is_killed = True
            self.database.thaw()
        runtime.submitter.posts.stop()
        runtime.tasks.stop()
        runtime.hooks.stop()
        if runtime._detach is not None:
            runtime._detach()
        if self.database is not None:
            await self.database.kill()
