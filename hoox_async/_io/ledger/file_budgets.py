"""Reads the named budgets of a store's file without a session, and changes their caps."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ..._core.intents.budget import StoredBudget
from . import statements as sql
from .intent_rows import read_budget, to_units
from .sqlite_errors import translated
from .sqlite_file import SQLiteFile, SQLiteTransaction
from .sqlite_reader import connect_to_read
from .transaction import Rows, Transaction


def budget_of_file(path: str, name: str, cap: Decimal | None) -> StoredBudget | None:
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
