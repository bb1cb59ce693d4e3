"""The ledger in PostgreSQL: what happens between the two messages of a write."""

from __future__ import annotations

import asyncio
import os
import signal
from decimal import Decimal
from typing import Any

import pytest
from internals_kit import IntentState, Revert, SharedLedger
from postgres_kit import Server, process_state
from store_kit import EDIT, WORKSPACE, child, planned, send

from hoox_async._io.ledger import intent_rows
from hoox_async.errors import BudgetExceeded, StoreError
from hoox_async.postgres import PostgresDatabase


async def test_nothing_is_sent_in_a_budget_that_was_deleted_meanwhile(
    postgres: Server, postgres_url: str, postgres_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget whose row is gone between reading and writing has no room. Ends are written all the same."""
    charge, deleted = intent_rows.charge, list[str]()

    def delete_and_charge(*args: Any, **options: Any) -> None:
        if not deleted:
            with postgres.connect() as connection:
                deleted.append(str(connection.execute(f'DELETE FROM "{postgres_schema}".budgets')))
        charge(*args, **options)

    async with PostgresDatabase(postgres_url, schema=postgres_schema) as database:
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        await store.open_budget("spring", Decimal(100), Decimal(0))
        await store.plan(planned("a"))
        monkeypatch.setattr(intent_rows, "charge", delete_and_charge)
        with pytest.raises(BudgetExceeded):
            await store.advance("a", send("att_1")._replace(budget="spring"))
        assert (await store.get(["a"]))["a"].state is IntentState.PLANNED
        await store.open_budget("spring", Decimal(100), Decimal(0))
        await store.advance("a", send("att_2")._replace(budget="spring"))
        deleted.clear()
        reverted = await store.advance("a", Revert("att_2"))
        assert (reverted.state, await store.budget("spring")) == (IntentState.PLANNED, None)
        await store.aclose()


async def test_nothing_is_sent_whose_row_is_gone(
    postgres: Server, postgres_url: str, postgres_schema: str
) -> None:
    """SENDING of a row that a server does not have raises, though its version is still remembered.

    So it is with a replica that has taken over and lacks the plan, until that is noticed.
    """
    async with PostgresDatabase(postgres_url, schema=postgres_schema) as database:
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        await store.plan(planned("a"))
        with postgres.connect() as connection:
            connection.execute(f'DELETE FROM "{postgres_schema}".intents')
        with pytest.raises(StoreError, match="no intent under the key 'a'"):
            await store.advance("a", send("att_1"))
        assert await store.plan(planned("a")) == planned("a")
        await store.advance("a", send("att_1"))
        await store.aclose()


STANDS_STILL = """
import asyncio, os, signal, sys
from hoox_async._io.ledger import intent_rows
from hoox_async._io.ledger.database import PostgresDatabase
from store_kit import WORKSPACE, send

async def main():
    async with PostgresDatabase(sys.argv[1], schema=sys.argv[2]) as database:
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        put = intent_rows.put
        def stop_and_put(*args, **kwargs):
            print("stands still", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
            return put(*args, **kwargs)
        intent_rows.put = stop_and_put
        try:
            await store.advance("a", send("att_1")._replace(budget="spring"))
        except Exception as error:
            print(type(error).__name__, flush=True)
        else:
            print("written", flush=True)
        os._exit(0)

asyncio.run(main())
"""


async def until_stopped(pid: int) -> None:
    """Wait until a process is stopped: SIGCONT before its SIGSTOP would be lost."""
    async with asyncio.timeout(60):
        while process_state(pid) != "T":
            await asyncio.sleep(0.01)


async def test_a_process_that_stops_between_reading_and_writing_holds_nobody_up(
    postgres_url: str, postgres_schema: str
) -> None:
    """Others write its row and charge its budget while it is stopped.

    When it goes on, it decides from what they have written.
    """
    async with PostgresDatabase(postgres_url, schema=postgres_schema) as database:
        store: SharedLedger = database.workspace("shop")
        await store.open(WORKSPACE)
        await store.open_budget("spring", 3 * EDIT.credits, Decimal(0))
        for key in "ab":
            await store.plan(planned(key))
        with child(STANDS_STILL, postgres_url, postgres_schema) as process:
            assert process.stdout is not None
            try:
                assert await asyncio.to_thread(process.stdout.readline) == "stands still\n"
                await until_stopped(process.pid)
                for key in "ba":
                    await store.advance(key, send(f"att_2 {key}")._replace(budget="spring"))
                assert process_state(process.pid) == "T"
                os.kill(process.pid, signal.SIGCONT)
                assert await asyncio.to_thread(process.stdout.readline) == "IllegalTransition\n"
            finally:
                process.kill()
        assert (await store.get(["a"]))["a"].last_attempt == "att_2 a"
        budget = await store.budget("spring")
        assert budget is not None
        assert budget.charged == 2 * EDIT.credits
        await store.aclose()
