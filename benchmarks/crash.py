"""Kills a batch at random moments until it is complete, and counts what was paid twice or lost.

A child process runs a batch of edits over several avatars, on a sandbox over sockets, with its store in
SQLite. The sandbox lives in this process, so that it survives; it drops connections before and after
accepting, hangs, and answers 500 before and after accepting. The child is killed with SIGKILL at random
moments and started again, until the batch is complete; then the next batch begins, until there were
enough kills. Each item has a prompt of its own, by which the sandbox's ledger tells how often it was paid.

    python benchmarks/crash.py                       # 200 kills, some minutes
    python benchmarks/crash.py --webhooks            # unknowns are settled by their own deliveries
    python benchmarks/crash.py --processes 3 --webhooks   # three children at a time, on one PostgreSQL
    python benchmarks/crash.py --processes 3 --pgbouncer  # the same behind PgBouncer in transaction mode

With several processes all of them run the same batch over one store, answers take up to 0.6 s, the lease is a
second (the default is ten) and a child lives 3 to 6 s from when its session is open. After the last kill of a
batch with webhooks, what is still unknown has 60 s to be settled by deliveries.

An unknown must have a cause. At each kill the store tells which paid requests the dead child had outstanding;
the sandbox tells which met a fault, and the children which of theirs were answered too late, or not at all.
It ends with 1, and says why, where a claim does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import attrs
from _postgres import connect, databases
from _shared import progress

from hoox_async import (
    BatchItem,
    BatchReport,
    BatchRunner,
    Event,
    HooxSession,
    ImageAvatar,
    LookEdit,
    LookRef,
    Outcome,
    OutcomeState,
    Timeouts,
)
from hoox_async._core.intents.intent import IntentState
from hoox_async._io.ledger.offline import offline_file
from hoox_async.errors import HooxError, StoreError
from hoox_async.events import OutcomeLost
from hoox_async.postgres import PostgresDatabase
from hoox_async.sandbox import DeliveryOptions, Fault, Sandbox
from hoox_async.sandbox.received_requests import RequestRecord

MOST_RUNS = 400
UNFINISHED = 3
RATE = 6_000
TIMEOUTS = Timeouts(connect=5.0, read=5.0, answer=1.0, wait=60.0)
FAULTS = {
    Fault.DROP_BEFORE: 0.02,
    Fault.DROP_AFTER: 0.02,
    Fault.HANG_BEFORE: 0.005,
    Fault.HANG: 0.005,
    Fault.ERROR_500_BEFORE: 0.01,
    Fault.ERROR_500_AFTER: 0.01,
}
# the API's retries are over in 7 s; here processes are down for half the time, on a busy machine for minutes
RETRIES = (0.5, 1.0, 2.0, *75 * [4.0])
SECRET = "benchmarks need no secret secret"
LEASE = 1.0  # seconds
OPEN = "open"  # what a child tells once its session is open
LATENCY = 0.3  # seconds of an answer of several processes' sandbox; a third of them takes twice that
ONLY_LATE = Fault.late(LATENCY)
SETTLED_WITHIN = 60.0  # seconds after the last kill
SETTLED_SHARE = 0.99  # of the charged unknowns, by then
SENDING = """
SELECT i.key FROM hoox.intents i JOIN hoox.members m ON m.id = i.member
WHERE m.pid = %s AND (i.state = 'sending' OR (i.state = 'unknown' AND i.changed_by <> i.member))
"""  # what the process was sending; or others have taken it for dead already


@attrs.frozen
class Options:
    """What is run.

    ``seconds``: a child alone is killed at a random moment of so many after its start; one of several in the
    second half of so many after its session was opened.
    """

    kills: int = 200
    items: int = 300
    avatars: int = 12
    seconds: float = 2.5
    webhooks: bool = False
    processes: int = 1
    pgbouncer: bool = False
    seed: int = 0

    @property
    def settles_late(self) -> bool:
        """Whether deliveries are waited for after the last kill."""
        return self.webhooks and self.processes > 1

    def lifetime(self, rng: Random) -> float:
        """After how many seconds the next child is killed."""
        return rng.uniform(self.seconds / 2 if self.processes > 1 else 0.3, self.seconds)


@attrs.define
class Causes:
    """What can have made a paid request of one batch unknown: the keys of those that it happened to."""

    outstanding: set[str] = attrs.field(factory=set)
    """Their process was killed while it sent them."""
    told: set[str] = attrs.field(factory=set)
    """Their process told of the loss: it got no usable answer, or none in time."""
    faults: set[str] = attrs.field(factory=set)
    """The sandbox has read them, and then dropped them, left them without an answer, or answered 500."""
    last_kill: datetime | None = None

    @property
    def all(self) -> set[str]:
        return self.outstanding | self.told | self.faults

    def in_time(self, moment: datetime | None) -> bool:
        """Whether this moment is not too long after the last kill."""
        if moment is None or self.last_kill is None:
            return moment is not None
        return moment <= self.last_kill + timedelta(seconds=SETTLED_WITHIN)


@attrs.define
class Tally:
    """What became of all batches together."""

    batches: int = 0
    kills: int = 0
    items: int = 0
    most_sends: int = 0
    paid_twice: int = 0
    lost: int = 0
    unknown_charged: int = 0
    proved: int = 0
    proved_in_time: int = 0
    held_uncharged: int = 0
    outstanding: int = 0
    lost_on_the_way: int = 0
    faults: int = 0
    without_cause: list[str] = attrs.field(factory=list)
    wrong: int = 0
    incomplete: int = 0
    seconds: float = 0.0
    evidence: Counter[str] = attrs.field(factory=Counter)

    def failures(self, options: Options) -> list[str]:
        """Which claims do not hold, for people."""
        found = [
            f"{number} {what}"
            for number, what in (
                (self.paid_twice, "intents paid twice"),
                (self.lost, "paid looks lost"),
                (self.wrong, "looks given to the wrong item"),
                (self.incomplete, "items without an end"),
            )
            if number
        ]
        if self.without_cause:
            keys = ", ".join(self.without_cause)
            found.append(f"unknown, and neither outstanding at a kill nor lost on the way: {keys}")
        if options.settles_late and self.proved_in_time < SETTLED_SHARE * self.unknown_charged:
            found.append(
                f"only {self.proved_in_time} of {self.unknown_charged} charged unknowns were settled "
                f"{SETTLED_WITHIN:g} s after the last kill"
            )
        return found

    def shown(self, options: Options) -> str:
        """The figures, for people."""
        how = "with webhooks" if options.webhooks else "without webhooks"
        others = ""
        share = self.proved / self.unknown_charged if self.unknown_charged else 1.0
        proved = [
            ("  of which proved by a delivery", f"{self.proved} ({share:.1%})"),
            (f"  {SETTLED_WITHIN:g} s after the last kill", self.proved_in_time),
        ]
        rows = [
            ("batches, items, seconds", f"{self.batches}, {self.items:,}, {self.seconds:.0f}"),
            ("kills", self.kills),
            ("most paid sends of one intent", self.most_sends),
            ("intents paid twice", self.paid_twice),
            ("paid looks lost", self.lost),
            ("charged unknowns", self.unknown_charged),
            *(proved if options.webhooks else ()),
            ("uncharged unknowns held", self.held_uncharged),
            ("unknowns without a cause", len(self.without_cause)),
            ("outstanding at a kill", self.outstanding),
            ("lost on the way", self.lost_on_the_way),
            ("  requests that met a fault", self.faults),
            ("looks given to the wrong item", self.wrong),
            ("items without an end", self.incomplete),
            ("evidence of the accepted", ", ".join(f"{n} {k}" for k, n in self.evidence.most_common())),
        ]
        lines = [f"  {name:<32} {value}" for name, value in rows]
        if options.processes > 1:
            where = "one PostgreSQL behind PgBouncer" if options.pgbouncer else "one PostgreSQL"
            others += f", {options.processes} processes on {where} (scaled: a lease of {LEASE:g} s)"
        return "\n".join([f"Batches of {options.items} edits, {how}{others}", *lines])


# --- the child ---------------------------------------------------------------------------------------


async def child(arguments: argparse.Namespace) -> None:
    """Run the batch to its end. Started by this program, and killed by it."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(webhooks(arguments.port))
        store = arguments.store
        if store.startswith("postgresql:"):
            try:
                database = await stack.enter_async_context(PostgresDatabase(store, lease=LEASE))
            except StoreError:  # a busy machine does not answer within a third of this short lease
                sys.exit(UNFINISHED)
            store = database.workspace("default")
        session = HooxSession(
            arguments.key,
            base_url=arguments.url,
            store=store,
            requests_per_minute=RATE,
            timeouts=TIMEOUTS,
            webhooks=hub,
            hooks=[tell_losses],
        )
        async with session:
            print(OPEN, flush=True)
            if arguments.settle:
                await asyncio.to_thread(sys.stdin.read)
                return
            # so long a delivery is waited for that may prove what an unknown came to
            runner = BatchRunner(session, look_timeout=1.5 if hub else 30.0)
            report = await runner.run(items_of(arguments.batch, arguments.items, arguments.refs.split(",")))
    if not all(is_over(outcome) for outcome in report):
        sys.exit(UNFINISHED)


def tell_losses(event: Event) -> None:
    """Tell the parent of a paid request of this process whose outcome is not known."""
    if isinstance(event, OutcomeLost):
        print(event.key, flush=True)


def items_of(batch: str, count: int, refs: list[str]) -> list[BatchItem]:
    """Edits of the avatars in turn, each with its own key for a prompt."""
    found = []
    for n in range(count):
        key = f"{batch}/{n}"
        found.append(BatchItem(key, LookEdit(LookRef.parse(refs[n % len(refs)]), key)))
    return found


@asynccontextmanager
async def webhooks(port: int) -> AsyncIterator[Any]:
    """A hub that listens on the port; nothing for port 0."""
    if not port:
        yield None
        return
    from aiohttp import web

    from hoox_async.webhooks import WebhookHub

    hub = WebhookHub(f"http://127.0.0.1:{port}/hooks", SECRET)
    app = web.Application()
    app.add_routes(hub.aiohttp_routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    try:
        yield hub
    finally:
        await runner.cleanup()


# --- the parent --------------------------------------------------------------------------------------


async def measure(options: Options) -> Tally:
    """Batches until there were enough kills, the last one to its end."""
    tally = Tally()
    began = monotonic()
    rng = Random(options.seed)
    sandbox = Sandbox(
        seed=options.seed,
        requests_per_minute=None,
        speed=100.0,
        fault_rates=FAULTS | ({ONLY_LATE: 0.3} if options.processes > 1 else {}),
        latency=LATENCY if options.processes > 1 else 0.0,
        failures=0.03,
        deliveries=DeliveryOptions(retries=RETRIES),
    )
    with stores(options) as new_store:
        async with sandbox:
            while tally.kills < options.kills:
                with new_store() as store:
                    await one_batch(sandbox, options, tally, rng, store)
    tally.seconds = monotonic() - began
    return tally


@contextmanager
def stores(options: Options) -> Iterator[Callable[[], AbstractContextManager[str]]]:
    """Each call makes a store for one batch: a file, or a database where several processes use it."""
    if options.processes > 1:
        with databases(behind_pgbouncer=options.pgbouncer) as new_database:
            yield new_database
    else:
        yield new_file


@contextmanager
def new_file() -> Iterator[str]:
    """The path of a file of SQLite's that does not exist yet."""
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder) / "campaign.db")


async def one_batch(sandbox: Sandbox, options: Options, tally: Tally, rng: Random, store: str) -> None:
    """One batch from its first item to its last, over as many processes as it takes."""
    batch = f"batch-{tally.batches}"
    refs = await make_avatars(sandbox, options.avatars)
    charged_before = len(sandbox.ledger)
    causes = Causes()
    async with AsyncExitStack() as receivers:

        async def work(command: list[str]) -> None:
            await until_complete(command, store, options, tally, causes, rng)
            if options.settles_late:
                await receivers.enter_async_context(receiving(command))

        commands = [command(sandbox, options, batch, store, refs) for _ in range(options.processes)]
        await asyncio.gather(*map(work, commands))
        if options.settles_late:
            await until_settled(store, sandbox, charged_before, causes)
        report = await BatchReport.open(store)
    tally.batches += 1
    tally.items += options.items
    count(sandbox, charged_before, batch, options, report, causes, tally)


async def make_avatars(sandbox: Sandbox, count: int) -> list[LookRef]:
    """The avatars whose looks are edited, made without faults in the way."""
    refs: list[LookRef] = []
    async with sandbox.session(timeouts=TIMEOUTS) as session:
        while len(refs) < count:
            with suppress(HooxError):
                job = await session.submit(ImageAvatar(["https://example.com/a.jpg"]))
                refs.append(job.ref)
    return refs


def command(sandbox: Sandbox, options: Options, batch: str, store: str, refs: list[LookRef]) -> list[str]:
    """How the child is started."""
    arguments = {
        "--url": sandbox.base_url, "--key": sandbox.api_key, "--store": store, "--batch": batch,
        "--items": str(options.items), "--refs": ",".join(map(str, refs)),
        "--port": str(free_port() if options.webhooks else 0),
    }  # fmt: skip
    flat = [argument for pair in arguments.items() for argument in pair]
    return [sys.executable, __file__, "child", *flat]


async def until_complete(
    command: list[str], store: str, options: Options, tally: Tally, causes: Causes, rng: Random
) -> None:
    """Start the child again and again; kill it each time, until it ends by itself or kills are enough."""
    for _ in range(MOST_RUNS):
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        patience = options.lifetime(rng) if tally.kills < options.kills else 180.0
        if options.processes > 1:  # on a busy machine it may take seconds to get there
            assert process.stdout is not None
            await process.stdout.readline()
        waiting = asyncio.create_task(process.communicate())
        done, _ = await asyncio.wait([waiting], timeout=patience)
        if not done:
            process.send_signal(signal.SIGKILL)
            tally.kills += 1
            causes.last_kill = datetime.now(UTC)
        told, errors = await waiting
        causes.told.update(set(told.decode().split()) - {OPEN})
        if not done:
            causes.outstanding |= await outstanding(store, process.pid)
        progress(f"{tally.kills} kills, {tally.batches} batches")
        if process.returncode == 0:
            return
        if process.returncode not in (-signal.SIGKILL, UNFINISHED):
            raise RuntimeError(f"the child failed: {errors.decode()[-4000:]}")
    raise RuntimeError("the batch does not come to an end")


async def outstanding(store: str, pid: int) -> set[str]:
    """The keys of what a process was sending when it was killed, as the store has it."""
    if not store.startswith("postgresql:"):
        with suppress(StoreError):  # it was killed before it had made the file
            async with offline_file(store) as ledger:
                return {intent.key for intent in await ledger.in_states([IntentState.SENDING])}
        return set()
    from psycopg.errors import UndefinedTable

    found: set[str] = set()
    async with await connect(store) as connection:
        for _ in range(2):  # the server may still execute what the dead process had sent it
            with suppress(UndefinedTable):
                found.update(key for (key,) in await (await connection.execute(SENDING, (pid,))).fetchall())
            await asyncio.sleep(0.2)
    return found


@asynccontextmanager
async def receiving(command: list[str]) -> AsyncIterator[None]:
    """A child that lives meanwhile and sends nothing: it only receives deliveries."""
    process = await asyncio.create_subprocess_exec(
        *command, "--settle", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def until_settled(store: str, sandbox: Sandbox, first: int, causes: Causes) -> None:
    """Wait until nothing that was charged is unknown, but no longer than it may take after the last kill."""
    charged = {charge.request["prompt"] for charge in sandbox.ledger[first:]}
    causes.last_kill = causes.last_kill or datetime.now(UTC)
    while causes.in_time(datetime.now(UTC)):
        report = await BatchReport.open(store)
        if not any(one.state is OutcomeState.UNKNOWN and one.key in charged for one in report):
            return
        await asyncio.sleep(0.5)


def count(
    sandbox: Sandbox,
    first: int,
    batch: str,
    options: Options,
    report: BatchReport,
    causes: Causes,
    tally: Tally,
) -> None:
    """Compare the sandbox's ledger with the store."""
    charged: dict[str, list[LookRef]] = {}
    owner: dict[LookRef, str] = {}
    for charge in sandbox.ledger[first:]:
        prompt = charge.request["prompt"]
        owner[charge.ref] = prompt
        if prompt.startswith(f"{batch}/"):
            charged.setdefault(prompt, []).append(charge.ref)
    records = [each for each in sandbox.requests if has_prompt(each, batch)]
    sends = Counter(each.body["prompt"] for each in records)
    causes.faults.update(each.body["prompt"] for each in records if is_lost(each))
    tally.outstanding += len(causes.outstanding)
    tally.lost_on_the_way += len(causes.told | causes.faults)
    tally.faults = sum(is_lost(each) for each in sandbox.requests)
    tally.most_sends = max(tally.most_sends, *sends.values())
    tally.paid_twice += sum(len(refs) > 1 for refs in charged.values())
    outcomes = {outcome.key: outcome for outcome in report}
    tally.lost += sum(key not in outcomes or not is_known(outcomes[key]) for key in charged)
    for outcome in report:
        count_one(outcome, charged.get(outcome.key, []), owner, causes, tally)
    tally.incomplete += options.items - sum(is_over(outcome) for outcome in report)


def has_prompt(record: RequestRecord, batch: str) -> bool:
    """Whether an edit of the batch came whole; a killed client leaves halves."""
    if record.endpoint != "edit" or not isinstance(record.body, dict):
        return False
    return str(record.body.get("prompt")).startswith(f"{batch}/")


def is_lost(record: RequestRecord) -> bool:
    """Whether a fault made an edit unknown. One that is dropped before it is accepted is not read either."""
    return record.endpoint == "edit" and record.fault not in (None, ONLY_LATE.name)


def is_known(outcome: Outcome) -> bool:
    """Whether the store accounts for its price: by a look, or as an unknown that may have been paid."""
    return outcome.ref is not None or outcome.at_risk > 0


def is_over(outcome: Outcome) -> bool:
    return outcome.state in (OutcomeState.READY, OutcomeState.FAILED, OutcomeState.UNKNOWN)


def count_one(
    outcome: Outcome, paid: list[LookRef], owner: dict[LookRef, str], causes: Causes, tally: Tally
) -> None:
    """One item: was it an unknown, charged or not, and whose look did it get?"""
    if outcome.evidence is not None:
        tally.evidence[str(outcome.evidence)] += 1
    is_held = outcome.state is OutcomeState.UNKNOWN
    is_proved = not is_held and outcome.evidence is not None and str(outcome.evidence) != "answer"
    tally.unknown_charged += is_proved or (is_held and bool(paid))
    tally.held_uncharged += is_held and not paid
    tally.proved += is_proved
    tally.proved_in_time += is_proved and causes.in_time(outcome.settled_at)
    if (is_held or is_proved) and outcome.key not in causes.all:
        tally.without_cause.append(outcome.key)
    if outcome.ref is not None and owner.get(outcome.ref) != outcome.key:
        tally.wrong += 1


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def parsed() -> argparse.Namespace:
    """The arguments of this program, or of its child."""
    if sys.argv[1:2] == ["child"]:
        inner = argparse.ArgumentParser()
        inner.add_argument("role")
        for name in ("--url", "--key", "--store", "--batch", "--refs"):
            inner.add_argument(name, required=True)
        inner.add_argument("--items", type=int, required=True)
        inner.add_argument("--port", type=int, default=0)
        inner.add_argument("--settle", action="store_true")
        return inner.parse_args()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--items", type=int, default=300, help="edits of one batch")
    parser.add_argument("--seconds", type=float, help="a child lives so many at most (2.5, or 6 of several)")
    parser.add_argument("--webhooks", action="store_true")
    parser.add_argument("--processes", type=int, default=1, help="children at a time, on one PostgreSQL")
    parser.add_argument("--pgbouncer", action="store_true", help="PostgreSQL is behind a PgBouncer")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Run as the child, or measure and print."""
    arguments = parsed()
    if hasattr(arguments, "role"):
        asyncio.run(child(arguments))
        return
    options = Options(
        kills=arguments.kills,
        items=arguments.items,
        seconds=arguments.seconds or (6.0 if arguments.processes > 1 else 2.5),
        webhooks=arguments.webhooks,
        processes=arguments.processes,
        pgbouncer=arguments.pgbouncer,
        seed=arguments.seed,
    )
    tally = asyncio.run(measure(options))
    progress("")
    print(tally.shown(options))
    failures = tally.failures(options)
    print("\n".join(f"FAILED: {failure}" for failure in failures) or "All claims held.")
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
