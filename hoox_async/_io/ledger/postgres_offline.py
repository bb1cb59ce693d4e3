"""What is done with a workspace's records without a session: reading and pruning them.

Neither needs an API key or a lease, migrates the tables, or adds a workspace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial

from ..._api.requests import PrunedRequest
from ..._core.intents import pruning
from ..._core.intents.intent import Intent
from ..._core.intents.pruning import PruneResult
from ..._core.intents.records import rewrite
from ..._tracebacks import short_tracebacks
from ...errors import StoreError
from . import intent_rows
from . import member_statements as member_sql
from . import statements as sql
from .binding import find_workspace
from .dialect import in_schema, postgres
from .intent_rows import Place, Row
from .ledger import Ledger, in_states
from .postgres import PostgresEngine
from .postgres_connections import Connections
from .postgres_migrations import MIGRATIONS, read_state
from .postgres_url import DatabaseUrl, check_place
from .transaction import Transaction

DEFAULT_SCHEMA = "hoox"
_NOBODY = "without a session"  # who has changed a row that no member has changed
_VACUUM_DEADLINE = 3600.0  # seconds
_SIZE = (
    "SELECT CAST(coalesce(sum(octet_length(record)), 0) AS bigint) FROM hoox.intents "
    "WHERE workspace = :workspace"
)


class OfflineWorkspace(Ledger):
    """The ledger of a workspace that is not bound to a key here: to read, to prune, to change caps."""

    def __init__(self, connections: Connections, schema: str, workspace: str, number: int) -> None:
        super().__init__(newer=True)
        self._begin(PostgresEngine(connections, postgres(schema)), Place(number, _NOBODY))
        self._connections = connections
        self._schema = schema
        self._workspace = workspace

    @property
    def name(self) -> str:
        """What messages call the workspace."""
        return f"{self._connections.name}, workspace {self._workspace!r}"

    async def prune(self, older_than: timedelta, *, dry_run: bool) -> PruneResult:
        """Do what `prune_store` says. Each intent is one transaction."""
        pruned = already = smaller = 0
        before = await self._now() - older_than
        size = await self._size()
        async for row in self._stream_rows(in_states(pruning.PRUNABLE)):
            intent = self._read(row)
            already += isinstance(intent.request, PrunedRequest)
            if not pruning.may_be_pruned(intent, before):
                continue
            after = pruning.prune(intent)
            record = rewrite(row.record, after)
            smaller += len(row.record.encode()) - len(record.encode())
            pruned += dry_run or await self._run(partial(self._prune, row, intent, after, record))
        if pruned and not dry_run:
            await self._vacuum()
        return PruneResult(pruned, already, size, size - smaller if dry_run else await self._size())

    def _prune(self, row: Row, before: Intent, after: Intent, record: str, tx: Transaction) -> bool:
        """Write it without its content. False where it was changed just now: it is in use."""
        [rows] = tx.ask(self._row(row.key))
        if not rows or Row(*rows[0]).version != row.version:
            return False
        intent_rows.put(tx, self._place, row, before, after, record, [])
        tx.write(sql.DROP_DELIVERIES, self._place.values(seq=row.seq))
        return True

    async def _now(self) -> datetime:
        [(moment, _)] = await self._rows(member_sql.MOMENT)
        return intent_rows.from_microseconds(moment)

    async def _size(self) -> int:
        [(size,)] = await self._rows(_SIZE)
        return int(size)

    async def _vacuum(self) -> None:
        """Let the server erase the old versions of the rows now, where this role may; else it does later."""
        statement = in_schema("VACUUM hoox.intents, hoox.deliveries", self._schema)
        with suppress(StoreError):
            await self._connections.run(
                lambda connection: connection.execute(statement.encode()), deadline=_VACUUM_DEADLINE
            )


class NoWorkspace(StoreError):
    """The database has no such workspace (yet)."""


@short_tracebacks
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
    check_place(workspace, schema)
    connections = Connections(url if isinstance(url, DatabaseUrl) else DatabaseUrl.parse(url), 1)
    try:
        state = await read_state(connections, schema)
        if not state.version:
            raise NoWorkspace(f"{connections.name}: there is no store in its schema {schema!r} (yet)")
        state.check(connections.name, MIGRATIONS[-1].version)
        row, copied = await find_workspace(PostgresEngine(connections, postgres(schema)), workspace)
        if row is None:
            raise NoWorkspace(f"{connections.name}: it has no workspace {workspace!r} (yet)")
        copied.require_whole(f"{connections.name}, workspace {workspace!r}")
        yield OfflineWorkspace(connections, schema, workspace, row.id)
    finally:
        await connections.aclose()
