"""The database that users open: a PostgreSQL database for all workspaces of a process."""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from ...._core.intents.intent import Intent
from ....errors import ConfigurationError
from .connections import Connections
from .migrations import MIGRATIONS, ensure_newest
from .migrations import migrate as migrate_schema
from .names import require_schema, require_workspace_name
from .offline import NoWorkspace, offline_workspace
from .queries import Queries
from .server_checks import check_rights, check_server
from .shared_database import SharedDatabase
from .sql_queries import SQLQueries
from .store import PostgresStore
from .url import DatabaseUrl

if TYPE_CHECKING:
    from ....webhooks.hub import WebhookHub

DEFAULT_WORKSPACE = "default"


class PostgresDatabase(SharedDatabase):
    """A PostgreSQL database that many processes use at the same time as the store of their sessions.

        async with PostgresDatabase("postgresql://user:password@host/db") as database:
            async with HooxSession(api_key, store=database.workspace("shop-a")) as session:
                ...

    All workspaces of a process share its connections and its lease, so open one database object a process.
    Close its sessions before it. Workspaces with the same API key share one quota, whatever they are called.

    - ``url``: any libpq URI. Percent-encode what is special in its user and password.
    - ``schema``: the schema of its tables, which the first process makes.
    - ``webhooks``: the hub whose deliveries are kept also while no session here has their workspace open.
    - ``lease``: seconds after which a process that has not renewed it is taken for dead. What that was
      sending becomes unknown then.
    - ``max_connections``: of this process, at least 2. While idle it uses two. Where the server refuses some
      of them, it goes on with those that it has.

    Raises `ConfigurationError` for wrong options, and where psycopg is not installed. ``async with`` raises
    `StoreError` where the database can't be used: a standby, one that may forget commits, missing rights.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "hoox",
        webhooks: WebhookHub | None = None,
        lease: float = 10.0,
        max_connections: int = 6,
    ) -> None:
        self._url = DatabaseUrl.parse(url)
        if webhooks is not None and not callable(getattr(webhooks, "subscribe", None)):
            raise ConfigurationError(f"webhooks: expected a WebhookHub, got {webhooks!r}")
        super().__init__(self._url.name, _require_lease(lease), webhooks)
        self._schema = require_schema(schema)
        self._max_connections = _require_connections(max_connections)
        self._migrations = MIGRATIONS
        self._connections: list[Connections] = []

    def __repr__(self) -> str:
        return f"<PostgresDatabase: {self._name}, schema {self._schema!r}>"

    async def read_workspace(self, name: str) -> AsyncIterator[Intent]:
        """Every intent of a workspace; none where there is no such workspace (yet)."""
        with suppress(NoWorkspace):
            async with offline_workspace(self._url, name, schema=self._schema) as records:
                async for intent in records.intents():
                    yield intent

    async def _connect(self) -> Queries:
        general = Connections(self._url, self._max_connections - 1)
        for_lease = Connections(self._url, 1, deadline=self._lease / 3)
        self._connections = [general, for_lease]
        await check_server(general)
        await ensure_newest(general, self._schema, self._migrations)
        await check_rights(general, self._schema)
        return SQLQueries(general, for_lease, self._schema, secrets.token_hex(8), self._lease)

    async def _disconnect(self) -> None:
        connections, self._connections = self._connections, []
        async with AsyncExitStack() as closing:  # it goes on with the next one where it is cancelled
            for each in connections:
                closing.push_async_callback(each.aclose)


async def migrate_database(url: str, *, schema: str = "hoox") -> tuple[int, int]:
    """Create the tables, or bring them to this release's version, and open nothing else.

    For a role that may, where the role of the application may not create tables. Returns the version before
    and after. Raises `ConfigurationError` and `StoreError`.
    """
    connections = Connections(DatabaseUrl.parse(url), 1)
    try:
        await check_server(connections)
        state = await migrate_schema(connections, require_schema(schema))
    finally:
        await connections.aclose()
    return state.version, max(state.version, MIGRATIONS[-1].version)


def single_workspace(url: str, name: str = DEFAULT_WORKSPACE, *, schema: str = "hoox") -> PostgresStore:
    """The store of one workspace with a database object of its own, which is open as long as the store is."""
    return PostgresStore(
        PostgresDatabase(url, schema=schema), require_workspace_name(name), owns_database=True
    )


def _require_lease(lease: float) -> float:
    if isinstance(lease, bool) or not isinstance(lease, int | float) or not 0 < lease < math.inf:
        raise ConfigurationError("lease: expected a number of seconds above 0")
    return float(lease)


def _require_connections(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise ConfigurationError("max_connections: expected a whole number of at least 2")
    return count
