"""Erases the content of settled requests in a store's file, and makes the file smaller."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..._api.requests import PrunedRequest
from ..._core.intents import pruning
from ..._core.intents.intent import Intent
from ..._core.intents.pruning import PRUNABLE, PruneResult, may_be_pruned
from ..._core.intents.records import dump_intent
from . import statements as sql
from .intent_rows import Row, checksum
from .ledger import page_of
from .sqlite_errors import translated
from .sqlite_file import SQLiteFile, SQLiteTransaction
from .sqlite_reader import connect_to_read
from .transaction import Transaction


def prune(name: str, before: datetime) -> PruneResult:
    """Do what `prune_store` says, in the calling thread. Each page is one transaction."""
    pruned = already = 0
    with translated(name):
        size_before = _size(name)
    database = SQLiteFile(name)
    database.open_existing(datetime.now(UTC))
    try:
        place: int | None = 0
        while place is not None:
            page = database.transact(partial(_prune_page, after=place, before=before))
            place, pruned, already = page.next, pruned + len(page.chosen), already + page.already
        if pruned:
            database.vacuum()
    finally:
        database.close()
    return PruneResult(pruned, already, size_before, _size(name))


def preview(name: str, before: datetime) -> PruneResult:
    """What `prune` would do, also while a session has the store open. Changes nothing."""
    pruned = already = smaller = 0
    place: int | None = 0
    with closing(connect_to_read(name)) as db, translated(name):
        while place is not None:
            page = _prunable_page(SQLiteTransaction(db), place, before)
            place, pruned, already = page.next, pruned + len(page.chosen), already + page.already
            for row, intent in page.chosen:
                smaller += len(row.record) - len(dump_intent(pruning.prune(intent)))
    size = _size(name)
    return PruneResult(pruned, already, size, max(0, size - smaller))


class _Page(NamedTuple):
    """Those of a page of settled intents that may be pruned, each with its row.

    ``next``: the place after which the next page begins; None after the last. ``already``: how many of the
    page are pruned.
    """

    next: int | None
    already: int
    chosen: list[tuple[Row, Intent]]


def _prunable_page(tx: Transaction, after: int, before: datetime) -> _Page:
    [rows] = tx.ask(page_of(PRUNABLE, after))
    loaded = [(row, row.read(newer=False)) for row in map(Row._make, rows)]
    chosen = [(row, intent) for row, intent in loaded if may_be_pruned(intent, before)]
    already = sum(isinstance(intent.request, PrunedRequest) for _, intent in loaded)
    return _Page(loaded[-1][0].seq if loaded else None, already, chosen)


def _prune_page(tx: Transaction, after: int, before: datetime) -> _Page:
    page = _prunable_page(tx, after, before)
    for row, intent in page.chosen:
        record = dump_intent(pruning.prune(intent))
        for statement in sql.PRUNE:
            tx.write(statement, {"seq": row.seq, "workspace": 1, "record": record, "crc": checksum(record)})
    return page


def _size(name: str) -> int:
    path = os.path.realpath(name)
    return sum(place.stat().st_size for place in (Path(path), Path(f"{path}-wal")) if place.exists())
