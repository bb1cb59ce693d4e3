"""How long the calls of a session block the event loop, with 100,000 intents in the store.

The store is filled with looks that are done, accepted, planned and unknown, kept deliveries, and ends that
hooks were not told of. Then a real session opens it, on the in-process transport. "Blocked" is the longest
time in which the loop did not look at its sockets: one turn, from one ``select`` to the next. "CPU" is how
much of that its thread has worked: the rest is another thread's turn, or another program's. The garbage
collector's time is left out of both, and told beside. Each store is a process of its own.

    python benchmarks/blocking.py                    # memory, SQLite and PostgreSQL: some minutes
    python benchmarks/blocking.py --only SQLite --intents 10000
    python benchmarks/blocking.py --only memory --where     # also says what ran in the long turns

It starts a PostgreSQL of its own from the wheel of the extra ``dev``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from _postgres import connect, databases
from _shared import progress, table

from hoox_async import BatchItem, BatchReport, BatchRunner, Budget, HooxSession, LookEdit, LookRef, LookStatus
from hoox_async._api.models import Look
from hoox_async._api.webhook_payloads import Delivery
from hoox_async._core.intents.intent import Evidence, Intent, IntentState
from hoox_async._core.intents.keys import digest
from hoox_async._core.intents.records import dump_intent
from hoox_async._core.intents.transitions import Accept, MarkUnknown, Send, Settle, advance
from hoox_async._io.ledger import intent_rows
from hoox_async._io.ledger.intent_rows import changes_between
from hoox_async._io.ledger.ledger import Ledger
from hoox_async._io.ledger.opening import open_store
from hoox_async._io.ledger.transaction import Transaction
from hoox_async._io.protocols import Workspace
from hoox_async.events import Event
from hoox_async.sandbox import InProcessTransport, Space
from hoox_async.webhooks import WebhookHub

STORES = ("memory", "SQLite", "PostgreSQL")
AVATARS = 1000
OWED, DELIVERED = 500, 500
BASE = "https://api.example/v1"
HUB = "https://app.example/hooks", "s" * 32
AT = datetime.now(UTC) - timedelta(hours=2)
TARGET = 20.0  # ms


# --- how long the loop is blocked


class Probe:
    """Measures the turns of the running loop: from the end of one ``select`` to the beginning of the next."""

    def __init__(self) -> None:
        loop: Any = asyncio.get_running_loop()
        self._selector = loop._selector
        loop._selector = self
        gc.callbacks.append(self._collected)
        self._collecting = 0.0  # in this turn
        self._gc_began = 0.0
        self.found: dict[str, tuple[float, float, float]] = {}
        self._phase = "fill"
        self._is_busy = True
        self._begin()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)

    def select(self, timeout: float | None = None) -> Any:
        """Note the turn that ends here, and begin the next one."""
        self._end()
        self._is_busy = False
        try:
            return self._selector.select(timeout)
        finally:
            self._begin()
            self._is_busy = True

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What is measured meanwhile."""
        self._change(name)
        try:
            yield
        finally:
            self._change("between")

    def _change(self, phase: str) -> None:
        self._end()
        self._phase = phase
        self._begin()

    def _begin(self) -> None:
        self._collecting = 0.0
        self._wall, self._cpu = time.perf_counter(), time.thread_time()

    def _end(self) -> None:
        wall = 1000 * (time.perf_counter() - self._wall - self._collecting)
        cpu = 1000 * (time.thread_time() - self._cpu - self._collecting)
        most = self.found.get(self._phase, (0.0, 0.0, 0.0))
        found = (wall, max(cpu, 0.0), 1000 * self._collecting)
        self.found[self._phase] = tuple(map(max, most, found))  # type: ignore[assignment]

    def watch(self) -> None:
        """Print on stderr where the loop is whenever a turn takes too much CPU, from a thread beside it."""
        loops = threading.get_ident()
        clock = time.pthread_getcpuclockid(loops)

        def look() -> None:
            while True:
                time.sleep(0.002)
                took = 1000 * (time.clock_gettime(clock) - self._cpu - self._collecting)
                if self._is_busy and took > TARGET:
                    frames = traceback.extract_stack(sys._current_frames()[loops])
                    where = " < ".join(f"{each.name}:{each.lineno}" for each in reversed(frames[-12:]))
                    print(f"{self._phase}: {took:.0f} ms: {where}", file=sys.stderr)

        threading.Thread(target=look, daemon=True).start()

    def _collected(self, phase: str, info: Mapping[str, int]) -> None:  # noqa: ARG002
        if phase == "start":
            self._gc_began = time.perf_counter()
        else:
            self._collecting += time.perf_counter() - self._gc_began


# --- what is in the store


class Filling:
    """The intents of a campaign, and the workspace of the API that has made their looks."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.space = Space(rng=Random(1), requests_per_minute=None)
        self.space.hold(0.0)
        made = [self.space._create({"imageUrls": ["https://a.example/1.jpg"]}, 0.0) for _ in range(AVATARS)]
        self.sources = [LookRef(body["avatar_id"], body["look_id"]) for _, body in made]

    def request(self, number: int) -> LookEdit:
        """The request of this item."""
        source = self.sources[number % AVATARS]
        return LookEdit(source, f"podcast scene {number}", metadata={"scene": str(number), "shop": "a"})

    def state(self, number: int) -> IntentState:
        """One of ten is accepted, one of twenty planned, one of fifty unknown."""
        if number % 10 == 1:
            return IntentState.ACCEPTED
        if number % 20 == 3:
            return IntentState.PLANNED
        return IntentState.UNKNOWN if number % 50 == 5 else IntentState.READY

    def intent(self, number: int) -> Intent:
        """The intent of this item."""
        request, state = self.request(number), self.state(number)
        source = self.sources[number % AVATARS]
        intent = Intent(f"k{number}", True, request, digest(request), AT)
        if state is IntentState.PLANNED:
            return intent
        intent = advance(intent, Send(f"attempt {number}", AT, source))
        if state is IntentState.UNKNOWN:
            return advance(intent, MarkUnknown("the connection was lost"))
        ref = LookRef(source.avatar_id, f"look_{number}")
        if state is IntentState.ACCEPTED:
            body = {"avatar_id": source.avatar_id, "look_id": source.look_id, "prompt": request.prompt}
            _, answered = self.space._edit(body, 0.0)
            ref = LookRef(answered["avatar_id"], answered["look_id"])
        intent = advance(intent, Accept(ref, AT, Evidence.ANSWER))
        if state is IntentState.ACCEPTED:
            return intent
        return advance(intent, Settle(Look(ref, LookStatus.READY, "https://cdn.example/1.jpg"), AT))

    def write(self, ledger: Ledger, numbers: range, tx: Transaction) -> None:
        """Write these, each as the session that has made it would."""
        place = ledger._place
        for number in numbers:
            intent = self.intent(number)
            changes = [changes_between(None, intent)]
            intent_rows.put(tx, place, None, None, intent, dump_intent(intent), changes)

    async def fill(self, store: Ledger) -> None:
        """Fill the store, which nobody has open."""
        await store.open(Workspace(BASE, self.space.api_key, hooks="hooks"))
        for start in range(0, self.count, 200):
            numbers = range(start, min(start + 200, self.count))
            await store._engine.run(partial(self.write, store, numbers))
            progress(f"filled: {start:,} of {self.count:,}")
        told = (
            "UPDATE hoox.intents SET notified = look_id WHERE workspace = :workspace AND state = 'ready' "
            f"AND seq > (SELECT min(seq) + {2 * OWED} FROM hoox.intents WHERE workspace = :workspace)"
        )
        await store._engine.run(lambda tx: tx.write(told, store._place.values()))
        accepted = [number for number in range(self.count) if self.state(number) is IntentState.ACCEPTED]
        for number in accepted[:DELIVERED]:
            intent = (await store.get([f"k{number}"]))[f"k{number}"]
            assert intent.ref is not None
            delivery = Delivery(intent.ref.look_id, LookStatus.READY, avatar_id=intent.ref.avatar_id)
            await store.keep_delivery(f"attempt {number}", delivery)
        await store.aclose()


# --- what is measured


async def _calls(session: HooxSession, filling: Filling, probe: Probe) -> object:
    """What a program does with an open session."""
    source = filling.sources[0]
    with probe.phase("submit, with a key"):
        job = await session.submit(LookEdit(source, "another scene"), key="new")
    with probe.phase("submit, in a named budget"):
        budget = Budget(1000, name="spring")
        await session.submit(LookEdit(source, "yet another"), key="newer", budget=budget)
    with probe.phase("status()"):
        await session.status(job.ref)
    with probe.phase("jobs()"):
        jobs = await session.jobs()
    with probe.phase("health()"):
        await session.health()
    with probe.phase("unknowns()"):
        unknowns = await session.unknowns()
    with probe.phase("drop()"):
        await session.drop(unknowns[0].key)
    named = _look_by_hand(filling)
    with probe.phase("resolve()"):
        await session.resolve("k5", named)
    items = [BatchItem(f"k{number}", filling.request(number)) for number in range(filling.count)]
    runner = BatchRunner(session)
    with probe.phase("estimate() of all"):
        await runner.estimate(items)
    done = [item for number, item in enumerate(items) if filling.state(number) is IntentState.READY]
    with probe.phase("run() again, what is done"):
        report = await runner.run(done)
    assert len(report.ready) == len(done)
    return jobs, items, report  # kept: that they are freed is not the library's work


def _look_by_hand(filling: Filling) -> LookRef:
    """A look that nobody has claimed, of the avatar that was edited for the item 5."""
    source = filling.sources[5]
    body = {"avatar_id": source.avatar_id, "look_id": source.look_id, "prompt": "by hand"}
    _, answered = filling.space._edit(body, 0.0)
    return LookRef(answered["avatar_id"], answered["look_id"])


async def _changed_elsewhere(url: str, count: int) -> None:
    """Another process has changed so many rows at once."""
    connection = await connect(url)
    async with connection:
        await connection.execute(
            "UPDATE hoox.intents SET version = version + 1, changed_in = pg_current_xact_id(), "
            f"changed_by = 'other' WHERE state = 'ready' AND seq % 5 = 0 AND seq < {count}"
        )


async def _measure(place: str | None, count: int, where: bool) -> dict[str, tuple[float, float, float]]:
    filling = Filling(count)
    store = open_store(place)
    await filling.fill(store)
    gc.collect()
    probe = Probe()
    if where:
        probe.watch()

    def hook(event: Event) -> None:
        """Count nothing: it is there so that ends are owed."""

    session = HooxSession(
        filling.space.api_key,
        base_url=BASE,
        store=store if place is None else place,
        requests_per_minute=6000,
        webhooks=WebhookHub(*HUB),
        hooks=[hook],
        transport=InProcessTransport(filling.space, latency=0.01, connect=0.0),
    )
    with probe.phase("opening"):
        await session.__aenter__()
    with probe.phase("the first 5 s: deliveries, ends, looks to poll"):
        await asyncio.sleep(5.0)
    kept = [await _calls(session, filling, probe)]
    if place is not None and place.startswith("postgresql"):
        await _changed_elsewhere(place, count)
        with probe.phase("the feed: 16,000 changes of others"):
            await asyncio.sleep(8.0)
    with probe.phase("closing"):
        await session.aclose()
    if place is not None:
        with probe.phase("BatchReport.open()"):
            kept.append(await BatchReport.open(place))
    return probe.found


def _in_process(place: str | None, count: int, where: bool) -> dict[str, tuple[float, float, float]]:
    arguments = [sys.executable, __file__, "--one", json.dumps([place, count, where])]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, check=True)
    found: dict[str, tuple[float, float, float]] = json.loads(done.stdout)
    return found


def _table(store: str, found: Mapping[str, tuple[float, float, float]], count: int) -> str:
    rows = [
        (name, f"{wall:.1f}", f"{cpu:.1f}", f"{collecting:.1f}", "" if cpu <= TARGET else "over")
        for name, (wall, cpu, collecting) in found.items()
        if name not in ("fill", "between")
    ]
    header = ("", "blocked ms", "CPU", "garbage besides", f"{TARGET:g} ms")
    return table(f"{store}: the loop's longest turn, with {count:,} intents", header, rows)


def main() -> int:
    """Measure each store in a process of its own, and print a table of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--intents", type=int, default=100_000)
    parser.add_argument("--only", choices=STORES, action="append", help="may be given again")
    parser.add_argument("--where", action="store_true", help="print the stack in turns that take too long")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asyncio.run(_measure(*json.loads(options.one)))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for store in options.only or STORES:
            progress(store)
            if store == "PostgreSQL":
                with databases() as new, new() as url:
                    found = _in_process(url, options.intents, options.where)
            else:
                path = str(Path(folder, "campaign.db")) if store == "SQLite" else None
                found = _in_process(path, options.intents, options.where)
            progress("")
            print(_table(store, found, options.intents), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
