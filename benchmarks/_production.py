"""``examples/production`` run whole: its web app and workers as processes, orders, and kills.

The sandbox runs in this process, whose ledger tells what was charged.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from time import monotonic
from types import MappingProxyType
from typing import Any

import aiohttp
import attrs
import psycopg
from _many_processes import avatar_of
from _web_workers import free_port

from hoox_async.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[1]
AVATARS = 20  # that orders are made of: an answer about an avatar has all looks that were made of it
CUSTOMERS = 40  # who order at the same time
SETTLED = ("ready", "failed", "refused")


@attrs.define
class Process:
    """A worker or a web server of the example."""

    name: str
    process: subprocess.Popen[bytes]
    log_file: Path
    port: int

    @property
    def log(self) -> str:
        """What it has written."""
        return self.log_file.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL it."""
        self.process.kill()
        self.process.wait()

    async def stop(self) -> float:
        """SIGTERM it, as a deploy does. Returns how many seconds it took to end."""
        began = monotonic()
        if self.process.poll() is None:
            self.process.terminate()
        await asyncio.to_thread(self.process.wait)
        return monotonic() - began


@attrs.define
class Result:
    """What became of the orders. ``charged`` counts the charges of each by the sandbox's ledger."""

    states: Counter[str]
    charged: Counter[str]
    looks: Counter[str]
    answers: Counter[int]
    kills: int
    seconds: float
    refused_429: int
    status_requests: int
    logs: str
    charged_looks: list[str]

    @property
    def charged_twice(self) -> int:
        """Orders that were paid for more than once."""
        return sum(count > 1 for count in self.charged.values())

    @property
    def lost(self) -> int:
        """Charged looks that no order has."""
        return sum(not self.looks[look] for look in self.charged_looks)

    @property
    def rate(self) -> float:
        """Orders that came to an end, for each minute."""
        return 60.0 * sum(self.states[state] for state in SETTLED) / self.seconds

    @property
    def unsettled(self) -> int:
        """Orders that came to no end; those that are unknown and were not charged are not counted."""
        return sum(count for state, count in self.states.items() if state not in (*SETTLED, "unknown"))

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in self.states.most_common())
        return (
            f"{sum(self.answers.values())} orders, {self.kills} workers killed, {self.seconds:.0f} s: "
            f"{states}; "
            f"{sum(self.charged.values())} charges, {self.charged_twice} charged twice, {self.lost} lost, "
            f"{self.status_requests} status requests, {self.refused_429} requests refused with 429"
        )


@attrs.define
class World:
    """A sandbox, an empty database with the example's tables, and its processes."""

    sandbox: Sandbox
    database: str
    folder: Path
    random: Random
    environment: dict[str, str]
    web_port: int
    sources: list[str] = attrs.field(init=False)
    processes: list[Process] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.sources = [avatar_of(self.sandbox) for _ in range(AVATARS)]
        self.sandbox.space.ledger.clear()  # it is to have orders only

    @property
    def workers(self) -> list[Process]:
        """The workers that live."""
        return [each for each in self.processes if each.name == "worker" and each.process.poll() is None]

    @property
    def workers_log(self) -> str:
        """What all workers have written."""
        return "\n".join(each.log for each in self.processes if each.name == "worker")

    @property
    def logs(self) -> str:
        """What all processes have written."""
        return "\n".join(f"--- {each.name} {each.process.pid}\n{each.log}" for each in self.processes)

    def _start(self, name: str, port: int, *command: object) -> Process:
        log_file = self.folder / f"{name}-{len(self.processes)}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *map(str, command)],
                cwd=ROOT,
                env={**self.environment, "SHOP_PROBE_PORT": str(port)},
                stdout=log,
                stderr=log,
            )
        started = Process(name, process, log_file, port)
        self.processes.append(started)
        return started

    def start_web(self, workers: int) -> Process:
        """Start the web app."""
        options = ("--port", self.web_port, "--workers", workers, "--timeout-worker-healthcheck", 60)
        return self._start("web", self.web_port, "uvicorn", "examples.production.web:app", *options)

    def start_pictures(self) -> Process:
        """Start the process that saves the pictures."""
        return self._start("pictures", free_port(), "examples.production.pictures")

    def start_worker(self) -> Process:
        """Start one more worker."""
        return self._start("worker", free_port(), "examples.production.worker")

    async def migrate(self) -> None:
        """Make the tables, as a deploy does."""
        process = self._start("migrate", 0, "examples.production.migrate")
        if await asyncio.to_thread(process.process.wait):
            raise RuntimeError(self.logs)

    async def ready(self, process: Process, seconds: float = 120.0) -> dict[str, Any]:
        """Wait until a process says that it is ready. Returns its gauges."""
        end = monotonic() + seconds
        async with aiohttp.ClientSession() as client:
            while monotonic() < end and process.process.poll() is None:
                with suppress(aiohttp.ClientError, OSError):
                    async with client.get(f"http://127.0.0.1:{process.port}/readyz") as response:
                        shown: dict[str, Any] = await response.json()
                        if response.status == 200:
                            return shown
                await asyncio.sleep(0.1)
        raise RuntimeError(f"{process.name} is not ready:\n{self.logs}")

    async def states(self) -> Counter[str]:
        """How many orders there are in each state."""
        async with await psycopg.AsyncConnection.connect(self.database) as connection:
            found = await connection.execute("SELECT state, count(*) FROM orders GROUP BY state")
            return Counter(dict(await found.fetchall()))

    async def is_over(self, orders: int) -> bool:
        """Whether every order has an end, or may have been paid for though it was not.

        Such an order was written down as being sent when its worker was killed before the first byte left: no
        delivery will settle it, but a person.
        """
        async with await psycopg.AsyncConnection.connect(self.database) as connection:
            found = await connection.execute(
                "SELECT id, state FROM orders WHERE NOT state = ANY(%s)", (list(SETTLED),)
            )
            unsettled = await found.fetchall()
            total = await (await connection.execute("SELECT count(*) FROM orders")).fetchone()
        charged = {str(charge.request["prompt"]) for charge in self.sandbox.ledger}
        is_over = all(state == "unknown" and order not in charged for order, state in unsettled)
        return is_over and total == (orders,)

    async def busiest(self) -> Process:
        """The worker that works on most orders at this moment."""
        workers = self.workers
        open_orders = [(await self.ready(each))["waiting"] + self.random.random() for each in workers]
        return workers[open_orders.index(max(open_orders))]

    async def order(self, number: int, client: aiohttp.ClientSession) -> int:
        """Post an order, twice with the same key: a customer is impatient. Returns the last status."""
        wanted = {
            "customer": self.random.choice(("ada", "bo")),
            "source": self.random.choice(self.sources),
            "prompt": f"order-{number}",
        }
        headers = {"Idempotency-Key": f"order-{number}"}
        status = 0
        for _ in range(2):
            url = f"http://127.0.0.1:{self.web_port}/orders"
            async with client.post(url, json=wanted, headers=headers) as response:
                status = response.status
                await response.read()
        return status

    async def result(self, answers: Counter[int], kills: int, began: float) -> Result:
        """What has become of all orders, by the table and by the sandbox's ledger."""
        async with await psycopg.AsyncConnection.connect(self.database) as connection:
            found = await connection.execute("SELECT look FROM orders WHERE look IS NOT NULL")
            looks = Counter(row[0] for row in await found.fetchall())
        return Result(
            states=await self.states(),
            charged=Counter(str(charge.request["prompt"]) for charge in self.sandbox.ledger),
            looks=looks,
            answers=answers,
            kills=kills,
            seconds=monotonic() - began,
            refused_429=sum(request.status == 429 for request in self.sandbox.requests),
            status_requests=sum(one.endpoint in ("avatar", "status") for one in self.sandbox.requests),
            logs=self.logs,
            charged_looks=[str(charge.ref) for charge in self.sandbox.ledger],
        )


@asynccontextmanager
async def world(
    database: str,
    folder: Path,
    *,
    workers: int = 3,
    web_workers: int = 2,
    requests_per_minute: int = 6000,
    speed: float = 20.0,
    lease: float = 3.0,
    latency: float = 0.1,
    concurrency: int = 100,
    customer_credits: int = 1_000_000,
    seed: int = 0,
    sandbox: Sandbox | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[World]:
    """The example, running and ready.

    ``sandbox``: one that runs already. ``settings``: environment variables of the processes, besides.
    """
    async with AsyncExitStack() as stack:
        if sandbox is None:
            sandbox = stack.enter_context(
                Sandbox(requests_per_minute=requests_per_minute, speed=speed, latency=latency)
            )
        port = free_port()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HOOX_", "SHOP_"))},
            "HOOX_API_KEY": sandbox.api_key,
            "HOOX_WEBHOOK_SECRET": "a secret of at least 16 characters",
            "SHOP_DATABASE": database,
            "SHOP_PUBLIC_URL": f"http://127.0.0.1:{port}/hooks/hoox",
            "SHOP_HOOX_URL": sandbox.base_url,
            "SHOP_REQUESTS_PER_MINUTE": str(requests_per_minute),
            "SHOP_CUSTOMER_CREDITS": str(customer_credits),
            "SHOP_CONCURRENCY": str(concurrency),
            "SHOP_LEASE": str(lease),
            **settings,
        }
        made = World(sandbox, database, folder, Random(seed), environment, port)
        try:
            await made.migrate()
            started = [made.start_web(web_workers), *(made.start_worker() for _ in range(workers))]
            for process in started:
                await made.ready(process)
            yield made
        finally:
            for process in reversed(made.processes):
                if process.process.poll() is None:
                    process.process.send_signal(signal.SIGTERM)
            for process in made.processes:
                await process.stop()


async def run(
    made: World,
    *,
    orders: int,
    kill_every: float | None = None,
    kill_when_accepted: int | None = None,
    patience: float = 120.0,
) -> Result:
    """Post all orders, kill workers meanwhile and start others, and wait until every order has an end.

    ``kill_every``: seconds between two kills. ``kill_when_accepted``: one kill, once so many were accepted;
    no worker is started in its place.
    """
    began, kills = monotonic(), 0

    async def kill() -> None:
        nonlocal kills
        while kill_every is not None:
            await asyncio.sleep(kill_every)
            (await made.busiest()).kill()
            kills += 1
            made.start_worker()

    async def kill_once(accepted: int) -> None:
        nonlocal kills
        while len(made.sandbox.ledger) < accepted:
            await asyncio.sleep(0.02)
        (await made.busiest()).kill()
        kills += 1

    work = kill() if kill_when_accepted is None else kill_once(kill_when_accepted)
    killing = asyncio.create_task(work)
    answers: Counter[int] = Counter()
    try:
        gate = asyncio.Semaphore(CUSTOMERS)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client:

            async def post(number: int) -> None:
                async with gate:
                    answers[await made.order(number, client)] += 1

            await asyncio.gather(*(post(number) for number in range(orders)))
        end = monotonic() + patience
        while monotonic() < end and not await made.is_over(orders):
            await asyncio.sleep(0.5)
        if kill_when_accepted is not None:
            await killing
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
    return await made.result(answers, kills, began)
