"""Two processes, failing statements, freezes, cut connections and user decisions in any order.

A hypothesis state machine over two real sessions on one shared store and one virtual clock.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Coroutine, Iterator
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from internals_kit import Intent, IntentState
from processes_kit import LATE, LEASE, Process, ProcessDatabase, StoreFault
from session_kit import prompt
from shared_memory_kit import SharedMemory

from hoox_async.errors import HooxError
from hoox_async.sandbox import Fault, Space
from hoox_async.sandbox.fault_injection import FaultPlan
from hoox_async.testing import VirtualTimeLoop

KEYS = st.sampled_from(["a", "a", "b"])
PROCESSES = st.sampled_from([0, 1])
STORE_FAULTS: st.SearchStrategy[StoreFault | None] = st.sampled_from([None, None, "before", "after", "late"])
API_FAULTS = st.sampled_from(
    [
        None,
        None,
        Fault.DROP_BEFORE,
        Fault.DROP_AFTER,
        Fault.HANG,
        Fault.RATE_LIMITED,
        Fault.status(400),
        Fault.status(402),
    ]
)
PAUSES = st.sampled_from([0.0, 0.5, 2.0, 6.0])
STALLS = st.sampled_from([30.0, 125.0, 132.0, 138.5, 200.0])  # an answer is due 140 s after its sending
OUTAGES = st.sampled_from([2.0, 2.5 * LEASE, 200.0])


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """Keep the garbage collector out: CPython 3.11 raises SystemError where it runs inside of `ast.parse`.

    Hypothesis parses the source of the state machine.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Processes(RuleBasedStateMachine):
    """What holds in the end is checked when everything works again and all leases and deadlines are over."""

    @initialize(latency=st.sampled_from([2.0, 20.0]))
    def open(self, latency: float) -> None:
        self.space = Space(rng=Random(1), requests_per_minute=None)
        self.memory = SharedMemory()
        self.resends: Counter[str] = Counter()
        self.tasks: list[asyncio.Task[Any]] = []
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.processes: list[Process] = []
        self.do(self._open(latency))

    async def _open(self, latency: float) -> None:
        for _ in range(2):
            process = Process(self.space, self.memory, transport={"latency": latency}, poll="awaited")
            await process.session.__aenter__()
            self.processes.append(process)

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)

    # --- what callers do

    @rule(process=PROCESSES, key=KEYS, store=STORE_FAULTS, api=API_FAULTS, pause=PAUSES)
    def submit(
        self, process: int, key: str, store: StoreFault | None, api: Fault | None, pause: float
    ) -> None:
        self._fail_next(process, store, api)
        self.do(self._start(self.processes[process].session.submit(prompt(key), key=key), pause))

    @rule(process=PROCESSES, key=KEYS, store=STORE_FAULTS, api=API_FAULTS, pause=PAUSES)
    def resend(
        self, process: int, key: str, store: StoreFault | None, api: Fault | None, pause: float
    ) -> None:
        self._fail_next(process, store, api)
        self.resends[key] += 1
        self.do(self._start(self.processes[process].session.resend(key), pause))

    @rule(process=PROCESSES, key=KEYS)
    def drop(self, process: int, key: str) -> None:
        self.do(self._start(self.processes[process].session.drop(key), 0.0))

    async def _start(self, work: Coroutine[Any, Any, Any], pause: float) -> None:
        self.tasks.append(asyncio.create_task(work))
        await asyncio.sleep(pause)

    @rule(seconds=st.sampled_from([1.0, 2 * LEASE, 160.0]))
    def wait(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    # --- what goes wrong

    def _fail_next(self, process: int, store: StoreFault | None, api: Fault | None) -> None:
        if store is not None:
            self.processes[process].database.faults.append(store)
        if api is not None:
            self.space.faults.fail_next("create", api)

    @rule(process=PROCESSES, fault=STORE_FAULTS)
    def fail_a_write(self, process: int, fault: StoreFault | None) -> None:
        self._fail_next(process, fault, None)

    @rule(process=PROCESSES, seconds=OUTAGES, pause=PAUSES)
    def cut_off(self, process: int, seconds: float, pause: float) -> None:
        self.do(self._cut_off(self.processes[process].database, seconds, pause))

    async def _cut_off(self, database: ProcessDatabase, seconds: float, pause: float) -> None:
        database.is_cut_off = True
        asyncio.get_running_loop().call_later(seconds, setattr, database, "is_cut_off", False)
        await asyncio.sleep(pause)

    @rule(process=PROCESSES, seconds=OUTAGES, pause=PAUSES)
    def freeze(self, process: int, seconds: float, pause: float) -> None:
        self.do(self._freeze(self.processes[process].database, seconds, pause))

    async def _freeze(self, database: ProcessDatabase, seconds: float, pause: float) -> None:
        database.freeze(seconds)
        await asyncio.sleep(pause)

    @rule(process=PROCESSES, api=API_FAULTS, seconds=STALLS, pause=st.sampled_from([0.0, 160.0]))
    def stall(self, process: int, api: Fault | None, seconds: float, pause: float) -> None:
        """One process freezes before its bytes leave, and goes on while the other may be sending again."""
        key = f"stalled {len(self.resends)}"
        self.resends[key] += 1
        self._repair()
        self.do(self._stall(self.processes[process], self.processes[1 - process], key, api, seconds, pause))

    async def _stall(
        self, process: Process, other: Process, key: str, api: Fault | None, seconds: float, pause: float
    ) -> None:
        if api is not None:
            self.space.faults.fail_next("create", api)
        process.database.freeze_when_sending = seconds
        await self._start(process.session.submit(prompt(key), key=key), 2 * LEASE)
        await self._start(other.session.resend(key), pause)

    # --- what holds

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            self.do(self._check())
        finally:
            self.runner.close()

    def _repair(self) -> None:
        for process in self.processes:
            process.database.faults.clear()
            process.database.is_cut_off = False
            process.database.freeze_when_sending = None
            process.database.thaw()
        self.space.faults = FaultPlan(Random(1))

    async def _check(self) -> None:
        self._repair()
        await asyncio.sleep(400)  # deadlines of answers, leases, pauses of deferred writes
        for task in self.tasks:
            assert task.done(), f"a call hangs: {task}"
            assert task.exception() is None or isinstance(task.exception(), HooxError)
        stored = {intent.key: intent async for intent in self.processes[0].ledger.stream()}
        for key, intent in stored.items():
            assert intent.state is not IntentState.SENDING, "outstanding for ever"
            self._check_books(key, intent)
        assert {charge.request["prompt"] for charge in self.space.ledger} <= set(stored)
        await self._check_that_no_key_is_blocked(stored)
        for process in self.processes:
            await process.session.aclose()

    def _check_books(self, key: str, intent: Intent) -> None:
        charges = [charge for charge in self.space.ledger if charge.request["prompt"] == key]
        charged = sum((Decimal(str(charge.credits)) for charge in charges), Decimal(0))
        assert intent.spent <= charged <= intent.spent + intent.at_risk
        assert len(charges) <= 1 + self.resends[key], "paid again without the user's word"
        if intent.ref is not None:
            assert intent.ref in {charge.ref for charge in charges}

    async def _check_that_no_key_is_blocked(self, stored: dict[str, Intent]) -> None:
        for key, intent in stored.items():
            for process in self.processes:
                before = len(self.space.ledger)
                async with asyncio.timeout(100):
                    result = await asyncio.gather(
                        process.session.submit(prompt(key), key=key), return_exceptions=True
                    )
                if intent.state.in_doubt:
                    assert getattr(result[0], "charged", None) == "maybe"
                else:
                    assert not isinstance(result[0], BaseException)
                if intent.state.paid or intent.state.in_doubt:
                    assert len(self.space.ledger) == before


assert LATE < LEASE
TestProcesses = Processes.TestCase
TestProcesses.settings = settings(
    max_examples=settings.get_profile("suite").max_examples // 4,
    stateful_step_count=15,
    suppress_health_check=[HealthCheck.too_slow],
)
