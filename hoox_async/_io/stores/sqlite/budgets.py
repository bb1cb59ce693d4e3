"""Reads the named budgets of a store's file without a session, and changes their caps."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

from ...._core.intents.budget import StoredBudget
from ....errors import StoreError
from . import queries, schema
from .database import Database
from .error_translation import translated
from .reader import connect_to_read


def budget_of_file(path: str, name: str, cap: Decimal | None) -> StoredBudget | None:
    """Do what `store_budget` says, in the calling thread. None where there is no such budget."""
    if cap is None:
        with closing(connect_to_read(path)) as db, translated(path):
            return queries.budget(db, name) if schema.has_budgets(db, path) else None
    if not Path(os.path.realpath(path)).is_file():
        raise StoreError(f"{path}: there is no such file")
    database = Database(path)
    database.open_and(partial(_prepare, path), datetime.now(UTC))
    try:
        database.transaction(partial(queries.set_cap, name=name, max_credits=cap))
        return database.transaction(partial(queries.budget, name=name))
    finally:
        database.close()


def _prepare(path: str, db: sqlite3.Connection, version: int) -> None:
    if not version or queries.read_binding(db) is None:
        raise StoreError(f"{path}: it is no store of hoox-async (yet): nothing was written to it")
    schema.migrate(db, version)
