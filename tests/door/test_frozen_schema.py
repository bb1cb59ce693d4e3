"""The tables of schema 1 are what ``schema_1.sqlite.txt`` and ``schema_1.postgresql.txt`` say.

Like ``frozen_door.txt`` they are edited by hand, and until 0.1 is released only: a store of that version has
these tables for ever, and what is changed afterwards is a migration. `make_stores.py` in ``tests/golden`` is
run anew with them.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from schema_kit import schema_of_database, schema_of_file

from hoox_async import HooxSession
from hoox_async.postgres import PostgresDatabase

FOLDER = Path(__file__).parent


def _compare(now: list[str], name: str) -> None:
    frozen = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    different = [line for line in difflib.ndiff(frozen, now) if line[0] in "-+"]
    if different:
        told = "\n".join([f"The tables are not what tests/door/{name} says:", *different])
        pytest.fail(told, pytrace=False)


async def test_the_tables_of_a_file_are_frozen(tmp_path: Path) -> None:
    """Tables, columns, indexes, and the numbers in the header of a file that was closed."""
    async with HooxSession("hx_live_door", store=tmp_path / "looks.db"):
        pass
    _compare(schema_of_file(tmp_path / "looks.db"), "schema_1.sqlite.txt")


async def test_the_tables_of_a_database_are_frozen(postgres_database: str) -> None:
    """Tables, columns, constraints, indexes and functions, on each PostgreSQL that the tests run on."""
    async with PostgresDatabase(postgres_database):
        pass
    _compare(schema_of_database(postgres_database), "schema_1.postgresql.txt")
