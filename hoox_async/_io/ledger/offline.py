"""A workspace's ledger without a session: to read it, to prune it, to change caps.

Neither needs an API key or a lease, migrates the tables, or adds a workspace.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..._api.requests import PrunedRequest
from ..._core.intents import pruning
from ..._core.intents.intent import Intent
from ..._core.intents.pruning import PruneResult
from ..._tracebacks import short_tracebacks
from ...errors import StoreError
from . import intent_rows
from . import statements as sql
from .binding import find_workspace
from .intent_rows import Place, Row
from .ledger import PAGE, Ledger, in_states
from .postgres_url import DatabaseUrl, check_place, is_database
from .sqlite import SQLiteEngine
from .sqlite_file import SQLiteFile, file_path
from .sqlite_reader import Snapshot
from .transaction import Transaction

if TYPE_CHECKING:
    from .postgres_connections import Connections

_NOBODY = "without a session"  # who has changed a row that no member has changed
_VACUUM_DEADLINE = 3600.0  # seconds
_SIZE_OF_FILE = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
_SIZE_OF_WORKSPACE = (
    "SELECT CAST(coalesce(sum(octet_length(record)), 0) AS bigint) FROM hoox.intents "
    "WHERE workspace = :workspace"
)


class NoWorkspace(StoreError):
    """The database has no such workspace (yet)."""


def open_offline(
    store: str | os.PathLike[str], workspace: str, schema: str, *, writes: bool = False
) -> AbstractAsyncContextManager[OfflineLedger]:
    """The ledger of what a path or a ``postgresql://`` URL names. It is not made where it is missing.

    A file is read as it is at this moment, also while a session has it open. With ``writes`` it is opened
    itself, which no session may have open.

    Raises `ConfigurationError`, `InvalidRequest` for what is no path, `NoWorkspace`, `StoreLocked` and
    `StoreError`.
    """
    check_place(workspace, schema)
    if is_database(store):
        return offline_workspace(store, workspace, schema)
    return offline_file(file_path("store", store), writes=writes)


@short_tracebacks
async def workspace_exists(url: str, workspace: str, *, schema: str = "hoox") -> bool:
    """Whether the database has this workspace. Changes nothing. Raises `ConfigurationError`, `StoreError`."""
    try:
        async with offline_workspace(url, workspace, schema):
            return True
    except NoWorkspace:
        return False


@asynccontextmanager
async def offline_file(path: str | os.PathLike[str], *, writes: bool = False) -> AsyncIterator[OfflineLedger]:
    """The ledger of a file. See `open_offline`."""
    name = os.fspath(path)
    engine = SQLiteEngine(SQLiteFile(name, must_exist=True) if writes else Snapshot(name))
    await engine.open(datetime.now(UTC))
    try:
        yield _OfflineFile(engine)
    finally:
        await engine.aclose()


@asynccontextmanager
async def offline_workspace(
    url: str | DatabaseUrl, workspace: str, schema: str
) -> AsyncIterator[OfflineLedger]:
    """The ledger of a workspace of a database. See `open_offline`."""
    from .postgres import PostgresEngine
    from .postgres_connections import Connections
    from .postgres_schema import has_tables

    check_place(workspace, schema)
    connections = Connections(url if isinstance(url, DatabaseUrl) else DatabaseUrl.parse(url), 1)
    try:
        if not await has_tables(connections, schema):
            raise NoWorkspace(f"{connections.name}: there is no store in its schema {schema!r} (yet)")
        engine = PostgresEngine(connections, sql.postgres(schema))
        row, copied = await find_workspace(engine, workspace)
        if row is None:
            raise NoWorkspace(f"{connections.name}: it has no workspace {workspace!r} (yet)")
        copied.require_whole(f"{connections.name}, workspace {workspace!r}")
        ledger = _OfflineWorkspace(connections, schema, workspace)
        ledger.begin(engine, Place(row.id, _NOBODY))
        yield ledger
    finally:
        await connections.aclose()


class _Pruned(NamedTuple):
    """An intent that loses its content, with its row before and its record afterwards."""

    row: Row
    before: Intent
    after: Intent
    record: str


class OfflineLedger(Ledger, ABC):
    """The ledger of a workspace that is not bound to a key here."""

    _measure: str
    """The statement for how many bytes it takes."""

    async def prune(self, older_than: timedelta, *, dry_run: bool) -> PruneResult:
        """Do what `prune_store` says. Each page is one transaction."""
        pruned = already = smaller = 0
        before = await self._now() - older_than
        size = await self._size()
        page: list[_Pruned] = []
        async for row in self._stream_rows(in_states(pruning.PRUNABLE)):
            intent = self._read(row)
            already += isinstance(intent.request, PrunedRequest)
            if not pruning.may_be_pruned(intent, before):
                continue
            after = pruning.prune(intent)
            page.append(_Pruned(row, intent, after, self._record(row, after)))
            smaller += len(row.record.encode()) - len(page[-1].record.encode())
            if len(page) == PAGE:
                pruned, page = pruned + await self._prune(page, dry_run=dry_run), []
        pruned += await self._prune(page, dry_run=dry_run)
        if pruned and not dry_run:
            await self._vacuum()
        return PruneResult(pruned, already, size, size - smaller if dry_run else await self._size())

    async def _prune(self, page: Sequence[_Pruned], *, dry_run: bool) -> int:
        """Write them without their content, and return how many that are."""
        return len(page) if dry_run or not page else await self._run(partial(self._prune_page, page))

    def _prune_page(self, page: Sequence[_Pruned], tx: Transaction) -> int:
        """What was changed just now is in use, and is left as it is."""
        answers = tx.ask(*(self._row(each.row.key) for each in page))
        pruned = 0
        for (row, before, after, record), rows in zip(page, answers, strict=True):
            if rows and Row(*rows[0]).version == row.version:
                intent_rows.put(tx, self._place, row, before, after, record, [])
                tx.write(sql.DROP_DELIVERIES, self._place.values(seq=row.seq))
                pruned += 1
        return pruned

    async def _size(self) -> int:
        [(size,)] = await self._rows(self._measure)
        return int(size)

    @abstractmethod
    async def _now(self) -> datetime:
        """The time, by the clock that all users of the ledger go by."""

    @abstractmethod
    async def _vacuum(self) -> None:
        """Have the old versions of the rows erased now."""


class _OfflineFile(OfflineLedger):
    _measure = _SIZE_OF_FILE

    def __init__(self, engine: SQLiteEngine) -> None:
        super().__init__(newer=False)
        self.begin(engine, Place(1, _NOBODY))
        self._file = engine

    async def _now(self) -> datetime:
        return datetime.now(UTC)

    async def _vacuum(self) -> None:
        await self._file.vacuum()


class _OfflineWorkspace(OfflineLedger):
    _measure = _SIZE_OF_WORKSPACE

    def __init__(self, connections: Connections, schema: str, workspace: str) -> None:
        super().__init__(newer=True)
        self._connections = connections
        self._schema = schema
        self._workspace = workspace

    @property
    def name(self) -> str:
        """What messages call the workspace."""
        return f"{self._connections.name}, workspace {self._workspace!r}"

    async def _now(self) -> datetime:
        [(moment, _)] = await self._rows(sql.MOMENT)
        return intent_rows.from_microseconds(moment)

    async def _vacuum(self) -> None:
        """Let the server erase them now, where this role may; else it does later."""
        statement = sql.postgres(self._schema).compile("VACUUM hoox.intents, hoox.deliveries").encode()
        with suppress(StoreError):
            await self._connections.run(
                lambda connection: connection.execute(statement), deadline=_VACUUM_DEADLINE
            )
