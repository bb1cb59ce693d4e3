"""The shop of examples/production under each fault of its runbook: what it says, after how many seconds.

    python benchmarks/faults.py                          # all: about a quarter of an hour
    python benchmarks/faults.py key_refused store_away   # some

A sandbox, a PostgreSQL, a web server, two workers and the process that saves pictures, with orders all the
time. A fault is put in, held for a while after its word is there, and taken out. A worker that ends is
started again, as Kubernetes does. The words are those of ``/readyz`` of all processes together, read every
second.

``store_full`` and ``picture_disk_full`` mount a small file system, so they need root; else they are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import attrs
import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from _production import Process, World, world
from postgres_kit import NOBODY, Proxy, TestRun

from hoox_async import Trouble
from hoox_async.sandbox import DeliveryOptions, Fault, Sandbox

ENDPOINTS = ("create", "edit", "status", "avatar", "look", "list")
HELD = 20.0  # seconds that a fault lasts after its word is there
PATIENCE = 180.0  # seconds until a word is there, and until it is gone
SMALL = 48 << 20  # bytes of the small file systems


class Gate(Proxy):
    """A proxy that can close its port, as a program that has ended."""

    async def close_port(self) -> None:
        """Refuse connections, and cut those that there are."""
        assert self._listener is not None
        self._listener.close()
        self.cut()

    async def open_port(self) -> None:
        """Take connections again."""
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", self.port)


@attrs.define
class Stage:
    """The shop, and what the faults are put into."""

    world: World
    api: Gate
    database: Gate
    disks: dict[str, Path]
    supervised: bool = True
    orders: int = 0
    tasks: list[asyncio.Task[None]] = attrs.field(factory=list)

    @property
    def sandbox(self) -> Sandbox:
        """The API."""
        return self.world.sandbox

    @property
    def alive(self) -> list[Process]:
        """The processes that serve probes."""
        return [
            each for each in self.world.processes if each.name != "migrate" and each.process.poll() is None
        ]

    async def order(self) -> None:
        """Post orders, until cancelled. One that is not taken is not posted again."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as client:
            while True:
                self.orders += 1
                with suppress(aiohttp.ClientError, OSError, TimeoutError):
                    await self.world.order(self.orders, client)
                await asyncio.sleep(2.0)

    async def supervise(self) -> None:
        """Start again what has ended, until cancelled."""
        while True:
            await asyncio.sleep(3.0)
            if self.supervised:
                for _ in range(2 - len(self.world.workers)):
                    self.world.start_worker()
                if all(each.name != "pictures" for each in self.alive):
                    self.world.start_pictures()

    async def words(self) -> set[str]:
        """What all processes say now."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:

            async def read(process: Process) -> list[str]:
                with suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with client.get(f"http://127.0.0.1:{process.port}/readyz") as response:
                        shown: list[str] = (await response.json())["trouble"]
                        return shown
                return []

            return {word for said in await asyncio.gather(*map(read, self.alive)) for word in said}

    @contextmanager
    def endpoint_fault(self, fault: Fault) -> Iterator[None]:
        """All requests of the API meet this fault inside."""
        for endpoint in ENDPOINTS:
            self.sandbox.fail_next(endpoint, fault, 1_000_000)
        try:
            yield
        finally:
            self.sandbox.space.faults._planned.clear()


# --- the faults: each a context manager, inside of which it lasts


@asynccontextmanager
async def api_unreachable(stage: Stage) -> AsyncIterator[None]:
    """The API refuses connections."""
    await stage.api.close_port()
    yield
    await stage.api.open_port()


@asynccontextmanager
async def api_silent(stage: Stage) -> AsyncIterator[None]:
    """The API takes connections, and never answers."""
    stage.api.hold()
    yield
    stage.api.cut()
    stage.api.release()


@asynccontextmanager
async def api_failing(stage: Stage) -> AsyncIterator[None]:
    """The API answers 500."""
    with stage.endpoint_fault(Fault.ERROR_500_BEFORE):
        yield


@asynccontextmanager
async def throttled(stage: Stage) -> AsyncIterator[None]:
    """The API answers 429."""
    with stage.endpoint_fault(Fault.RATE_LIMITED):
        yield


@asynccontextmanager
async def key_refused(stage: Stage) -> AsyncIterator[None]:
    """The API answers 401."""
    key = stage.sandbox.space.api_key
    stage.sandbox.space.api_key = "hx_live_another"
    yield
    stage.sandbox.space.api_key = key


@asynccontextmanager
async def no_credits(stage: Stage) -> AsyncIterator[None]:
    """The API answers 402."""
    stage.sandbox.space.balance, balance = Decimal(0), stage.sandbox.space.balance
    yield
    stage.sandbox.space.balance = balance


@asynccontextmanager
async def quota_used_by_others(stage: Stage) -> AsyncIterator[None]:
    """A stranger sends 30 requests a minute with the same key."""

    async def use() -> None:
        headers = {"Authorization": f"Bearer {stage.sandbox.api_key}"}
        async with aiohttp.ClientSession(headers=headers) as client:
            while True:
                async with client.get(f"{stage.sandbox.base_url}/avatar/avtr_public_ada"):
                    await asyncio.sleep(2.0)

    task = asyncio.create_task(use())
    yield
    task.cancel()


@asynccontextmanager
async def no_deliveries(stage: Stage) -> AsyncIterator[None]:
    """The API's deliveries do not come."""
    stage.sandbox.set_deliveries(DeliveryOptions(lose=1.0))
    yield
    stage.sandbox.set_deliveries(DeliveryOptions())


@asynccontextmanager
async def nobody_polls(stage: Stage) -> AsyncIterator[None]:
    """All workers are killed and none is started, while looks are being made."""
    stage.supervised = False
    stage.sandbox.hold()
    for worker in stage.world.workers:
        worker.kill()
    yield
    stage.sandbox.release()
    stage.supervised = True


@asynccontextmanager
async def store_away(stage: Stage) -> AsyncIterator[None]:
    """The database refuses connections, and has cut all."""
    await stage.database.close_port()
    yield
    await stage.database.open_port()


@asynccontextmanager
async def store_slow(stage: Stage) -> AsyncIterator[None]:
    """The database's network takes 0.7 s each way."""
    stage.database.delay = 0.7
    yield
    stage.database.delay = 0.0


@asynccontextmanager
async def store_full(stage: Stage) -> AsyncIterator[None]:
    """The file system of the database's tables is full; that of its log is not."""
    with fill(stage.disks["store_full"]):
        yield


@asynccontextmanager
async def picture_disk_full(stage: Stage) -> AsyncIterator[None]:
    """The file system for pictures is full."""
    with fill(stage.disks["picture_disk_full"]):
        yield


FAULTS: dict[str, Callable[[Stage], Any]] = {
    each.__name__: each
    for each in (
        api_unreachable, api_silent, api_failing, key_refused, no_credits, throttled, quota_used_by_others,
        no_deliveries, nobody_polls, store_away, store_full, store_slow, picture_disk_full,
    )
}  # fmt: skip
assert set(FAULTS) == set(Trouble)


@contextmanager
def fill(disk: Path) -> Iterator[None]:
    """Leave no room on a file system inside."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 4096):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A small file system of its own; None where none may be mounted."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", folder], check=False)
    try:
        yield None if done.returncode else folder
    finally:
        if not done.returncode:
            subprocess.run(["umount", "--lazy", folder], check=False)


# --- one fault after the other


@attrs.define
class Row:
    """What was seen of one fault. Seconds are from its beginning, or from its end."""

    fault: str
    seen: float | None = None
    others: set[str] = attrs.field(factory=set)
    gone: float | None = None
    after: set[str] = attrs.field(factory=set)
    logged: bool = False

    @property
    def is_right(self) -> bool:
        """Whether it was seen, alone and logged, and was gone again with nothing left."""
        return None not in (self.seen, self.gone) and self.logged and not self.others and not self.after

    def __str__(self) -> str:
        seen, gone = ("never" if each is None else f"{each:.0f} s" for each in (self.seen, self.gone))
        others = ", ".join(sorted(self.others)) or "none"
        after = ", ".join(sorted(self.after)) or "none"
        return f"| {self.fault} | {seen} | {others} | {gone} | {after} | {'yes' if self.logged else 'no'} |"


async def watch(stage: Stage, fault: str) -> Row:
    """Put the fault in, see what is said, take it out, and see when all is well."""
    row, began = Row(fault), monotonic()
    async with FAULTS[fault](stage):
        while row.seen is None and monotonic() - began < PATIENCE:
            said = await stage.words()
            row.others |= said - {fault}
            if fault in said:
                row.seen = monotonic() - began
            await asyncio.sleep(1.0)
        held = monotonic()
        while monotonic() - held < HELD:
            row.others |= await stage.words() - {fault}
            await asyncio.sleep(1.0)
    healed = well_since = monotonic()
    while monotonic() - healed < PATIENCE and monotonic() - well_since < 15.0:
        said = await stage.words()
        row.after |= said - {fault}
        if said:
            well_since = monotonic()
            row.gone = None
        elif row.gone is None:
            row.gone = monotonic() - healed
        await asyncio.sleep(1.0)
    log = "\n".join(each.log for each in stage.world.processes)
    row.logged = f"trouble: {fault}" in log and f"trouble is over: {fault}" in log
    return row


async def drained(stage: Stage) -> str:
    """Wait until every order has come to its end or is unknown; how many are in which state."""
    end = monotonic() + PATIENCE
    while monotonic() < end:
        states = await stage.world.states()
        if not states["queued"] and not states["accepted"]:
            break
        await asyncio.sleep(2.0)
    charged = [str(charge.request["prompt"]) for charge in stage.sandbox.ledger]
    text = ", ".join(f"{count} {state}" for state, count in states.most_common())
    return f"orders: {text}; {len(charged)} charges, {len(charged) - len(set(charged))} of them twice"


@asynccontextmanager
async def shop(folder: Path, logs: Path) -> AsyncIterator[Stage]:
    """The shop behind its gates, with orders."""
    with ExitStack() as stack:
        run = stack.enter_context(TestRun.owned())
        server = run.shared_server()
        small = {
            fault: stack.enter_context(small_disk(folder / fault))
            for fault in ("store_full", "picture_disk_full")
        }
        disks = {fault: disk for fault, disk in small.items() if disk is not None}
        name = "shop_under_faults"
        with psycopg.connect(server.url, autocommit=True) as connection:
            tablespace = ""
            if "store_full" in disks:
                place = disks["store_full"] / "tables"
                place.mkdir()
                for path in (folder, disks["store_full"]):
                    path.chmod(0o755)
                os.chown(place, NOBODY, NOBODY)
                connection.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
                tablespace = "TABLESPACE small"
            connection.execute(f"CREATE DATABASE {name} {tablespace}")
        sandbox = stack.enter_context(Sandbox(requests_per_minute=100, speed=4.0, latency=0.1))
        port = int(sandbox.base_url.split(":")[2].split("/")[0])
        async with AsyncExitStack() as opened:
            api = await opened.enter_async_context(Gate(("127.0.0.1", port)))
            gate = await opened.enter_async_context(Gate(server.socket))
            settings = {
                "SHOP_HOOX_URL": sandbox.base_url.replace(f":{port}/", f":{api.port}/"),
                "SHOP_DATABASE": gate.url.replace("/postgres", f"/{name}"),
                "SHOP_PICTURES": str(disks.get("picture_disk_full", folder)),
            }
            made = await opened.enter_async_context(
                world(
                    server.url.replace("/postgres?", f"/{name}?"), logs, sandbox=sandbox,
                    workers=2, web_workers=1, requests_per_minute=100, lease=10.0,
                    concurrency=20, settings=settings,
                )
            )  # fmt: skip
            stage = Stage(made, api, gate, disks)
            await made.ready(made.start_pictures())
            work: tuple[Callable[[], Awaitable[None]], ...] = (stage.order, stage.supervise)
            stage.tasks = [asyncio.ensure_future(each()) for each in work]
            try:
                await asyncio.sleep(30.0)
                yield stage
            finally:
                for task in stage.tasks:
                    task.cancel()


async def main(faults: list[str], logs: Path) -> bool:
    """Run them, and print the table. Whether each was seen as it should."""
    rows = []
    print("| fault | its word after | others meanwhile | gone after | others then | logged |", flush=True)
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        async with shop(Path(folder), logs) as stage:
            for fault in faults:
                if fault in ("store_full", "picture_disk_full") and fault not in stage.disks:
                    print(f"| {fault} | not tried: nothing can be mounted |", flush=True)
                    continue
                rows.append(await watch(stage, fault))
                print(rows[-1], flush=True)
            stage.tasks[0].cancel()
            print(await drained(stage), flush=True)
    return all(row.is_right for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--logs", type=Path, help="a folder to keep the processes' logs in")
    options = parser.parse_args()
    if unknown := set(options.faults) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    kept = options.logs or Path(tempfile.mkdtemp())
    kept.mkdir(parents=True, exist_ok=True)
    sys.exit(0 if asyncio.run(main(options.faults or list(FAULTS), kept)) else 1)
