"""Four workers behind a load balancer that sends deliveries to any of them: whose hooks are told of a look.

Each worker is a process with a session, a receiver of webhooks, and orders of its own. It writes each end
that its hook is called with to a file. As a program this is one worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from _shared import progress
from _web_workers import Balancer, free_port
from aiohttp import web

from hoox_async import Event, HooxSession, LookEdit, LookRef, LookSettled
from hoox_async.postgres import PostgresDatabase
from hoox_async.sandbox import DeliveryOptions, Sandbox
from hoox_async.webhooks import WebhookHub

SECRET = "the fleet's own secret, which signs its URLs"


async def work(setup: dict[str, Any]) -> None:
    """One worker: place the orders, and write which ends the hook was called with, until it is ended."""
    hub = WebhookHub(setup["public_url"], SECRET)
    with Path(setup["told"]).open("a", buffering=1) as told:

        def hear(event: Event) -> None:
            if isinstance(event, LookSettled):
                told.write(f"{event.key}\n")

        async with AsyncExitStack() as stack:
            database = PostgresDatabase(setup["store"], webhooks=hub, lease=setup["lease"])
            await stack.enter_async_context(database)
            session = HooxSession(
                setup["api_key"],
                base_url=setup["base_url"],
                store=database.workspace("shop"),
                webhooks=hub,
                hooks=[hear],
                requests_per_minute=setup["limit"],
            )
            await stack.enter_async_context(session)
            app = web.Application()
            app.add_routes(hub.aiohttp_routes())
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", setup["port"]).start()
            for number in range(setup["orders"]):
                key = f"{setup['name']}/{number}"
                await session.submit(LookEdit(LookRef.parse(setup["source"]), key), key=key)
            ended = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
            await ended.wait()


class Fleet:
    """The workers, which are started again when they were killed."""

    def __init__(self, setup: dict[str, Any], folder: Path, names: list[str], balancer: Balancer) -> None:
        self._setup = setup
        self._folder = folder
        self._ports = {name: free_port() for name in names}
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        balancer.ports = list(self._ports.values())

    def start(self, name: str) -> None:
        """Start a worker."""
        own = {"name": name, "port": self._ports[name], "told": str(self._folder / name)}
        arguments = [sys.executable, __file__, json.dumps(self._setup | own)]
        self._workers[name] = subprocess.Popen(arguments)

    def kill(self, name: str) -> None:
        """Kill a worker, and start it again."""
        self._workers[name].kill()
        self._workers[name].wait()
        self.start(name)

    async def stop(self) -> None:
        """End all as deploys do."""
        for worker in self._workers.values():
            worker.terminate()
        for worker in self._workers.values():
            await asyncio.to_thread(worker.wait, 60)

    def told(self) -> dict[str, list[str]]:
        """The keys that each worker's hook was called with."""
        return {name: self._read(name) for name in self._ports}

    def _read(self, name: str) -> list[str]:
        path = self._folder / name
        return path.read_text().split() if path.exists() else []


async def news(url: str, *, looks: int, kill_every: float | None, lost: float, lease: float) -> bool:
    """Place the orders, kill workers or none, and count who was told of what how often."""
    names = [f"worker{number}" for number in range(4)]
    balancer = Balancer(Random(1))
    deliveries = DeliveryOptions(lose=lost)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            balancer.serving(),
            Sandbox(speed=10.0, requests_per_minute=6000, seed=1, deliveries=deliveries) as sandbox,
        ):
            setup = {
                "store": url,
                "lease": lease,
                "limit": 6000,
                "orders": looks // len(names),
                "public_url": f"http://127.0.0.1:{balancer.port}/hooks",
                "base_url": sandbox.base_url,
                "api_key": sandbox.api_key,
                "source": "avtr_public_ada:look_public_ada",
            }
            fleet = Fleet(setup, Path(folder), names, balancer)
            for name in names:
                fleet.start(name)
            kills = await _until_all_are_told(fleet, looks, kill_every)
            await fleet.stop()
            paid = Counter(charge.request["prompt"] for charge in sandbox.ledger)
        told = fleet.told()
    return _report(told, paid, looks=looks, kills=kills, lost=lost)


async def _until_all_are_told(fleet: Fleet, looks: int, kill_every: float | None) -> int:
    random, kills, ends = Random(2), 0, monotonic() + 240.0
    next_kill = monotonic() + (kill_every or 1e9)
    while len({key for keys in fleet.told().values() for key in keys}) < looks and monotonic() < ends:
        await asyncio.sleep(0.2)
        if monotonic() > next_kill and kills < 20:
            fleet.kill(random.choice(list(fleet._ports)))
            kills, next_kill = kills + 1, monotonic() + (kill_every or 1e9)
        progress(f"{len({key for keys in fleet.told().values() for key in keys})} of {looks} told")
    await asyncio.sleep(5.0)  # for whoever would tell once more
    return kills


def _report(told: dict[str, list[str]], paid: Counter[str], *, looks: int, kills: int, lost: float) -> bool:
    times = Counter(key for keys in told.values() for key in keys)
    elsewhere = sum(key.split("/")[0] != name for name, keys in told.items() for key in keys)
    doubles = sum(count - 1 for count in times.values())
    print(f"{looks} looks, 4 workers, {lost:.0%} of the deliveries lost, {kills} SIGKILLs")
    print(f"  looks that hooks were told of      {len(times)}")
    print(f"  told twice or more                 {doubles}")
    print(f"  told by another worker             {elsewhere}")
    print(f"  paid twice                         {sum(count > 1 for count in paid.values())}")
    return len(times) == looks and (kills > 0 or (doubles, elsewhere) == (0, 0))


if __name__ == "__main__":
    os.environ.pop("HOOX_API_KEY", None)
    asyncio.run(work(json.loads(sys.argv[1])))
