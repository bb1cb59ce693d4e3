"""The stores that a killed process of an earlier version left are opened, and mean what they meant.

`make_stores.py` made them.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from golden_kit import API_KEY, BUDGET, opened, outcomes, restored, unpacked, what_it_says
from schema_kit import schema_of_database, schema_of_file

from hoox_async import BatchReport
from hoox_async._cli.main import run
from hoox_async.postgres import copy_store

VERSIONS = sorted(file.parent for file in Path(__file__).parent.glob("*/store.sqlite.zip"))
DOOR = Path(__file__).parents[1] / "door"
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda folder: folder.name)
both_stores = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@pytest.fixture
def store(request: pytest.FixtureRequest, version: Path, kind: str, tmp_path: Path) -> str:
    """A copy of the store of this kind, which the test may change: a path or a URL."""
    if kind == "sqlite":
        return str(unpacked(version, tmp_path / "left"))
    return restored(version, request.getfixturevalue("postgres_database"))


@each_version
@both_stores
async def test_a_store_says_what_it_said(version: Path, kind: str, store: str) -> None:
    """What was paid, unknowns, jobs and budgets are the same; hooks are told; nothing is paid again."""
    file = version / f"store.{kind}.read.txt"
    assert await what_it_says(store) == file.read_text(encoding="utf-8").splitlines()


@each_version
@both_stores
async def test_an_opened_store_has_the_tables_of_a_new_one(kind: str, store: str) -> None:
    """Whatever the tables of a new store are, those of an earlier version's become."""
    async with opened(store):
        pass
    newest = max(DOOR.glob(f"schema_*.{kind}.txt"))
    schema = schema_of_file(store) if kind == "sqlite" else schema_of_database(store)
    assert schema == newest.read_text(encoding="utf-8").splitlines()


@each_version
@both_stores
def test_commands_know_a_store(
    store: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its budget, what can be pruned, its report, and a copy of it."""

    def told(*words: str) -> dict[str, Any]:
        assert run([*words, "--json"]) == 0
        record: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[0])
        return record

    report = asyncio.run(_report(store))
    budget = told("store", "budget", BUDGET, "--store", store)
    assert (budget["cap"], budget["charged"]) == ("50", "6")
    pruned = told("store", "prune", "--store", store, "--older-than", "0d", "--dry-run")
    settled = len(report.ready) + len(report.failed) + len(report.rejected)
    assert (pruned["pruned"], pruned["already"]) == (settled - 1, 1)
    shown = told("report", "--store", store, "--no-download", "--out", str(tmp_path / "sheet"))
    assert shown["counts"] == {state.value: count for state, count in report.counts.items()}
    if kind == "sqlite":
        copy = told("store", "backup", store, str(tmp_path / "copy.db"))["path"]
    else:
        assert told("store", "migrate", "--store", store)["before"] >= 1
        copy = str(tmp_path / "copy.db")
        told("store", "copy", store, copy)
    assert asyncio.run(_report(copy)).counts == report.counts


@each_version
@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_file_is_moved_to_a_database(store: str, postgres_database: str, kind: str) -> None:
    """`copy_store` brings all of it, as it is once it was opened."""
    async with opened(store) as on:
        await on.told_of("sending and delivered")
    await copy_store(store, postgres_database, api_key=API_KEY)
    here, there = [[*outcomes(await BatchReport.open(each))] for each in (store, postgres_database)]
    assert here == there


async def _report(store: str) -> BatchReport:
    return await BatchReport.open(store)
