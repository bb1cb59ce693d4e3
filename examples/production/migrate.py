"""``python -m production.migrate``: bring all tables to this version, before the new version starts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg

from hoox_async.postgres import migrate_database

from .engine import make_engine
from .settings import read_settings

LOCK = 7_315_061  # a number of the shop's own: two migrations at once wait for each other


async def migrate(database: str) -> None:
    """Make or update the tables of hoox_async, of Procrastinate and of the shop."""
    await migrate_database(database)
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        await connection.execute(Path(__file__).with_name("schema.sql").read_bytes())
        found = await connection.execute("SELECT to_regclass('procrastinate_jobs')")
        if await found.fetchone() == (None,):  # later versions: procrastinate's own SQL files, see its docs
            async with make_engine(database).open_async() as engine:
                await engine.schema_manager.apply_schema_async()


if __name__ == "__main__":
    asyncio.run(migrate(read_settings().database))
