"""What is done with a workspace's records without a session: reading and pruning them.

Neither needs an API key or a lease, migrates the tables, or adds a workspace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import attrs

from ...._api.requests import PrunedRequest
from ...._core.intents import pruning
from ...._core.intents.intent import Intent
from ....errors import StoreError
from ..pruning import PruneResult
from . import intent_rows
from .connections import Connections
from .migrations import MIGRATIONS, in_schema, read_state
from .names import require_schema, require_workspace_name
from .queries import IntentRow
from .sql_queries import SQLQueries
from .url import DatabaseUrl

DEFAULT_SCHEMA = "hoox"
_PAGE = 500
_NOBODY = "without a session"  # who has changed a row that no member has changed
_VACUUM_DEADLINE = 3600.0  # seconds


@attrs.frozen
class OfflineWorkspace:
    """The records of one workspace."""

    name: str
    id: int
    queries: SQLQueries
    _connections: Connections
    _schema: str

    async def intents(self) -> AsyncIterator[Intent]:
        """Every intent, in the order in which they were planned, with a few hundred in memory at a time.

        One that a process plans meanwhile may be missing.
        """
        async for row in self._rows():
            yield self._read(row)

    async def prune(self, older_than: timedelta, *, dry_run: bool) -> PruneResult:
        """Do what `prune_store` says. Each intent is one write, by compare-and-set."""
        pruned = already = smaller = 0
        before = await self._now() - older_than
        size = await self._size()
        async for row in self._rows():
            intent = self._read(row)
            already += isinstance(intent.request, PrunedRequest)
            if not pruning.may_be_pruned(intent, before):
                continue
            write = intent_rows.pruned(row, intent)
            smaller += len(row.record.encode()) - len(write.record.encode())
            if dry_run:
                pruned += 1
                continue
            attempts = [*(attempt.id for attempt in intent.attempts), *intent.past_attempts]
            await self.queries.delete_deliveries(self.id, attempts)
            written = await self.queries.put(self.id, write)
            pruned += written.outcome == "written"  # else it was changed just now: it is in use
        if pruned and not dry_run:
            await self._vacuum()
        return PruneResult(pruned, already, size, size - smaller if dry_run else await self._size())

    async def _rows(self) -> AsyncIterator[IntentRow]:
        after, more = 0, True
        while more:
            rows = await self.queries.page(self.id, None, after=after, size=_PAGE)
            for row in rows:
                yield row
            more = len(rows) == _PAGE
            after = rows[-1].seq if rows else after

    def _read(self, row: IntentRow) -> Intent:
        try:
            return intent_rows.read(row)
        except StoreError as error:
            raise StoreError(f"{self.name}: {error}") from None

    async def _now(self) -> datetime:
        rows = await self._connections.fetch(in_schema("SELECT hoox.now_1()", self._schema), ())
        moment: datetime = rows[0][0]
        return moment

    async def _size(self) -> int:
        sql = "SELECT coalesce(sum(octet_length(record)), 0)::bigint FROM hoox.intents WHERE workspace = %s"
        rows = await self._connections.fetch(in_schema(sql, self._schema), (self.id,))
        size: int = rows[0][0]
        return size

    async def _vacuum(self) -> None:
        """Let the server erase the old versions of the rows now, where this role may; else it does later."""
        sql = in_schema("VACUUM hoox.intents, hoox.deliveries", self._schema)
        with suppress(StoreError):
            await self._connections.run(
                lambda connection: connection.execute(sql.encode()), deadline=_VACUUM_DEADLINE
            )


class NoWorkspace(StoreError):
    """The database has no such workspace (yet)."""


async def workspace_exists(url: str, workspace: str, *, schema: str = DEFAULT_SCHEMA) -> bool:
    """Whether the database has this workspace. Changes nothing. Raises `ConfigurationError`, `StoreError`."""
    try:
        async with offline_workspace(url, workspace, schema=schema):
            return True
    except NoWorkspace:
        return False


@asynccontextmanager
async def offline_workspace(
    url: str | DatabaseUrl, workspace: str, *, schema: str = DEFAULT_SCHEMA
) -> AsyncIterator[OfflineWorkspace]:
    """The records of a workspace that exists. Raises `ConfigurationError`, `NoWorkspace` and `StoreError`."""
    require_workspace_name(workspace)
    require_schema(schema)
    connections = Connections(url if isinstance(url, DatabaseUrl) else DatabaseUrl.parse(url), 1)
    try:
        state = await read_state(connections, schema)
        if not state.version:
            raise NoWorkspace(f"{connections.name}: there is no store in its schema {schema!r} (yet)")
        state.check(connections.name, MIGRATIONS[-1].version)
        queries = SQLQueries(connections, connections, schema, _NOBODY, 0.0)
        row = await queries.workspace(workspace)
        if row is None:
            raise NoWorkspace(f"{connections.name}: it has no workspace {workspace!r} (yet)")
        name = f"{connections.name}, workspace {workspace!r}"
        yield OfflineWorkspace(name, row.id, queries, connections, schema)
    finally:
        await connections.aclose()
