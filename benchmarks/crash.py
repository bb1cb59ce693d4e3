"""Kills a batch at random moments until it is complete, and counts what was paid twice or lost.

A child process runs a batch of edits over several avatars, on a sandbox over sockets, with its store in
SQLite. The sandbox lives in this process, so that it survives; it drops connections before and after
accepting, hangs, and answers 500 before and after accepting. The child is killed with SIGKILL at random
moments and started again, until the batch is complete; then the next batch begins, until there were
enough kills. Each item has a prompt of its own, by which the sandbox's ledger tells how often it was paid.

    python benchmarks/crash.py                       # 200 kills, some minutes
    python benchmarks/crash.py --strangers           # a second client makes looks of the same avatars
    python benchmarks/crash.py --webhooks            # unknowns are settled by their own deliveries
    python benchmarks/crash.py --processes 3 --webhooks   # three children at a time, on one PostgreSQL

With several processes all of them run the same batch over one store, answers take up to 0.6 s, the lease is a
second (the default is ten) and a child lives 3 to 6 s. After the last kill of a batch with webhooks, what is
still unknown has 60 s to be settled by deliveries.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import attrs
from _shared import progress

from hoox_async import (
    BatchItem,
    BatchReport,
    BatchRunner,
    HooxSession,
    ImageAvatar,
    LookEdit,
    LookRef,
    Outcome,
    OutcomeState,
    Timeouts,
)
from hoox_async.errors import HooxError
from hoox_async.postgres import PostgresDatabase
from hoox_async.sandbox import DeliveryOptions, Fault, Sandbox
from hoox_async.sandbox.workspace_records import RequestRecord

MOST_RUNS = 400
UNFINISHED = 3
RATE = 6_000
TIMEOUTS = Timeouts(connect=5.0, read=5.0, answer=1.0, wait=60.0, search=(0.1, 0.4, 1.0))
FAULTS = {
    Fault.DROP_BEFORE: 0.02,
    Fault.DROP_AFTER: 0.02,
    Fault.HANG_BEFORE: 0.005,
    Fault.HANG: 0.005,
    Fault.ERROR_500_BEFORE: 0.01,
    Fault.ERROR_500_AFTER: 0.01,
}
RETRIES = (0.5, 1.0, 2.0, 4.0, 8.0)  # the API's are over in 7 s; here a process is down for half the time
SECRET = "benchmarks need no secret secret"
STRANGER = "a stranger's"
LEASE = 1.0  # seconds
LATENCY = 0.3  # seconds of an answer of several processes' sandbox; a third of them takes twice that
SETTLED_WITHIN = 60.0  # seconds after the last kill


@attrs.frozen
class Options:
    """What is run. ``seconds``: the child is killed at a random moment of so many after its start."""

    kills: int = 200
    items: int = 300
    avatars: int = 12
    seconds: float = 2.5
    strangers: bool = False
    webhooks: bool = False
    processes: int = 1
    seed: int = 0

    @property
    def exclusive(self) -> bool:
        """Whether the child may infer a lost look by elimination."""
        return not self.strangers and not self.webhooks and self.processes == 1

    def lifetime(self, rng: Random) -> float:
        """After how many seconds the next child is killed."""
        return rng.uniform(3.0, 6.0) if self.processes > 1 else rng.uniform(0.3, self.seconds)


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
    adopted: int = 0
    held_uncharged: int = 0
    wrong: int = 0
    incomplete: int = 0
    seconds: float = 0.0
    evidence: Counter[str] = attrs.field(factory=Counter)

    def shown(self, options: Options) -> str:
        """The figures, for people."""
        how = "webhooks" if options.webhooks else f"exclusive={options.exclusive}"
        others = ", with a second client at work on the same avatars" if options.strangers else ""
        share = self.adopted / self.unknown_charged if self.unknown_charged else 1.0
        rows = [
            ("batches, items, seconds", f"{self.batches}, {self.items:,}, {self.seconds:.0f}"),
            ("kills", self.kills),
            ("most paid sends of one intent", self.most_sends),
            ("intents paid twice", self.paid_twice),
            ("paid looks lost", self.lost),
            ("charged unknowns", self.unknown_charged),
            ("  of which adopted", f"{self.adopted} ({share:.1%})"),
            ("uncharged unknowns held", self.held_uncharged),
            ("wrong adoptions", self.wrong),
            ("items without an end", self.incomplete),
            ("evidence of the accepted", ", ".join(f"{n} {k}" for k, n in self.evidence.most_common())),
        ]
        lines = [f"  {name:<32} {value}" for name, value in rows]
        if options.processes > 1:
            others += f", {options.processes} processes on one PostgreSQL (scaled: a lease of {LEASE:g} s)"
        return "\n".join([f"Batches of {options.items} edits, {how}{others}", *lines])


# --- the child ---------------------------------------------------------------------------------------


async def child(arguments: argparse.Namespace) -> None:
    """Run the batch to its end. Started by this program, and killed by it."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(webhooks(arguments.port))
        store = arguments.store
        if store.startswith("postgresql:"):
            database = await stack.enter_async_context(PostgresDatabase(store, lease=LEASE))
            store = database.workspace("default")
        session = HooxSession(
            arguments.key,
            base_url=arguments.url,
            store=store,
            requests_per_minute=RATE,
            timeouts=TIMEOUTS,
            exclusive=arguments.exclusive,
            webhooks=hub,
        )
        async with session:
            if arguments.settle:
                await wait_for_deliveries(session)
                return
            # so long a delivery is waited for that may prove what an unknown came to
            runner = BatchRunner(session, look_timeout=1.5 if hub else 30.0)
            report = await runner.run(items_of(arguments.batch, arguments.items, arguments.refs.split(",")))
    if not all(is_over(outcome) for outcome in report):
        sys.exit(UNFINISHED)


async def wait_for_deliveries(session: HooxSession) -> None:
    """Wait until no unknown is left, a minute at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLED_WITHIN):
            while await session.unknowns():
                await asyncio.sleep(0.5)


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
        fault_rates=FAULTS | ({Fault.late(LATENCY): 0.3} if options.processes > 1 else {}),
        latency=LATENCY if options.processes > 1 else 0.0,
        failures=0.03,
        deliveries=DeliveryOptions(retries=RETRIES),
    )
    with ExitStack() as servers:
        server = servers.enter_context(own_server()) if options.processes > 1 else None
        async with sandbox:
            while tally.kills < options.kills:
                await one_batch(sandbox, options, tally, rng, server)
    tally.seconds = monotonic() - began
    return tally


@contextmanager
def own_server() -> Iterator[Any]:
    """A PostgreSQL server from the wheel of the extra ``dev``."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from postgres_kit import TestRun

    with TestRun.owned() as run:
        yield run.shared_server()


async def one_batch(sandbox: Sandbox, options: Options, tally: Tally, rng: Random, server: Any) -> None:
    """One batch from its first item to its last, over as many processes as it takes."""
    batch = f"batch-{tally.batches}"
    refs = await make_avatars(sandbox, options.avatars)
    stranger = asyncio.create_task(be_a_stranger(sandbox, refs, rng)) if options.strangers else None
    charged_before = len(sandbox.ledger)
    try:
        with ExitStack() as stack:
            if server is not None:
                store = stack.enter_context(server.database())
            else:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                store = str(Path(folder) / "campaign.db")
            commands = [command(sandbox, options, batch, store, refs) for _ in range(options.processes)]
            await asyncio.gather(*(until_complete(one, options, tally, rng) for one in commands))
            if options.processes > 1 and options.webhooks:
                await asyncio.gather(
                    *(until_complete([*one, "--settle"], None, tally, rng) for one in commands)
                )
            report = await BatchReport.open(store)
    finally:
        if stranger is not None:
            stranger.cancel()
            await asyncio.wait([stranger])
    tally.batches += 1
    tally.items += options.items
    count(sandbox, charged_before, batch, options, report, tally)


async def make_avatars(sandbox: Sandbox, count: int) -> list[LookRef]:
    """The avatars whose looks are edited, made without faults in the way."""
    refs: list[LookRef] = []
    async with sandbox.session(timeouts=TIMEOUTS) as session:
        while len(refs) < count:
            with suppress(HooxError):
                job = await session.submit(ImageAvatar(["https://example.com/a.jpg"]))
                refs.append(job.ref)
    return refs


async def be_a_stranger(sandbox: Sandbox, refs: list[LookRef], rng: Random) -> None:
    """Makes looks of the same avatars, until cancelled."""
    async with sandbox.session(timeouts=TIMEOUTS) as session:
        while True:
            with suppress(HooxError):
                await session.edit_look(rng.choice(refs), STRANGER)
            await asyncio.sleep(rng.uniform(0.0, 0.05))


def command(sandbox: Sandbox, options: Options, batch: str, store: str, refs: list[LookRef]) -> list[str]:
    """How the child is started."""
    arguments = {
        "--url": sandbox.base_url, "--key": sandbox.api_key, "--store": store, "--batch": batch,
        "--items": str(options.items), "--refs": ",".join(map(str, refs)),
        "--port": str(free_port() if options.webhooks else 0),
    }  # fmt: skip
    flat = [argument for pair in arguments.items() for argument in pair]
    return [sys.executable, __file__, "child", *flat, *(["--exclusive"] if options.exclusive else [])]


async def until_complete(command: list[str], options: Options | None, tally: Tally, rng: Random) -> None:
    """Start the child again and again; kill it each time, until it ends by itself.

    Without ``options`` it is not killed.
    """
    for _ in range(MOST_RUNS):
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        is_killed = options is not None and tally.kills < options.kills
        patience = options.lifetime(rng) if options is not None and is_killed else 180.0
        waiting = asyncio.create_task(process.communicate())
        done, _ = await asyncio.wait([waiting], timeout=patience)
        if not done:
            process.send_signal(signal.SIGKILL)
            tally.kills += 1
        _, errors = await waiting
        progress(f"{tally.kills} kills, {tally.batches} batches")
        if process.returncode == 0:
            return
        if process.returncode not in (-signal.SIGKILL, UNFINISHED):
            raise RuntimeError(f"the child failed: {errors.decode()[-4000:]}")
    raise RuntimeError("the batch does not come to an end")


def count(
    sandbox: Sandbox, first: int, batch: str, options: Options, report: BatchReport, tally: Tally
) -> None:
    """Compare the sandbox's ledger with the store."""
    charged: dict[str, list[LookRef]] = {}
    owner: dict[LookRef, str] = {}
    for charge in sandbox.ledger[first:]:
        prompt = charge.request["prompt"]
        owner[charge.ref] = prompt
        if prompt.startswith(f"{batch}/"):
            charged.setdefault(prompt, []).append(charge.ref)
    prompts = [record.body["prompt"] for record in sandbox.requests if has_prompt(record)]
    sends = Counter(prompt for prompt in prompts if prompt.startswith(f"{batch}/"))
    tally.most_sends = max(tally.most_sends, *sends.values())
    tally.paid_twice += sum(len(refs) > 1 for refs in charged.values())
    outcomes = {outcome.key: outcome for outcome in report}
    tally.lost += sum(key not in outcomes or not is_known(outcomes[key]) for key in charged)
    for outcome in report:
        count_one(outcome, charged.get(outcome.key, []), owner, tally)
    tally.incomplete += options.items - sum(is_over(outcome) for outcome in report)


def has_prompt(record: RequestRecord) -> bool:
    """Whether an edit came whole; a killed client leaves halves."""
    return record.endpoint == "edit" and isinstance(record.body, dict) and "prompt" in record.body


def is_known(outcome: Outcome) -> bool:
    """Whether the store accounts for its price: by a look, or as an unknown that may have been paid."""
    return outcome.ref is not None or outcome.at_risk > 0


def is_over(outcome: Outcome) -> bool:
    return outcome.state in (OutcomeState.READY, OutcomeState.FAILED, OutcomeState.UNKNOWN)


def count_one(outcome: Outcome, paid: list[LookRef], owner: dict[LookRef, str], tally: Tally) -> None:
    """One item: was it an unknown, charged or not, and whose look did it get?"""
    if outcome.evidence is not None:
        tally.evidence[str(outcome.evidence)] += 1
    if outcome.state is OutcomeState.UNKNOWN:
        tally.unknown_charged += bool(paid)
        tally.held_uncharged += not paid
    elif outcome.evidence is not None and str(outcome.evidence) != "answer":
        tally.unknown_charged += 1
        tally.adopted += 1
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
        inner.add_argument("--exclusive", action="store_true")
        inner.add_argument("--settle", action="store_true")
        return inner.parse_args()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--items", type=int, default=300, help="edits of one batch")
    parser.add_argument("--seconds", type=float, default=2.5, help="a child lives 0.3 to so many seconds")
    parser.add_argument("--strangers", action="store_true")
    parser.add_argument("--webhooks", action="store_true")
    parser.add_argument("--processes", type=int, default=1, help="children at a time, on one PostgreSQL")
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
        seconds=arguments.seconds,
        strangers=arguments.strangers,
        webhooks=arguments.webhooks,
        processes=arguments.processes,
        seed=arguments.seed,
    )
    tally = asyncio.run(measure(options))
    progress("")
    print(tally.shown(options))
    if tally.paid_twice or tally.lost or tally.wrong or tally.incomplete:
        sys.exit(1)


if __name__ == "__main__":
    main()
