"""Reads the named budgets of a store's file without a session, and changes their caps."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from ...._core.intents.budget import StoredBudget
from . import queries, schema
from .database import Database
from .error_translation import translated
from .reader import connect_to_read


def budget_of_file(path: str, name: str, cap: Decimal | None) -> StoredBudget | None:
    """Do what `store_budget` says, in the calling thread. None where there is no such budget."""
    if cap is None:
        with closing(connect_to_read(path)) as db, translated(path):
            return queries.budget(db, name) if schema.version_of(db, path) else None
    database = Database(path)
    database.open_existing(datetime.now(UTC))
    try:
        database.transaction(partial(queries.set_cap, name=name, max_credits=cap))
        return database.transaction(partial(queries.budget, name=name))
    finally:
        database.close()
