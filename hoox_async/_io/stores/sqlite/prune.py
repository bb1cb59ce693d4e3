"""Erases the content of settled requests in a store's file, and makes the file smaller."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ...._core.intents import pruning
from ...._core.intents.records import dump_intent
from ..pruning import PruneResult
from . import queries
from .database import Database
from .error_translation import translated
from .reader import connect_to_read

_PAGE = 500


def prune(name: str, before: datetime) -> PruneResult:
    """Do what `prune_store` says, in the calling thread. Each page is one transaction."""
    size_before, pruned, already = _size(name), 0, 0
    database = Database(name)
    database.open_existing(datetime.now(UTC))
    try:
        place: int | None = 0
        while place is not None:
            page = database.transaction(partial(_prune_page, after=place, before=before))
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
            page = queries.prunable_page(db, place, _PAGE, before)
            place, pruned, already = page.next, pruned + len(page.chosen), already + page.already
            for _, record, intent in page.chosen:
                smaller += len(record) - len(dump_intent(pruning.prune(intent)))
    size = _size(name)
    return PruneResult(pruned, already, size, max(0, size - smaller))


def _prune_page(db: sqlite3.Connection, after: int, before: datetime) -> queries.PrunablePage:
    page = queries.prunable_page(db, after, _PAGE, before)
    for seq, _, intent in page.chosen:
        queries.write_pruned(db, seq, pruning.prune(intent))
    return page


def _size(name: str) -> int:
    path = os.path.realpath(name)
    return sum(place.stat().st_size for place in (Path(path), Path(f"{path}-wal")) if place.exists())
