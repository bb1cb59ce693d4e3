"""Two processes, failing statements, freezes, cut connections and user decisions in any order.

A hypothesis state machine over two real sessions on one shared store and one virtual clock.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from processes_kit import LATE, LEASE, Process, SharedRecords, StoreFault, new_process
from session_kit import prompt

from hoox_async._core.intents.intent import Intent, IntentState
from hoox_async.errors import HooxError
from hoox_async.sandbox import Fault, Space
from hoox_async.sandbox.fault_injection import FaultPlan
from hoox_async.testing import VirtualTimeLoop

KEYS = st.sampled_from(["a", "b"])
PROCESSES = st.sampled_from([0, 1])
STORE_FAULTS: st.SearchStrategy[StoreFault] = st.sampled_from(["before", "after", "late"])
API_FAULTS = st.sampled_from(
    [
        Fault.DROP_BEFORE,
        Fault.DROP_AFTER,
        Fault.HANG,
        Fault.RATE_LIMITED,
        Fault.status(400),
        Fault.status(402),
    ]
)
SECONDS = st.sampled_from([0.05, 0.5, 2.0, 2 * LEASE, 160.0])


class Processes(RuleBasedStateMachine):
    """What holds in the end is checked when everything works again and all leases and deadlines are over."""

    @initialize(latency=st.sampled_from([0.1, 5.0, 40.0]))
    def open(self, latency: float) -> None:
        self.space = Space(rng=Random(1), requests_per_minute=None)
        self.records = SharedRecords()
        self.resends: Counter[str] = Counter()
        self.tasks: list[asyncio.Task[Any]] = []
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.processes: list[Process] = []
        self.do(self._open(latency))

    async def _open(self, latency: float) -> None:
        for member in ("one", "two"):
            process = new_process(
                self.space, self.records, member, transport={"latency": latency}, poll="awaited"
            )
            await process.session.__aenter__()
            self.processes.append(process)

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)

    # --- what callers do

    @rule(process=PROCESSES, key=KEYS)
    def submit(self, process: int, key: str) -> None:
        self.do(self._start(self.processes[process].session.submit(prompt(key), key=key)))

    @rule(process=PROCESSES, key=KEYS, max_wait=st.sampled_from([None, 1.0]))
    def resend(self, process: int, key: str, max_wait: float | None) -> None:
        self.resends[key] += 1
        self.do(self._start(self.processes[process].session.resend(key, max_wait=max_wait)))

    @rule(process=PROCESSES, key=KEYS)
    def drop(self, process: int, key: str) -> None:
        self.do(self._start(self.processes[process].session.drop(key)))

    async def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        self.tasks.append(asyncio.create_task(work))
        await asyncio.sleep(0)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    # --- what goes wrong

    @rule(process=PROCESSES, fault=STORE_FAULTS)
    def fail_a_write(self, process: int, fault: StoreFault) -> None:
        self.processes[process].store.faults.append(fault)

    @rule(fault=API_FAULTS)
    def fail_a_post(self, fault: Fault) -> None:
        self.space.faults.fail_next("create", fault)

    @rule(process=PROCESSES, is_cut_off=st.booleans())
    def cut_off(self, process: int, is_cut_off: bool) -> None:
        self.processes[process].store.is_cut_off = is_cut_off

    @rule(process=PROCESSES)
    def freeze(self, process: int) -> None:
        self.processes[process].store.freeze()

    @rule(process=PROCESSES)
    def thaw(self, process: int) -> None:
        self.processes[process].store.thaw()

    # --- what holds

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            self.do(self._check())
        finally:
            self.runner.close()

    async def _check(self) -> None:
        for process in self.processes:
            process.store.faults.clear()
            process.store.is_cut_off = False
            process.store.thaw()
        self.space.faults = FaultPlan(Random(1))
        await asyncio.sleep(400)  # deadlines of answers, leases, pauses of deferred writes
        for task in self.tasks:
            assert task.done(), f"a call hangs: {task}"
            assert task.exception() is None or isinstance(task.exception(), HooxError)
        stored = {intent.key: intent async for intent in self.records_stream()}
        for key, intent in stored.items():
            assert intent.state is not IntentState.SENDING, "outstanding for ever"
            self._check_books(key, intent)
        assert {charge.request["prompt"] for charge in self.space.ledger} <= set(stored)
        await self._check_that_no_key_is_blocked(stored)
        for process in self.processes:
            await process.session.aclose()

    def records_stream(self) -> Any:
        return self.processes[0].store.stream()

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
    deadline=None,
    max_examples=60,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow],
)
