"""Webhooks that reach any of four processes, two of which have no session open for the workspace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hoox_async import LookRef
from hoox_async.sandbox import DeliveryOptions, Sandbox

pytestmark = pytest.mark.slow

SECRET = "a secret that all processes share"
LOOKS = 24
APP = """
import contextlib, os
from fastapi import FastAPI
from hoox_async import HooxSession, LookEdit, LookRef, LookSettled
from hoox_async.postgres import PostgresDatabase
from hoox_async.webhooks import WebhookHub

hub = WebhookHub(os.environ["PUBLIC_URL"])
told = []


def hear(event):
    if isinstance(event, LookSettled):
        told.append(event.key)


@contextlib.asynccontextmanager
async def lifespan(app):
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(PostgresDatabase(os.environ["STORE"], webhooks=hub))
        if "WITHOUT_SESSION" not in os.environ:
            app.state.session = await stack.enter_async_context(HooxSession(
                os.environ["KEY"], base_url=os.environ["API"], store=database.workspace("shop"), webhooks=hub,
                hooks=[hear], requests_per_minute=6000,
            ))
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/hoox", hub.asgi_app)


@app.post("/orders/{key}")
async def order(key: str, source: str):
    job = await app.state.session.submit(LookEdit(LookRef.parse(source), f"scene {key}"), key=key)
    return {"ref": str(job.ref)}


@app.get("/looks/{ref}")
async def look(ref: str):
    return {"status": (await app.state.session.wait(LookRef.parse(ref), timeout=60)).status}


@app.get("/told")
async def get_told():
    return told
"""


@contextlib.contextmanager
def server(folder: Path, **environment: str) -> Iterator[int]:
    """One uvicorn with the app. Returns its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "deliveries_app:app",
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **environment})
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


class InTurn:
    """A load balancer that sends each request for a delivery to the next of the ports."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.received: dict[int, int] = {}
        self._turn = 0

    async def _handle(self, request: web.Request) -> web.Response:
        port = self.ports[self._turn % len(self.ports)]
        self._turn += 1
        self.received[port] = self.received.get(port, 0) + 1
        body = await request.read()
        async with aiohttp.request("POST", f"http://127.0.0.1:{port}{request.path}", data=body) as answer:
            return web.Response(status=answer.status, body=await answer.read())

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its address meanwhile."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/hoox"
        finally:
            await runner.cleanup()


async def ready(http: aiohttp.ClientSession, port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"http://127.0.0.1:{port}/told"):
                    return
            await asyncio.sleep(0.1)


async def test_deliveries_to_any_process_settle_every_look(postgres_database: str, tmp_path: Path) -> None:
    """With deliveries to four processes in turn every look is known, and hooks of its submitter are told.

    Two of the processes have no session open. No status request is made but for lost deliveries.
    """
    pytest.importorskip("uvicorn")
    pytest.importorskip("fastapi")
    (tmp_path / "deliveries_app.py").write_text(APP)
    balancer = InTurn()
    deliveries = DeliveryOptions(delay=0.2, reorder=1.0, double=0.2, early=0.1)
    async with contextlib.AsyncExitStack() as stack:
        public_url = await stack.enter_async_context(balancer.serving())
        # 20 times as fast as the API: a look takes two seconds, so that the poller has no reason to ask
        box = await stack.enter_async_context(Sandbox(speed=20.0, deliveries=deliveries))
        environment = {
            "STORE": postgres_database, "KEY": box.api_key, "API": box.base_url, "PUBLIC_URL": public_url,
            "HOOX_WEBHOOK_SECRET": SECRET,
        }  # fmt: skip
        with_session = [stack.enter_context(server(tmp_path, **environment)) for _ in range(2)]
        without = [
            stack.enter_context(server(tmp_path, WITHOUT_SESSION="1", **environment)) for _ in range(2)
        ]
        balancer.ports = [*with_session, *without]
        http = await stack.enter_async_context(aiohttp.ClientSession())
        for port in balancer.ports:
            await ready(http, port)

        source = LookRef("avtr_public_ada", "look_public_ada")

        async def order(number: int) -> str:
            url = f"http://127.0.0.1:{with_session[number % 2]}"
            async with http.post(f"{url}/orders/k{number}", params={"source": str(source)}) as answer:
                ref = (await answer.json())["ref"]
            # the other process awaits it
            async with http.get(f"http://127.0.0.1:{with_session[(number + 1) % 2]}/looks/{ref}") as answer:
                return str((await answer.json())["status"])

        statuses = await asyncio.gather(*(order(number) for number in range(LOOKS)))
        assert set(statuses) <= {"ready", "failed"}
        assert set(balancer.received) == set(balancer.ports)
        for number, port in enumerate(with_session):
            own = {f"k{n}" for n in range(LOOKS) if n % 2 == number}
            async with asyncio.timeout(60):
                while True:
                    async with http.get(f"http://127.0.0.1:{port}/told") as answer:
                        if own <= set(await answer.json()):
                            break
                    await asyncio.sleep(0.2)
        assert len(box.ledger) == LOOKS
        asked = [record for record in box.requests if record.endpoint in ("status", "avatar", "look")]
        assert len(asked) <= LOOKS // 4
