"""Real processes that die in the middle of a paid batch: killed, or by Ctrl-C. See benchmarks/crash.py."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Set
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hoox_async import (
    BatchItem,
    BatchReport,
    BatchRunner,
    Evidence,
    ImageAvatar,
    Look,
    LookEdit,
    LookRef,
    LookStatus,
    Outcome,
    OutcomeState,
)
from hoox_async.sandbox import Fault, Sandbox

pytestmark = pytest.mark.slow

REF = LookRef("avtr_a", "look_1")
CHILD = """
import asyncio, signal, sys
from hoox_async import BatchItem, BatchRunner, HooxSession, LookEdit, LookRef, Timeouts

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background

async def main(url, key, store, ref):
    options = {"requests_per_minute": 6000, "timeouts": Timeouts(answer=600.0)}
    async with HooxSession(key, base_url=url, store=store, **options) as session:
        items = [BatchItem(f"e{n}", LookEdit(LookRef.parse(ref), f"e{n}")) for n in range(5)]
        await BatchRunner(session, max_in_flight=1).run(items)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark program."""
    benchmarks = Path(__file__).parent.parent / "benchmarks"
    if not benchmarks.is_dir():
        pytest.skip("the benchmarks are not here")
    monkeypatch.syspath_prepend(str(benchmarks))
    return import_module("crash")


@pytest.mark.parametrize(
    "how",
    [{}, {"webhooks": True}, {"processes": 3}],
    ids=["alone", "webhooks", "three processes"],
)
async def test_a_batch_that_is_killed_repeatedly_pays_once_and_loses_nothing(
    crash: Any, how: dict[str, bool]
) -> None:
    """Nothing is paid twice or lost, no look is given to another item, and all items settle."""
    options = crash.Options(kills=2, items=20, avatars=4, seconds=1.2, **how)
    tally = await crash.measure(options)
    assert tally.failures(options) == []
    assert tally.kills >= 2
    assert tally.most_sends == 1
    if not how:
        assert tally.proved == 0, "every loss is reported as unknown"
    assert "most paid sends of one intent    1" in tally.shown(options)


def test_an_unknown_needs_a_cause(crash: Any) -> None:
    """The program fails where a request is unknown that was neither outstanding at a kill nor lost."""
    unknown = Outcome("a", LookEdit(REF, "a"), OutcomeState.UNKNOWN, at_risk=Decimal(2))
    for field in ("outstanding", "told", "faults"):
        tally = crash.Tally()
        crash.count_one(unknown, [], {}, crash.Causes(**{field: {"a"}}), tally)
        assert tally.failures(crash.Options(processes=3)) == []
        crash.count_one(unknown, [], {}, crash.Causes(**{field: {"b"}}), tally)
        (failure,) = tally.failures(crash.Options(processes=3))
        assert failure.endswith("nor lost on the way: a")


@pytest.mark.parametrize(("seconds", "is_in_time"), [(59, True), (61, False)])
def test_deliveries_settle_unknowns_a_minute_after_the_last_kill(
    crash: Any, seconds: int, is_in_time: bool
) -> None:
    """Several processes with webhooks fail where over 1 % of the charged unknowns were settled later."""
    killed_at = datetime(2030, 1, 1, tzinfo=UTC)
    causes = crash.Causes(outstanding={"a"}, last_kill=killed_at)
    settled = Outcome(
        "a", LookEdit(REF, "a"), OutcomeState.READY, Look(REF, LookStatus.READY),
        evidence=Evidence.WEBHOOK, settled_at=killed_at + timedelta(seconds=seconds),
    )  # fmt: skip
    tally = crash.Tally()
    crash.count_one(settled, [REF], {REF: "a"}, causes, tally)
    assert (tally.failures(crash.Options(processes=3, webhooks=True)) == []) is is_in_time
    assert tally.failures(crash.Options(processes=3)) == []


@asynccontextmanager
async def child(sandbox: Sandbox, store: str, ref: LookRef) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that runs a batch of five edits, one at a time."""
    words = [sys.executable, "-c", CHILD, sandbox.base_url, sandbox.api_key, store, str(ref)]
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until(true: Callable[[], object]) -> None:
    """Wait for it, a good while at most."""
    for _ in range(600):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come")


def posts(sandbox: Sandbox) -> int:
    return sum(charge.request["endpoint"] == "edit" for charge in sandbox.ledger)


async def test_the_first_ctrl_c_finishes_the_outstanding_post(tmp_path: Path) -> None:
    """The first Ctrl-C records the outstanding POST and sends nothing more, and the next run resumes."""
    store = str(tmp_path / "campaign.db")
    async with Sandbox() as sandbox:
        async with sandbox.session() as session:
            source = (await session.run(ImageAvatar(["https://example.com/a.jpg"]))).ref
        sandbox.fail_next("edit", Fault.late(2.0))
        async with child(sandbox, store, source) as process:
            await until(lambda: posts(sandbox) == 1)
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.communicate(), 120)
            assert process.returncode in (-signal.SIGINT, 130)
        report = await BatchReport.open(store)
        assert {outcome.key: outcome.credits for outcome in report} == {"e0": 2}
        assert report.outcomes[0].ref == sandbox.ledger[1].ref
        assert posts(sandbox) == 1
        await the_rest(sandbox, store, source)


async def test_the_second_ctrl_c_exits_at_once_with_a_correct_store(tmp_path: Path) -> None:
    """After the second Ctrl-C the store has the outstanding POST as unknown; the next run finds its look.

    The answer's deadline would be over in ten minutes: the process does not wait for it.
    """
    store = str(tmp_path / "campaign.db")
    async with Sandbox() as sandbox:
        async with sandbox.session() as session:
            source = (await session.run(ImageAvatar(["https://example.com/a.jpg"]))).ref
        sandbox.fail_next("edit", Fault.HANG)
        async with child(sandbox, store, source) as process:
            await until(lambda: posts(sandbox) == 1)
            process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.5)
            assert process.returncode is None, "it waits for the POST outstanding"
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.communicate(), 120)
        report = await BatchReport.open(store)
        assert {outcome.key: outcome.credits for outcome in report} == {"e0": 0}
        assert report.outcomes[0].at_risk == 2
        await the_rest(sandbox, store, source, lost={"e0"})


async def the_rest(sandbox: Sandbox, store: str, source: LookRef, lost: Set[str] = frozenset()) -> None:
    """The next process runs the same items: each is paid once, and the lost one is held."""
    async with sandbox.session(store=store) as session:
        items = [BatchItem(f"e{n}", LookEdit(source, f"e{n}")) for n in range(5)]
        report = await BatchRunner(session).run(items)
    assert {outcome.key for outcome in report if str(outcome.state) != "ready"} == lost
    assert posts(sandbox) == 5
