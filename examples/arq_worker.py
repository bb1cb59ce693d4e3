"""arq: one session for each worker, open as long as the worker lives; a job waits for its look.

    pip install "hoox-async[postgres]" arq
    export HOOX_API_KEY=… DATABASE_URL=postgresql://… REDIS_URL=redis://localhost
    cd examples && arq arq_worker.WorkerSettings       # as many workers as you like
    python arq_worker.py 17 avtr_public_ada:look_public_ada "at the sea"    # places order 17

arq runs a job again when its worker was stopped, and that of a killed worker after ``job_timeout``. That is
safe, since the job's order is the look's key: run again, or placed twice, it gets the same look, paid once.
What costs nothing is tried again later; an unknown is not, a person decides about it. Jobs are coroutines of
one loop, so that a hundred of them wait for their looks on one session. Redis holds the queue, and
PostgreSQL what was paid for.

To try it, give HOOX_URL the address of ``hoox-async sandbox`` and HOOX_API_KEY the key that it prints.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from typing import Any

from arq import Retry, create_pool
from arq.connections import RedisSettings

from hoox_async import (
    GenerationFailed,
    HooxError,
    HooxSession,
    LookEdit,
    OutcomeUnknown,
    WaitTimeout,
)

HOOX: dict[str, Any] = {"base_url": os.environ["HOOX_URL"]} if "HOOX_URL" in os.environ else {}
REDIS = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://localhost"))


async def make_look(context: dict[str, Any], order: str, source: str, prompt: str) -> str:
    """The job: the look of an order. Its result is what becomes of the order."""
    session: HooxSession = context["session"]
    try:
        look = await session.run(LookEdit(source, prompt), key=order, max_wait=60, timeout=600)
    except OutcomeUnknown:
        return "a person has to decide"
    except GenerationFailed as error:
        return f"failed: {error.look.error}"
    except WaitTimeout as error:  # paid: the next try waits on
        raise Retry(defer=30) from error
    except HooxError as error:
        if error.charged == "no" and context["job_try"] < 10:
            raise Retry(defer=30) from error
        raise
    print(f"order {order}: {look.thumbnail_url}", flush=True)
    return look.thumbnail_url or ""


async def startup(context: dict[str, Any]) -> None:
    """Open the session of this worker."""
    stack = context["stack"] = AsyncExitStack()
    session = HooxSession(store=os.environ["DATABASE_URL"], **HOOX)
    context["session"] = await stack.enter_async_context(session)


async def shutdown(context: dict[str, Any]) -> None:
    """Close it: that waits for requests that are paid for and not answered yet."""
    await context["stack"].aclose()


class WorkerSettings:
    """What ``arq`` reads."""

    functions = (make_look,)
    on_startup = startup
    on_shutdown = shutdown
    redis_settings = REDIS
    max_jobs = 100
    job_timeout = 900
    max_tries = 100


async def place(order: str, source: str, prompt: str) -> None:
    """Put an order into the queue."""
    queue = await create_pool(REDIS)
    await queue.enqueue_job("make_look", order, source, prompt)
    await queue.aclose()


if __name__ == "__main__":
    asyncio.run(place(*sys.argv[1:4]))
