"""The README's web app under uvicorn with several workers and one store: orders, kills and deploys.

A load balancer in this process sends each connection to a random server. The servers are uvicorn's own
command line, with the README's code in a file, the store's URL in it, and the address of a sandbox.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from time import monotonic

import aiohttp
import attrs

from hoox_async.sandbox import Sandbox

RPM = 1200
_SERVES = "Application startup complete"  # each worker logs it once
SOURCES = ("avtr_public_ada:look_public_ada", "avtr_public_bruno:look_public_bruno")
README = Path(__file__).resolve().parents[1] / "README.md"
BEFORE = """
import functools, os, pathlib
import hoox_async
hoox_async.HooxSession = functools.partial(
    hoox_async.HooxSession, base_url={url!r}, requests_per_minute={rpm}
)
pathlib.Path({folder!r}, str(os.getpid())).touch()
"""


def readme_app(readme: str, store: str, public_url: str) -> str:
    """The README's web app with this store and this address for webhooks, and without its sandbox's."""
    [code] = re.findall(r"^## In a web app\n.*?^```python\n(.*?)^```$", readme, re.M | re.S)[:1]
    code, stores = re.subn(r"store=[^,)]+", f"store={store!r}", code)
    code, hubs = re.subn(r"WebhookHub\([^)]*\)", f"WebhookHub({public_url!r})", code)
    code, addresses = re.subn(r"base_url=\w+, ", "", code)
    if (stores, hubs, addresses) != (1, 1, 1):
        raise ValueError("the README's web app has another shape")
    return code


class Balancer:
    """Sends each TCP connection to a random one of the ports, and to another if that refuses it."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._tasks: set[asyncio.Task[None]] = set()
        self.ports: list[int] = []
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """It listens meanwhile."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            for port in self._random.sample(self.ports, len(self.ports)):
                with suppress(OSError):
                    from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
                    writers.append(to_server)
                    await asyncio.gather(_pump(reader, to_server), _pump(from_server, writer))
                    return
        except OSError:
            pass
        finally:
            for each in writers:
                each.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


@attrs.define
class Server:
    """One ``uvicorn --workers``: a parent that starts each worker again that has ended."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    kills: int = 0

    @property
    def log(self) -> str:
        """What the parent and its workers have written."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def workers(self) -> list[int]:
        """The ids of the processes that have loaded the app and live, the oldest first."""
        files = sorted((self.folder / "pids").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        pids = [int(path.name) for path in files]
        return [pid for pid in pids if _lives(pid)]

    def kill_worker(self, random: Random) -> bool:
        """SIGKILL one of the workers; false where fewer than two others serve at this moment.

        While none serves, an order waits for the machine and not for the store, and webhooks are lost.
        """
        serving = self.log.count(_SERVES) - self.kills
        if serving < 3:
            return False
        os.kill(random.choice(self.workers[:serving]), signal.SIGKILL)
        self.kills += 1
        return True

    async def ready(self, workers: int, seconds: float = 120.0) -> None:
        """Wait until so many workers serve."""
        end = monotonic() + seconds
        while self.log.count(_SERVES) < workers:
            if self.process.poll() is not None or monotonic() > end:
                raise RuntimeError(f"the server did not start:\n{self.log}")
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Let it end as a deploy does: no new connection, and what was begun is answered."""
        if self.process.poll() is None:
            self.process.terminate()
        await asyncio.to_thread(self.process.wait)
        for pid in self.workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    shown = subprocess.run(
        ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()[:1] not in ("", "Z")


@attrs.define
class Order:
    """An order, and what was answered to its posts: the status, and the look where it is 200."""

    key: str
    source: str
    answers: list[tuple[int, str]] = attrs.field(factory=list)

    @property
    def looks(self) -> set[str]:
        """The looks that were answered."""
        return {text for status, text in self.answers if status == 200}


@attrs.define
class Result:
    """What happened. ``charged`` counts the charges of each order by the sandbox's ledger."""

    orders: list[Order]
    charged: Counter[str]
    kills: int
    deploys: int
    seconds: float
    logs: str

    @property
    def charged_twice(self) -> list[str]:
        """Orders that were paid for more than once."""
        return sorted(key for key, count in self.charged.items() if count > 1)

    @property
    def unanswered(self) -> list[str]:
        """Orders that were not answered with their one look; unless nothing was charged for them."""
        return [
            order.key
            for order in self.orders
            if len(order.looks) > 1 or (not order.looks and (self.charged[order.key] or not order.answers))
        ]

    @property
    def refused(self) -> Counter[int]:
        """Answers that were no success, by status."""
        return Counter(status for order in self.orders for status, _ in order.answers if status != 200)

    @property
    def errors(self) -> Counter[str]:
        """The last lines of the tracebacks in the servers' logs."""
        return Counter(re.findall(r"^hoox_async\.[\w.]+: .*$|^\w+(?:Error|Exception)\b.*$", self.logs, re.M))

    def __str__(self) -> str:
        return (
            f"{len(self.orders)} orders, {self.kills} workers killed, {self.deploys} deploys, "
            f"{self.seconds:.0f} s: {len(self.charged_twice)} charged twice, "
            f"{len(self.unanswered)} not answered, refused: {dict(self.refused) or 'none'}"
        )


@attrs.define
class World:
    """A sandbox, a store's URL, and the servers of the app behind a balancer."""

    sandbox: Sandbox
    store: str
    folder: Path
    random: Random
    balancer: Balancer
    workers: int
    servers: list[Server] = attrs.field(factory=list)
    all_servers: list[Server] = attrs.field(factory=list)

    async def start_server(self) -> Server:
        """Start one more server and wait until it answers."""
        number = len(self.all_servers)
        folder = self.folder / f"server_{number}"
        (folder / "pids").mkdir(parents=True)
        before = BEFORE.format(url=self.sandbox.base_url, rpm=RPM, folder=str(folder / "pids"))
        public_url = f"http://127.0.0.1:{self.balancer.port}/hooks/hoox"
        (folder / "shop.py").write_text(
            before + readme_app(README.read_text("utf-8"), self.store, public_url)
        )
        port = free_port()
        options = ("--workers", self.workers, "--loop", "uvloop", "--timeout-worker-healthcheck", 60)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(port), *map(str, options)],
                cwd=folder,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "HOOX_API_KEY": self.sandbox.api_key,
                    "HOOX_WEBHOOK_SECRET": "a secret of at least 16 characters",
                },
            )
        server = Server(folder, port, process)
        self.all_servers.append(server)
        await server.ready(self.workers)
        self.servers.append(server)
        self.balancer.ports.append(port)
        return server

    async def deploy(self) -> None:
        """Start a new server beside the old one, and end the old one once the new one answers."""
        old = self.servers[0]
        await self.start_server()
        self.balancer.ports.remove(old.port)
        self.servers.remove(old)
        await old.stop()

    async def post(self, client: aiohttp.ClientSession, order: Order, until: float) -> None:
        """Post an order until it is answered with its look, as a browser or a queue would."""
        url = f"http://127.0.0.1:{self.balancer.port}/orders/{order.key}"
        while monotonic() < until:
            with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
                parameters = {"source": order.source, "prompt": order.key}
                async with client.post(url, params=parameters) as response:
                    order.answers.append((response.status, await response.text()))
                if response.status == 200:
                    return
            await asyncio.sleep(0.3)


@asynccontextmanager
async def world(store: str, folder: Path, *, workers: int = 4, seed: int = 0) -> AsyncIterator[World]:
    """A running world with one server."""
    random = Random(seed)
    async with AsyncExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(requests_per_minute=RPM, speed=40, latency=0.02))
        balancer = Balancer(random)
        await stack.enter_async_context(balancer.serving())
        made = World(sandbox, store, folder, random, balancer, workers)
        try:
            await made.start_server()
            yield made
        finally:
            for server in made.all_servers:
                await server.stop()


async def run(
    made: World,
    *,
    orders: int,
    kills: int = 0,
    deploys: int = 0,
    posts: int = 3,
    pause: float = 0.05,
    patience: float = 120.0,
) -> Result:
    """Post each order so many times at random moments, and kill workers or deploy meanwhile."""
    began = monotonic()
    wanted = [Order(f"order-{number}", made.random.choice(SOURCES)) for number in range(orders)]
    killed = 0

    async def disturb() -> None:
        nonlocal killed
        for _ in range(deploys):
            await made.deploy()
        for number in range(kills):
            await asyncio.sleep(made.random.uniform(0.3, 1.7) * pause * orders / (kills + 1))
            while not made.servers[0].kill_worker(made.random):
                await asyncio.sleep(0.1)
            killed = number + 1

    async def take(client: aiohttp.ClientSession, order: Order, delay: float) -> None:
        await asyncio.sleep(delay)
        await made.post(client, order, monotonic() + patience)

    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:
        disturbing = asyncio.create_task(disturb())
        tasks = [
            asyncio.create_task(take(client, order, number * pause + made.random.uniform(0, 0.5)))
            for number, order in enumerate(wanted)
            for _ in range(posts)
        ]
        await asyncio.gather(*tasks, disturbing)
    charged = Counter(str(charge.request["prompt"]) for charge in made.sandbox.ledger)
    logs = "\n".join(server.log for server in made.all_servers)
    return Result(wanted, charged, killed, deploys, monotonic() - began, logs)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
