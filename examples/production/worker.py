"""``python -m production.worker``: works on orders until SIGTERM, then stops within 25 s."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any

from .engine import QUEUE, make_engine, watch
from .probes import serve_probes
from .settings import Settings, read_settings
from .shop import open_shop


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Work on orders until told to stop, or until a part of this process fails."""
    engine = make_engine(settings.database)
    async with (
        open_shop(settings, poll="all") as shop,
        engine.open_async(),
        serve_probes(shop.session, settings.probe_host, settings.probe_port),
    ):
        working = asyncio.create_task(
            engine.run_worker_async(
                queues=[QUEUE],
                concurrency=settings.concurrency,
                additional_context={"shop": shop},
                fetch_job_polling_interval=1.0,
                update_heartbeat_interval=settings.lease / 4,
                stalled_worker_timeout=settings.lease,
                shutdown_graceful_timeout=settings.drain,
                install_signal_handlers=False,
            )
        )
        parts = (
            working,
            asyncio.create_task(watch(engine, shop.pool, settings.lease)),
            asyncio.create_task(stop.wait()),
        )
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()  # what has failed ends the process: Kubernetes starts another
        finally:
            for part in parts:
                part.cancel()  # the engine fetches no more orders, and gives those begun some time
            await asyncio.gather(*parts, return_exceptions=True)


def stop_on_failures(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop the worker if a task of its parts fails and nobody hears of that; Kubernetes starts another.

    The engine writes at the end of a job what became of it. If the database fails then, the job would stay
    with this worker, which lives and so keeps it. Once it has ended, the watchdog of another takes it over.
    """

    def failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        stop.set()

    loop.set_exception_handler(failed)


async def main() -> int:
    """Run the worker. Returns its exit code: 0 only if a signal was what stopped it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stop, code = asyncio.Event(), 1

    def stop_by_signal() -> None:
        nonlocal code
        if not stop.is_set():
            code = 0
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_by_signal)
    stop_on_failures(asyncio.get_running_loop(), stop)
    await work(read_settings(), stop)
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
