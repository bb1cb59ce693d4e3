"""A workspace in PostgreSQL without a session: its report is read, and its settled requests are pruned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from internals_kit import Delivered, Intent, Ledger, execute_message
from store_kit import WORKSPACE
from test_store_prune import LONG_AGO, SECRET, fill

from hoox_async import BatchReport, LookRef, PrunedRequest, backup_store, prune_store, recover_store
from hoox_async._io.ledger import postgres
from hoox_async.errors import ConfigurationError, StoreError
from hoox_async.postgres import PostgresDatabase

SETTLED = [f"ready {number}" for number in range(3)]


@pytest.fixture
async def store(postgres_database: str) -> AsyncIterator[Ledger]:
    """The workspace "shop" of a database, open and filled as the file of the tests for SQLite is."""
    async with PostgresDatabase(postgres_database) as database:
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        await fill(store)
        yield store
        await store.aclose()


async def stored(store: Ledger) -> dict[str, Intent]:
    return {intent.key: intent async for intent in store.stream()}


def tables(url: str) -> list[str]:
    """All tables that are in the database, with their number of rows."""
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'hoox'").fetchall()
        return [
            f"{name} {connection.execute(f'SELECT count(*) FROM hoox.{name}').fetchone()}"
            for (name,) in sorted(names)
            if name != "members"
        ]


async def test_pruning_keeps_what_money_needs(store: Ledger, postgres_database: str) -> None:
    """While a session has the workspace open, the settled requests lose their content and nothing else."""
    before = await stored(store)
    preview = await prune_store(postgres_database, older_than=LONG_AGO, workspace="shop", dry_run=True)
    assert (preview.pruned, preview.already) == (3, 0)
    assert await stored(store) == before
    result = await prune_store(postgres_database, older_than=LONG_AGO, workspace="shop")
    assert result == preview
    after = await stored(store)
    assert [key for key in after if after[key] != before[key]] == SETTLED
    for key in SETTLED:
        assert isinstance(after[key].request, PrunedRequest)
        assert (after[key].spent, after[key].digest) == (before[key].spent, before[key].digest)
        assert (after[key].ref, after[key].attempts) == (before[key].ref, before[key].attempts)
    assert await store.by_ref(LookRef("avtr_1", "look_1")) == after["ready 1"]
    assert await store.delivered("att_1") == Delivered(after["ready 1"], None)
    with psycopg.connect(postgres_database) as connection:
        left = connection.execute(
            "SELECT key FROM hoox.intents WHERE record LIKE %s ORDER BY 1", (f"%{SECRET}%",)
        )
        assert [key for (key,) in left] == ["accepted", "dropped", "planned", "unknown"]


async def test_pruning_again_and_of_what_is_younger(store: Ledger, postgres_database: str) -> None:
    """What is younger is left alone, by the database's clock; a second time nothing is left to be erased."""
    assert (
        await prune_store(postgres_database, older_than=timedelta(days=101), workspace="shop")
    ).pruned == 0
    assert (await prune_store(postgres_database, older_than=timedelta.max, workspace="shop")).pruned == 0
    await prune_store(postgres_database, older_than=LONG_AGO, workspace="shop")
    again = await prune_store(postgres_database, older_than=LONG_AGO, workspace="shop")
    assert (again.pruned, again.already) == (0, 3)


async def test_an_intent_that_changes_meanwhile_is_left_alone(
    store: Ledger, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An intent that a process writes while it is pruned keeps what that process wrote."""

    async def late(connection: Any, statements: Sequence[tuple[bytes, Mapping[str, Any]]]) -> Any:
        if not first and statements[0][0].startswith(b"UPDATE"):
            first.append(statements)
            await store.advance("ready 0")  # moves the version
        return await execute_message(connection, statements)

    first: list[object] = []
    before = await stored(store)
    monkeypatch.setattr(postgres, "execute_message", late)
    assert (await prune_store(postgres_database, older_than=LONG_AGO, workspace="shop")).pruned == 2
    assert (await stored(store))["ready 0"] == before["ready 0"]


async def test_a_report_is_read_without_changing_anything(store: Ledger, postgres_database: str) -> None:
    """A report needs no key, adds no member, workspace or row, and has an outcome for each intent."""
    before = tables(postgres_database)
    report = await BatchReport.open(postgres_database, workspace="shop")
    assert [outcome.key for outcome in report] == list(await stored(store))
    with psycopg.connect(postgres_database) as connection:
        assert connection.execute("SELECT count(*) FROM hoox.members").fetchone() == (1,)
    assert tables(postgres_database) == before


async def test_reading_makes_nothing(postgres_database: str) -> None:
    """Reading and pruning make neither a store in an empty database nor a workspace."""
    for call in (BatchReport.open(postgres_database), prune_store(postgres_database, older_than=LONG_AGO)):
        with pytest.raises(StoreError, match="no store in its schema"):
            await call
    assert tables(postgres_database) == []
    async with PostgresDatabase(postgres_database):
        pass
    before = tables(postgres_database)
    with pytest.raises(StoreError, match="no workspace 'typo'"):
        await BatchReport.open(postgres_database, workspace="typo")
    assert tables(postgres_database) == before


async def test_a_file_operation_on_a_url_shows_no_password() -> None:
    """Backup and recovery of a URL are refused, and say nothing of it."""
    url = "postgresql://hoox:pa55word@nowhere.example/db"
    for call in (backup_store(url, "copy.db"), recover_store(url)):
        with pytest.raises(ConfigurationError, match="PostgreSQL") as caught:
            await call
        assert "pa55word" not in str(caught.value)
    assert not Path("copy.db").exists()
