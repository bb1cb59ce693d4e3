"""What is done with a store without a session: backups, recovery, costs, pruning, budgets."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio.to_thread

from ..._checks import option
from ..._core.intents.budget import Credits, StoredBudget
from ..._core.intents.costs import Costs, CostTable
from ..._core.intents.pruning import PruneResult
from ..._tracebacks import short_tracebacks
from ...errors import ConfigurationError
from . import statements as sql
from .backup import back_up, recover
from .file_pruning import preview, prune
from .intent_rows import read_budget, to_units
from .opening import file_path
from .postgres_url import check_place, is_database
from .sqlite_errors import translated
from .sqlite_file import SQLiteFile, SQLiteTransaction
from .sqlite_reader import connect_to_read, read_store
from .transaction import Rows, Transaction

_AGES = timedelta(days=365 * 1000)  # longer ago than anything: a moment before the year 1 does not exist


@short_tracebacks
async def backup_store(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Copy a store's file as it is at this moment, also while a session has it open. Returns the copy's path.

    The copy is one complete file. It is created atomically and replaces no other file. Use it instead of the
    store, never in parallel: each would pay again for what the other has paid for. Requests that are being
    sent at this moment are unknown in the copy. Before the copy takes the store's place, remove the store's
    ``-wal`` and ``-shm`` too: SQLite would read them as the copy's.

    Raises `StoreError` where there is no such store, it can't be read, or the target exists or can't be
    written, `InvalidRequest` for what is no path, and `ConfigurationError` for a URL.
    """
    path = _path("source", source, "pg_dump")
    return await anyio.to_thread.run_sync(back_up, path, _path("target", target, "pg_dump"))


@short_tracebacks
async def read_costs(
    store: str | os.PathLike[str], *, by: str, workspace: str = "default", schema: str = "hoox"
) -> list[Costs]:
    """What the requests of a store have cost, in groups, the most expensive first. Changes nothing.

    ``by`` is ``"metadata.NAME"``, as in ``by="metadata.customer"``, ``"kind"``, ``"avatar"`` or ``"state"``.
    Requests without that metadata are the group None, and those whose metadata `prune_store` has erased are
    the group ``"pruned"``. It works while sessions have the store open, and needs no API key.

    ``store`` is the path of a file or a ``postgresql://`` URL. ``workspace`` and ``schema`` choose what of
    the database is read. Raises `StoreError` where there is no such store, `InvalidRequest` for
    what is no path, and `ConfigurationError` for another ``by``.
    """
    table = CostTable(by)
    check_place(workspace, schema)
    if is_database(store):
        from .postgres_offline import offline_workspace

        async with offline_workspace(store, workspace, schema=schema) as records:
            async for intent in records.stream():
                table.add(intent)
    else:
        async with await read_store(file_path("store", store)) as snapshot:
            async for intent in snapshot:
                table.add(intent)
    return table.rows()


@short_tracebacks
async def recover_store(path: str | os.PathLike[str]) -> None:
    """Make a store usable again whose ``-wal`` is gone for good, or that was copied with `copy_store`.

    Of two copies use only one: each would pay again for what the other has paid for. Commits that only a lost
    ``-wal`` had are lost.

    A session refuses to open such a store, since it does not know any more which looks were paid for. After
    this call a session opens it, and pays for those looks again when they are submitted again. So keep a copy
    of the file as it was, and compare the store with the looks of the workspace (`HooxSession.looks`) before
    you run anything again.

    Raises `StoreError` where there is neither to mend or what is left is damaged, `StoreLocked` while a
    session has the store open, and `InvalidRequest` for what is no path.
    """
    await anyio.to_thread.run_sync(recover, _path("path", path, "its own means"))


@short_tracebacks
async def prune_store(
    store: str | os.PathLike[str],
    *,
    older_than: timedelta,
    dry_run: bool = False,
    workspace: str = "default",
    schema: str = "hoox",
) -> PruneResult:
    """Erase prompts, metadata and the API's answers of what was settled longer ago than ``older_than``.

    Erased are the content, the metadata and the webhook URLs of the requests, pictures' addresses, reasons
    and raw answers, of what is READY, FAILED or REJECTED. What money needs is kept: key, digest, state, ref,
    attempt ids, times, kind, price and the costs. So a pruned key is still the same look for the same content
    and a conflict for other content, and nothing is paid twice. A report shows it as pruned. What is unknown
    or was dropped is never touched, nor what is not settled yet. With ``dry_run`` nothing is changed.

    ``store`` is the path of a file or a ``postgresql://`` URL. ``workspace`` and ``schema`` choose what of
    the database is pruned, also while processes use it. Its server erases the old rows with its next VACUUM;
    this runs one where the role may.

    In SQLite no session may have the store open, unless it is a dry run. The file is written anew, which
    needs as much free space again. Releases that can't read a pruned file refuse it. Copies of the store, its
    backups too, still hold what was erased.

    Raises `StoreLocked` while a session has the file open, `StoreError`, `InvalidRequest` for what is no
    path, and `ConfigurationError` for an ``older_than`` that is no time of 0 or more, and a ``dry_run`` that
    is neither True nor False.
    """
    if not isinstance(older_than, timedelta) or older_than < timedelta():
        raise option.error("older_than", older_than, "a timedelta of 0 or more")
    option.flag("dry_run", dry_run)
    check_place(workspace, schema)
    older_than = min(older_than, _AGES)
    if is_database(store):
        from .postgres_offline import offline_workspace

        async with offline_workspace(store, workspace, schema=schema) as records:
            return await records.prune(older_than, dry_run=dry_run)
    before = datetime.now(UTC) - older_than
    path = file_path("store", store)
    return await anyio.to_thread.run_sync(preview if dry_run else prune, path, before)


@short_tracebacks
async def store_budget(
    store: str | os.PathLike[str],
    name: str,
    *,
    cap: Credits | None = None,
    workspace: str = "default",
    schema: str = "hoox",
) -> StoredBudget:
    """The `Budget` of this name in a store: its cap, and what is charged to it. With ``cap``, change the cap.

    ``store`` is the path of a file or a ``postgresql://`` URL. ``workspace`` and ``schema`` choose the budget
    of the database. Processes that use the store go by the new cap from their next sending on. A cap below
    what is charged lets nothing more be sent. Of a file no session may be open, unless it is only read.

    Raises `ConfigurationError` where the store has no such budget, `InvalidRequest` for what is no path,
    `StoreLocked` and `StoreError`.
    """
    wanted = None if cap is None else option.credits("cap", cap)
    option.name("name", name, of="budget")
    check_place(workspace, schema)
    if is_database(store):
        from .postgres_offline import offline_workspace

        async with offline_workspace(store, workspace, schema=schema) as records:
            if wanted is not None:
                await records.set_cap(name, wanted)
            found = await records.budget(name)
    else:
        found = await anyio.to_thread.run_sync(_budget_of_file, file_path("store", store), name, wanted)
    if found is None:
        raise ConfigurationError(f"the store has no budget {name!r} (yet): its first use creates it")
    return found


def _path(name: str, store: object, instead: str) -> str:
    """The path of a store's file. Raises `ConfigurationError` for a database, and as `file_path`."""
    if is_database(store):  # not shown: it may hold a password
        raise ConfigurationError(f"{name}: a PostgreSQL database is treated with {instead}, not as a file")
    return file_path(name, store)


def _budget_of_file(path: str, name: str, cap: Decimal | None) -> StoredBudget | None:
    """Do what `store_budget` says, in the calling thread. None where there is no such budget."""
    values: dict[str, Any] = {"workspace": 1, "name": name}
    if cap is None:
        with closing(connect_to_read(path)) as db, translated(path):
            return _budget(SQLiteTransaction(db).ask((sql.BUDGET, values)))
    units = to_units(cap)

    def change(tx: Transaction) -> StoredBudget | None:
        tx.write(sql.SET_CAP, {**values, "cap": units})
        return _budget(tx.ask((sql.BUDGET, values)))

    file = SQLiteFile(path)
    file.open_existing(datetime.now(UTC))
    try:
        return file.transact(change)
    finally:
        file.close()


def _budget(answers: list[Rows]) -> StoredBudget | None:
    [rows] = answers
    return read_budget(rows[0]) if rows else None
