"""The queue of orders, on Procrastinate: the task that has an order made, and the watchdog.

Procrastinate runs a job at least once. That is enough: the order's id is the look's key, and the same key is
paid for once, whichever worker submits it, and however often.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn

import psycopg
from procrastinate import App, BaseRetryStrategy, Blueprint, JobContext, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from hoox_async import (
    BadRequest,
    BudgetExceeded,
    Conflict,
    GenerationFailed,
    HooxError,
    InvalidRequest,
    KeyConflict,
    LookJob,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PermissionDenied,
)

from .orders import Order
from .settings import CONNECTIONS
from .shop import Shop

QUEUE = "looks"
WATCHING = 7_315_062  # the number of a lock, as in migrate.py
LONGEST_PAUSE = 60  # seconds between two runs of an order that can't be made at present
OF_THE_ORDER = (BadRequest, NotFound, PermissionDenied, Conflict, InvalidRequest, KeyConflict, BudgetExceeded)
OF_THE_WORKSPACE = ("plan_required", "space_not_found")  # codes of a 403 and a 404 that no order can help
tasks = Blueprint()
log = logging.getLogger("shop")


class WhateverFails(BaseRetryStrategy):
    """Run it again after a pause: no permit, no credits, no database, a deploy. It costs nothing."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:  # noqa: ARG002
        """After 1, 2, 4 … seconds."""
        return RetryDecision(retry_in={"seconds": min(2 ** min(job.attempts, 10), LONGEST_PAUSE)})


@tasks.task(name="make_look", queue=QUEUE, pass_context=True, retry=WhateverFails())
async def make_look(context: JobContext, order_id: str) -> None:
    """Have an order made and wait for its look. Whatever this raises is tried again.

    `OutcomeUnknown` is not raised: to run the job again would settle nothing. The request may have been paid
    for, and is not sent again on a guess.
    """
    shop: Shop = context.additional_context["shop"]
    order = await shop.orders.get(order_id)
    if order is None or order.is_settled:
        return
    with shop.telemetry.work_on(order):
        job = await submit(shop, order)
        if job is None:
            return
        await shop.orders.accepted(order.id, job.ref, job.credits or order.edit().credits)
        try:
            await shop.orders.settled(order.id, await job)
        except GenerationFailed as failed:
            await shop.orders.settled(order.id, failed.look)


async def submit(shop: Shop, order: Order) -> LookJob | None:
    """Submit an order. None where it has come to an end instead, or may have been paid for."""
    try:
        budget = await shop.budget_of(order.customer)
        return await shop.session.submit(order.edit(), key=order.id, budget=budget)
    except OutcomeUnknown as unknown:
        log.warning("%s may have been paid for: %s", order.id, unknown)
        await shop.orders.unknown(order.id, str(unknown))
    except HooxError as error:
        has_no_source = isinstance(error, NotSent) and await shop.orders.has_failed(order.source)
        if not (has_no_source or is_final(error)):
            raise
        await shop.orders.refused(order.id, str(error))
    return None


def is_final(error: HooxError) -> bool:
    """Whether the order would be refused again, whatever becomes of the network, the key and the credits."""
    return isinstance(error, OF_THE_ORDER) and str(getattr(error, "code", "")).lower() not in OF_THE_WORKSPACE


def make_engine(database: str) -> App:
    """The engine, not open yet."""
    engine = App(connector=PsycopgConnector(conninfo=database, **CONNECTIONS))
    engine.add_tasks_from(tasks, namespace="shop")
    return engine


async def watch(engine: App, pool: AsyncConnectionPool, lease: float) -> NoReturn:
    """Queue again what dead workers were working on: the engine does not do that by itself.

    Every worker does this, one at a time: else one would queue again what another has just taken over.
    """
    while True:
        await asyncio.sleep(lease / 3)
        try:
            # the lock is held until the end of its transaction
            async with pool.connection() as connection, connection.transaction():
                found = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (WATCHING,))
                if await found.fetchone() == (True,):
                    await take_over(engine, lease)
        except (ConnectorException, psycopg.Error, PoolTimeout) as error:
            log.warning("the watchdog tries again: %s", error)


async def take_over(engine: App, lease: float) -> None:
    """Queue the jobs of workers that have given no sign of life for a lease."""
    for job in await engine.job_manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=lease):
        log.warning("taking over %s from a dead worker", job.task_kwargs.get("order_id"))
        await engine.job_manager.retry_job(job)
