"""Random schedules of settling: what is drawn from a seed, and the processes that live through it.

The sessions, the ledger and the hubs are the real ones. The API, the load balancer of its deliveries, the
clock and the processes' misfortunes are played, in virtual time. `settling_checks` says what must hold.

    python benchmarks/settling.py --seed 17 --trace     # one schedule again, with all that happened
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import cache
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

import attrs
from processes_kit import LEASE, StoreFault
from session_kit import made
from settling_processes_kit import Deliveries, LocalStore, Process
from shared_memory_kit import SharedMemory

from hoox_async import (
    BatchItem,
    BatchRunner,
    ImageAvatar,
    Look,
    LookEdit,
    LookJob,
    LookRef,
    LookSettled,
    PromptAvatar,
    Unknown,
)
from hoox_async._api.requests import Request
from hoox_async._api.webhook_payloads import Delivery
from hoox_async._core.settings import Poll
from hoox_async._io.ledger import binding
from hoox_async.errors import GenerationFailed, HooxError, InvalidRequest
from hoox_async.sandbox import DeliveryOptions, Fault, Space
from hoox_async.sandbox.fault_injection import FaultPlan
from hoox_async.testing import VirtualTimeLoop

API_KEY = f"hx_live_{7:064x}"
PUBLIC = LookRef("avtr_public_ada", "look_public_ada")
API_FAULTS = (
    Fault.DROP_AFTER, Fault.DROP_AFTER, Fault.DROP_AFTER, Fault.HANG, Fault.ERROR_500_AFTER,
    Fault.DROP_BEFORE, Fault.REFUSED, Fault.RATE_LIMITED_RETRY_AFTER, Fault.status(400), Fault.late(8.0),
)  # fmt: skip
STORE_FAULTS: tuple[StoreFault, ...] = ("before", "after", "late")
WAITS = (0, 0.5, 5.0, 20.0, 60.0, None)


# --- a schedule


@attrs.frozen
class Setup:
    """A process. ``hooks``: None for none, else the seconds that they take, 0 for a plain function."""

    hooks: float | None
    poll: Poll
    webhooks: bool
    keeps_database: bool


class Act(NamedTuple):
    """What happens at a moment, in which process, with a number that decides the details."""

    at: float
    name: str
    process: int
    number: int


@attrs.frozen
class Schedule:
    """What is drawn from a seed. ``fails``: more than the API goes wrong. ``local``: no shared store."""

    seed: int
    local: bool
    fails: bool
    setups: tuple[Setup, ...]
    acts: tuple[Act, ...]
    deliveries: DeliveryOptions
    old_form: float
    without_picture: float
    store_latency: float
    failures: float
    stays_open: bool


CALM_ACTS = (
    ("submit", 8), ("again", 3), ("wait_elsewhere", 2), ("status", 2), ("cancel", 2), ("batch", 3),
    ("lose", 5), ("decide", 2),
)  # fmt: skip
QUIET_ACTS = (*CALM_ACTS, ("reopen", 2), ("leave", 1))
OPERATIONS = {"reopen", "leave", "kill", "stop", "cut_off", "fail_write", "cut_closing", "cancel"}
FAILING_ACTS = (*QUIET_ACTS, ("kill", 2), ("stop", 2), ("cut_off", 2), ("fail_write", 3), ("cut_closing", 1))


def draw(seed: int) -> Schedule:
    """The schedule of this seed. Of ten, five have no shared store, three one process, and two three."""
    rng = Random(seed)
    local, count = seed % 10 < 5, 3 if seed % 10 > 7 else 1
    fails = rng.random() < 0.5
    always = rng.choice([True, True, False])  # whether there are hooks in every process
    setups = tuple(
        Setup(
            rng.choice([0, 0, 0.05, 2.0, 12.0]) if always or rng.random() < 0.4 else None,
            rng.choice(["all", "all", "awaited"]),
            rng.random() < 0.85,
            rng.random() < 0.5,
        )
        for _ in range(count)
    )
    names = FAILING_ACTS if fails else rng.choice([CALM_ACTS, QUIET_ACTS])
    chosen = rng.choices([name for name, _ in names], [each for _, each in names], k=rng.randint(6, 22))
    acts = sorted(
        Act(rng.uniform(0, 30), name, rng.randrange(count), rng.randrange(1 << 30)) for name in chosen
    )
    first = Act(0.0, "submit", 0, rng.randrange(1 << 30))
    return Schedule(
        seed, local, fails, setups, (first, *acts),
        DeliveryOptions(
            lose=rng.choice([0.0, 0.1, 0.5]), double=rng.choice([0.0, 0.3]),
            contradict=rng.choice([0.0, 0.0, 0.3]), early=rng.choice([0.0, 0.3, 1.0]),
            delay=rng.choice([0.0, 2.0]), reorder=rng.choice([0.0, 5.0, 20.0]),
        ),
        old_form=rng.choice([0.0, 0.0, 0.4, 1.0]),
        without_picture=rng.choice([0.0, 0.3]),
        store_latency=rng.choice([0.0, 0.0, 0.2]),
        failures=rng.choice([0.0, 0.2, 0.6]),
        stays_open=rng.random() < 0.5,
    )  # fmt: skip


# --- what is noted


@attrs.define
class Told:
    """A call of a session's hooks. ``is_true``: the store said so in that moment."""

    key: str | None
    look_id: str
    status: str
    by: str
    at: float
    is_true: bool
    done: bool = False


class Waited(NamedTuple):
    """A wait that has ended: its bound and what it took, in seconds; the look, if it gave one."""

    bound: float | None
    took: float
    look: Look | None
    is_true: bool


class Posted(NamedTuple):
    """A paid request whose bytes left."""

    key: str
    hooks: bool


class Acknowledged(NamedTuple):
    """A delivery for which a session answered that it has it."""

    attempt: str
    delivery: Delivery
    by: str
    at: float


class End(NamedTuple):
    """A row that became READY or FAILED, as the database saw it first."""

    key: str
    look_id: str
    state: str
    teller: str | None


NOTE_ENDS = """
    CREATE TEMP TABLE ends (key, look_id, state, teller);
    CREATE TEMP TRIGGER note_end AFTER UPDATE ON main.intents
        WHEN NEW.state IN ('ready', 'failed')
            AND (OLD.state IS NOT NEW.state OR OLD.look_id IS NOT NEW.look_id)
            AND NOT EXISTS (SELECT 1 FROM ends WHERE key = NEW.key AND look_id = NEW.look_id)
        BEGIN INSERT INTO ends VALUES (NEW.key, NEW.look_id, NEW.state, NEW.teller); END;
    CREATE TEMP TABLE accepted (look_id, at);
    CREATE TEMP TRIGGER note_accepted AFTER UPDATE ON main.intents
        WHEN NEW.state = 'accepted' AND OLD.state <> 'accepted'
        BEGIN INSERT INTO accepted VALUES (NEW.look_id, loop_time()); END;
"""


# --- all of it


class World:
    """The processes of a schedule, their API and their store, and what was seen."""

    def __init__(self, schedule: Schedule, trace: Callable[[str], None] = lambda _: None) -> None:
        self.schedule = schedule
        self.rng = Random(schedule.seed + 1)
        self.trace = trace
        self.space = Space(
            rng=Random(schedule.seed), requests_per_minute=None, median=8.0, failures=schedule.failures,
            api_key=API_KEY,
        )  # fmt: skip
        self.sources = [made(self.space), made(self.space), PUBLIC]
        self.memory = None if schedule.local else SharedMemory()
        self.local = LocalStore(self)
        self.local_faults: list[StoreFault] = []
        self.is_cut_off = False
        self.deliveries = Deliveries(self, schedule)
        self.processes = [Process(self, number, setup) for number, setup in enumerate(schedule.setups)]
        self.told: list[Told] = []
        self.waits: list[Waited] = []
        self.posts: list[Posted] = []
        self.acks: list[Acknowledged] = []
        self.resends: Counter[str] = Counter()
        self.requests: dict[str, Request] = {}
        self.tasks: dict[asyncio.Task[Any], Process] = {}
        self.operations: set[asyncio.Task[Any]] = set()  # what befalls processes, which no caller cancels
        self.errors: list[BaseException] = []
        self.was_cut_short = False  # a closing had to cancel hooks, or was cancelled itself
        self.left_by_listener: list[str] = []
        self.unknowns: dict[str, Unknown] = {}  # by their keys, as the listener shows them
        self._is_watched = False

    # --- what the checks look at

    @property
    def db(self) -> sqlite3.Connection:
        """The database's connection."""
        if self.memory is not None:
            return self.memory.db
        return self.local.db

    def watch_ends(self) -> None:
        """Note from now on which rows become READY or FAILED."""
        if not self._is_watched:
            self._is_watched = True
            self.db.create_function("loop_time", 0, asyncio.get_running_loop().time)
            self.db.executescript(NOTE_ENDS)

    @property
    def ends(self) -> list[End]:
        """The ends that were written, in their order."""
        return [End(*row) for row in self.db.execute("SELECT * FROM ends").fetchall()]

    def has_end(self, look: Look, key: str | None = None) -> bool:
        """Whether the store says that the look is done like this, or has said so of the key's earlier round.

        Of a look that no row has (any more) it says nothing, nor of one that was accepted while the answer
        was on its way that no row has it.
        """
        lately = asyncio.get_running_loop().time() - self.schedule.store_latency
        values = {"id": look.ref.look_id, "state": str(look.status), "lately": lately}
        has_look = "look_id = :id AND state IN ('accepted', 'ready', 'failed')"
        rows = self.db.execute(f"SELECT state FROM main.intents WHERE {has_look}", values).fetchall()
        if key is None:
            accepted = "SELECT 1 FROM accepted WHERE look_id = :id AND at >= :lately"
            is_new = bool(self.db.execute(accepted, values).fetchall())
            return not rows or is_new or (values["state"],) in rows
        if rows:
            return (values["state"],) in rows
        ended = "SELECT 1 FROM ends WHERE look_id = :id AND state = :state"
        return bool(self.db.execute(ended, values).fetchall())

    def store_pause(self) -> float:
        """Seconds that a statement or its answer takes."""
        latency = self.schedule.store_latency
        return self.rng.random() * latency if latency and self.rng.random() < 0.5 else 0.0

    # --- what is noted

    def note(self, text: str) -> None:
        """Say what happens, where somebody reads it."""
        self.trace(f"{asyncio.get_running_loop().time():8.2f}  {text}")

    def told_now(self, event: LookSettled, by: str) -> Told:
        """Hooks were called."""
        look = event.look
        at = asyncio.get_running_loop().time()
        told = Told(event.key, look.ref.look_id, str(look.status), by, at, self.has_end(look, event.key))
        self.told.append(told)
        self.note(f"{by} tells {told.key} {told.look_id} {told.status}")
        return told

    def posted(self, body: Any, process: Process) -> None:
        """The bytes of a paid request leave."""
        fields = json.loads(body) if isinstance(body, bytes | str) else body
        self.posts.append(Posted(str(fields["place"]), process.has_hooks))

    def acknowledged(self, attempt: str, delivery: Delivery, by: str) -> None:
        """A session answered that it has a delivery."""
        self.acks.append(Acknowledged(attempt, delivery, by, asyncio.get_running_loop().time()))
        form = "" if delivery.avatar_id else ", old form"
        self.note(f"{by} acknowledges {delivery.look_id} {delivery.status}{form}")

    def closed(self, name: str) -> None:
        """A session was closed, which may have had to cancel hooks."""
        self.was_cut_short |= any(told.by == name and not told.done for told in self.told)

    async def deliver(self, url: str, body: dict[str, Any]) -> int:
        """The load balancer: any process gets the delivery."""
        process = self.rng.choice(self.processes)
        await process.running()
        return await process.hub.handle(url.rpartition("/")[2], json.dumps(body).encode())

    # --- the run

    async def run(self) -> None:
        """Live through the schedule. Then everything works again, and it is quiet."""
        self.deliveries.start()
        for process in self.processes:
            await process.open()
        for act in self.schedule.acts:
            await self._until(act.at)
            process = self.processes[act.process]
            self.note(f"{process.name}: {act.name}")
            task = self._spawn(process, getattr(self, f"_{act.name}")(process, Random(act.number)))
            if act.name in OPERATIONS:
                self.operations.add(task)
            await asyncio.sleep(0)
        await self._until(35.0)

    async def add(self, setup: Setup) -> Process:
        """One more process."""
        process = Process(self, len(self.processes), setup)
        self.processes.append(process)
        await process.open()
        return process

    def repair(self) -> None:
        """Let everything work again."""
        self.space.faults = FaultPlan(Random(1))
        self.is_cut_off = False
        self.local_faults.clear()
        for process in self.processes:
            if process.database is not None:
                process.database.faults.clear()
                process.database.is_cut_off = False
                process.database.thaw()

    async def end(self) -> None:
        """Close what is open, and stop the deliveries."""
        await self.deliveries.aclose()
        for process in self.processes:
            await process.close()
        if self.memory is not None:
            for process in self.processes:
                if process.database is not None and not process.is_dead:
                    await process.database.aclose()
            self.memory.db.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))

    def _spawn(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(self._guarded(work))
        self.tasks[task] = process
        task.add_done_callback(self.tasks.pop)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except HooxError as error:
            self.note(f"   {type(error).__name__}: {error}")
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self.errors.append(error)

    # --- what callers do

    def _request(self, rng: Random) -> tuple[str, Request]:
        key = f"k{len(self.requests)}"
        kind = rng.choice(["edit", "edit", "edit", "create", "create", "images"])
        request: Request
        if kind == "edit":
            request = LookEdit(rng.choice(self.sources), f"a scene for {key}", place=key)
        elif kind == "create":
            request = PromptAvatar(f"a host for {key}", place=key)
        else:
            request = ImageAvatar(["https://example.com/a.jpg"], place=key)
        self.requests[key] = request
        return key, request

    async def _submit(self, process: Process, rng: Random) -> None:
        key, request = self._request(rng)
        await self._order(process, key, request, rng)

    async def _again(self, process: Process, rng: Random) -> None:
        key = rng.choice(list(self.requests))
        await self._order(process, key, self.requests[key], rng)

    async def _order(self, process: Process, key: str, request: Request, rng: Random) -> None:
        if process.session is None:
            return
        job = await process.session.submit(request, key=key, max_wait=rng.choice([None, None, 5.0]))
        self.note(f"   {key} is {job.ref}")
        if rng.random() < 0.7:
            await self._wait(job, rng.choice(WAITS))

    async def _wait(self, job: LookJob, bound: float | None) -> None:
        loop = asyncio.get_running_loop()
        began, look = loop.time(), None
        try:
            look = await job.wait(bound)
        except GenerationFailed as failed:
            look = failed.look
        except HooxError:
            pass
        is_true = look is None or self.has_end(look)
        self.waits.append(Waited(bound, loop.time() - began, look, is_true))

    async def _wait_elsewhere(self, process: Process, rng: Random) -> None:
        if process.session is not None and self.space.ledger:
            charge = rng.choice(self.space.ledger)
            await self._wait(process.session.job(charge.ref), rng.choice(WAITS))

    async def _status(self, process: Process, rng: Random) -> None:
        if process.session is not None and self.space.ledger:
            await process.session.status(rng.choice(self.space.ledger).ref)

    async def _cancel(self, _: Process, rng: Random) -> None:
        """Cancel a caller."""
        calls = [task for task in self.tasks if task not in self.operations]
        if calls:
            rng.choice(calls).cancel()

    async def _batch(self, process: Process, rng: Random) -> None:
        if process.session is None:
            return
        failed = [end.key for end in self.ends if end.state == "failed" and end.key in self.requests] or list(
            self.requests
        )
        key = rng.choice(failed)
        if not any(end.key == key and end.state == "failed" for end in self.ends):
            retry: tuple[Any, ...] = ()
        else:
            retry = ("failed",)
            self.resends[key] += 1
        runner = BatchRunner(process.session, retry=retry, look_timeout=30.0)
        await runner.run([BatchItem(key, self.requests[key])])

    async def _lose(self, process: Process, rng: Random) -> None:
        """The answer to the next POST is lost, or it is refused."""
        fault = rng.choice(API_FAULTS)
        self.note(f"   {fault.name}")
        self.space.faults.fail_next("edit", fault)
        self.space.faults.fail_next("create", fault)
        await self._submit(process, rng)

    async def _decide(self, process: Process, rng: Random) -> None:
        """A person settles an unknown."""
        session = process.session
        unknowns = [] if session is None else await session.unknowns()
        if session is None or not unknowns:
            return
        unknown = rng.choice(unknowns)
        refs = [charge.ref for charge in self.space.ledger if charge.request.get("place") == unknown.key]
        decision = rng.choice(["resolve", "resend", "drop"])
        self.note(f"   {decision} {unknown.key}")
        if decision == "resolve" and refs:
            await session.resolve(unknown.key, refs[-1], attempt=unknown.attempt)
        elif decision == "resend":
            self.resends[unknown.key] += 1
            try:
                await session.resend(unknown.key, attempt=unknown.attempt)
            except InvalidRequest:
                self.resends[unknown.key] -= 1
                raise
        elif decision == "drop":
            await session.drop(unknown.key, attempt=unknown.attempt)

    # --- what becomes of processes

    async def _reopen(self, process: Process, rng: Random) -> None:
        await process.close(whole=not process.setup.keeps_database)
        await asyncio.sleep(rng.choice([0.0, 1.0, 15.0]))
        await process.open()

    async def _leave(self, process: Process, _: Random) -> None:
        await process.close(whole=not process.setup.keeps_database)

    async def _kill(self, process: Process, rng: Random) -> None:
        for task, of in self.tasks.items():
            if of is process and task not in self.operations:
                task.cancel()
        await process.kill()
        if rng.random() < 0.7:
            await asyncio.sleep(rng.choice([0.0, 2.0, 2 * LEASE]))
            await process.open()

    async def _stop(self, process: Process, rng: Random) -> None:
        if process.database is not None:
            process.database.freeze(rng.choice([2.0, 1.5 * LEASE, 3 * LEASE]))

    async def _cut_off(self, process: Process, rng: Random) -> None:
        """The process loses its database for a while."""
        target: Any = process.database or self
        target.is_cut_off = True
        await asyncio.sleep(rng.choice([1.0, 6.0, 1.5 * LEASE]))
        target.is_cut_off = False

    async def _fail_write(self, process: Process, rng: Random) -> None:
        """The next writes of intents fail before or after their commit, or come late."""
        faults = self.local_faults if process.database is None else process.database.faults
        faults.extend(rng.choices(STORE_FAULTS, k=rng.choice([1, 1, 3])))

    async def _cut_closing(self, process: Process, rng: Random) -> None:
        closing = asyncio.create_task(process.close(whole=not process.setup.keeps_database))
        await asyncio.sleep(rng.choice([0.0, 0.05, 0.5]))
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await asyncio.sleep(1.0)
        await process.open()


_fingerprint = cache(binding._fingerprint)  # scrypt: half of what a schedule would take


def run(work: Callable[[], Coroutine[Any, Any, Any]], seed: int) -> Any:
    """Run this on a loop of its own, with its chances from the seed."""
    random.seed(seed)
    with (
        patch.object(binding, "_fingerprint", _fingerprint),
        asyncio.Runner(loop_factory=VirtualTimeLoop) as runner,
    ):
        return runner.run(work())
