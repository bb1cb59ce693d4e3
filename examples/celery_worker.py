"""Celery: one session for each worker process, on an event loop in a thread of its own.

    pip install "hoox-async[postgres]" celery redis
    export HOOX_API_KEY=… DATABASE_URL=postgresql://… REDIS_URL=redis://localhost
    cd examples && celery -A celery_worker worker --concurrency 4
    python celery_worker.py 17 avtr_public_ada:look_public_ada "at the sea"    # places order 17

A task is plain code that blocks its process, so it does not wait for the look: it submits and ends. A hook
of the session hears when the look is settled, whichever process heard of it, and places the task that goes
on. Where that process has ended, another one's hook is told. ``acks_late`` runs a task again whose process
was killed. That is safe, since the order is the look's key: run again, or placed twice, it is paid once.
Redis holds the queue, and PostgreSQL what was paid for.

To try it, give HOOX_URL the address of ``hoox-async sandbox`` and HOOX_API_KEY the key that it prints.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import ExitStack
from functools import partial
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from celery import Celery, Task
from celery.signals import worker_process_init, worker_process_shutdown

from hoox_async import Event, HooxError, HooxSession, LookEdit, LookSettled, OutcomeUnknown

HOOX: dict[str, Any] = {"base_url": os.environ["HOOX_URL"]} if "HOOX_URL" in os.environ else {}

app = Celery("celery_worker", broker=os.environ.get("REDIS_URL", "redis://localhost"))
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, broker_connection_retry_on_startup=True)


class Worker:
    """The session of a worker process, and the loop that it lives on."""

    portal: BlockingPortal
    session: HooxSession

    def __init__(self) -> None:
        self._stack = ExitStack()

    def start(self, **_: object) -> None:
        """Open the session, in a process that Celery has just forked."""
        session = HooxSession(store=os.environ["DATABASE_URL"], hooks=[tell], **HOOX)
        self.portal = self._stack.enter_context(start_blocking_portal())
        self.session = self._stack.enter_context(self.portal.wrap_async_context_manager(session))

    def stop(self, **_: object) -> None:
        """Close it: that waits for requests that are paid for and not answered yet."""
        self._stack.close()


worker = Worker()
worker_process_init.connect(worker.start)
worker_process_shutdown.connect(worker.stop)


@app.task(bind=True, max_retries=20)
def make_look(task: Task, order: str, source: str, prompt: str) -> str:
    """Submit an order. What costs nothing is tried again later; an unknown is left to a person."""
    submit = partial(worker.session.submit, LookEdit(source, prompt), key=order, max_wait=60)
    try:
        return str(worker.portal.call(submit).ref)
    except OutcomeUnknown:
        return "a person has to decide"
    except HooxError as error:
        if error.charged == "no":
            raise task.retry(exc=error, countdown=30) from error
        raise


@app.task
def look_is_settled(order: str, status: str, picture: str | None) -> None:
    """What goes on with the look. An order can be told twice: after a crash."""
    print(f"order {order}: {status} {picture}", flush=True)


async def tell(event: Event) -> None:
    """The hook: place the task that goes on. The broker's client blocks, so it is called in a thread."""
    if isinstance(event, LookSettled):
        told: tuple[Any, ...] = (event.key, str(event.look.status), event.look.thumbnail_url)
        await asyncio.to_thread(look_is_settled.delay, *told)


if __name__ == "__main__":
    make_look.delay(*sys.argv[1:4])
