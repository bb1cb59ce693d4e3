"""Health for Kubernetes and for people: ``/healthz`` (alive) and ``/readyz`` (can work, with all gauges)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import web

from hoox_async import HooxSession

log = logging.getLogger("shop")


async def readiness(session: HooxSession) -> tuple[int, dict[str, Any]]:
    """A status and what to show. Not ready: nothing could be sent, since the store or the API key fails.

    Unknowns and old looks are no reason to take a process out of service: they are for alerts.
    """
    health = await session.health()
    ready = health.store_reachable and not health.key_refused
    return (200 if ready else 503), {
        "ready": ready,
        **attrs.asdict(health),
        "trouble": sorted(health.trouble),
    }


@asynccontextmanager
async def serve_probes(session: HooxSession, host: str, port: int) -> AsyncIterator[None]:
    """Serve the probes of a worker, which has no web server of its own."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        status, shown = await readiness(session)
        return web.json_response(shown, status=status)

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        log.info("probes at http://%s:%d/readyz", host, runner.addresses[0][1])
        yield
    finally:
        await runner.cleanup()
