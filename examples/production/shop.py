"""What every process of the shop opens once, for its whole life: database, webhook hub and session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal, NamedTuple

from psycopg_pool import AsyncConnectionPool

from hoox_async import Budget, Event, HooxSession, LookAccepted, LookSettled
from hoox_async.postgres import PostgresDatabase
from hoox_async.webhooks import WebhookHub

from .orders import Orders
from .settings import CONNECTIONS, Settings
from .telemetry import Telemetry

log = logging.getLogger("shop")


class Shop(NamedTuple):
    """The open parts of one process."""

    settings: Settings
    pool: AsyncConnectionPool
    orders: Orders
    session: HooxSession
    hub: WebhookHub
    telemetry: Telemetry
    budgets: dict[str, Budget]

    async def budget_of(self, customer: str) -> Budget:
        """The customer's budget. It is kept in the store, so that it holds for all processes together."""
        name = f"customer/{customer}"
        if name not in self.budgets:
            cap = await self.orders.cap_of(customer)
            self.budgets.setdefault(name, Budget(cap or self.settings.customer_credits, name=name))
        return self.budgets[name]


def make_pool(database: str) -> AsyncConnectionPool:
    """The shop's own connections, not open yet. One that broke while it was idle is not used.

    The engine's pool sees to that itself.
    """
    check = AsyncConnectionPool.check_connection
    return AsyncConnectionPool(database, open=False, check=check, **CONNECTIONS)


@asynccontextmanager
async def open_shop(settings: Settings, *, poll: Literal["all", "awaited"]) -> AsyncIterator[Shop]:
    """Open everything, and close it within ``settings.close`` seconds.

    ``poll="all"``: this process may be the one that polls for all. ``"awaited"``: it only sends and receives.
    All processes share the quota by the database, so each states the whole workspace's requests a minute.
    """
    hub = WebhookHub(settings.public_url)
    hub.redact_logs()
    async with (
        make_pool(settings.database) as pool,
        PostgresDatabase(settings.database, lease=settings.lease) as database,
        hub,
    ):
        orders = Orders(pool)
        telemetry = Telemetry(orders)
        session = HooxSession(
            store=database.workspace("shop"),
            requests_per_minute=settings.requests_per_minute,
            timeouts=settings.timeouts,
            webhooks=hub,
            hooks=[telemetry, lambda event: record(orders, event)],
            poll=poll,
            base_url=settings.hoox_url,
            new_key=settings.new_key,
        )
        async with session:
            try:
                async with telemetry.gauges_of(session):
                    yield Shop(settings, pool, orders, session, hub, telemetry, {})
            finally:
                await close_in_time(session, settings.close)


async def close_in_time(session: HooxSession, seconds: float) -> None:
    """Close the session; after so many seconds, POSTs that are not answered yet are given up as unknown.

    Nothing is lost by that: a delivery settles them, or a person does (README: unknowns).
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await session.aclose()


async def record(orders: Orders, event: Event) -> None:
    """Write what hooks are told into the orders: also what settled after the worker had given up waiting."""
    match event:
        case LookAccepted(key=key, ref=ref, credits=credits, double=False):
            await orders.accepted(key, ref, credits)
        case LookSettled(look=look, key=str(key)):
            await orders.settled(key, look)
