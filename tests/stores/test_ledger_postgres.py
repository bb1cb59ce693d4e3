"""The ledger in PostgreSQL: plans of its statements, and a process that stands still within a write."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from internals_kit import IntentState, Revert, SharedLedger
from internals_kit import postgres as dialect_of
from postgres_kit import Server
from store_kit import WORKSPACE, accept, child, planned, send, settle

from hoox_async._io.ledger import copy, intent_rows, ledger, member_statements, news_statements, statements
from hoox_async.errors import BudgetExceeded
from hoox_async.postgres import PostgresDatabase

MANY = 20_000
IN_STATES = ledger._page(ledger.in_states([IntentState.ACCEPTED]))
OF_MANY = {
    "ROW": statements.ROW,
    "OWNER": statements.OWNER,
    "HOLDER": statements.HOLDER,
    "BY_ATTEMPT": statements.BY_ATTEMPT,
    "BY_REF": statements.BY_REF,
    "PAGE": ledger._page("AND i.state <> 'forgotten'"),
    "accepted": IN_STATES,
    "own": IN_STATES.replace("ORDER BY", "AND i.member = :me ORDER BY"),
    "LAST_SETTLED": statements.LAST_SETTLED,
    "COUNT_OPEN": statements.COUNT_OPEN,
    "RELEASE": statements.RELEASE,
    "CLAIMED": statements.CLAIMED,
    "LISTED": statements.LISTED,
    "LISTED_BEFORE": statements.LISTED_BEFORE,
    "ADD_LISTED": statements.ADD_LISTED,
    "INSERT": statements.INSERT,
    "UPDATE": statements.UPDATE,
    "MADE": statements.MADE,
    "COPIES": statements.COPIES,
    "DELIVERED": statements.DELIVERED,
    "DELIVERED_ATTEMPTS": statements.DELIVERED_ATTEMPTS,
    "DELIVERED_TO": statements.DELIVERED_TO,
    "RECENT_SENDS": statements.RECENT_SENDS,
    "DEAD_SENDINGS": member_statements.DEAD_SENDINGS,
    "LEFT_SENDING": member_statements.LEFT_SENDING,
    "CHANGES": member_statements.CHANGES,
    "LEADERS": member_statements.LEADERS,
    "KEPT_SINCE": member_statements.KEPT_SINCE,
    "ATTEMPT_ANYWHERE": member_statements.ATTEMPT_ANYWHERE,
    "page of intents": copy.PARTS[1].read,
    "page of attempts": copy.PARTS[2].read,
    "OWED": news_statements.OWED,
    "TAKE_OVER_KEY": news_statements.TAKE_OVER_KEY,
    "TOLD_BY_ANOTHER": news_statements.TOLD_BY_ANOTHER,
    "TAKE_OVER": news_statements.TAKE_OVER,
    "LEAVE": news_statements.LEAVE,
    "LEAVE_ENDED": news_statements.LEAVE_ENDED,
}
VALUES: Mapping[str, Any] = {
    "workspace": 1,
    "key": "key 77",
    "me": "member 1",
    "id": "attempt 77",
    "avatar_id": "avatar 77",
    "look_id": "look 77",
    "after": 500,
    "after_id": "attempt 1",
    "after_0": MANY - 100,
    "after_1": "attempt 1",
    "size": 500,
    "source": "avatar 77",
    "recent": 5000,
    "lease": 10_000_000,
    "transaction": "0",
    "seq": 0,
    "until": None,
    "age": "sent",
    "state": "sending",
    "version": 4,
    "was": 3,
    "was_crc": 0,
    "sender": "member 1",
    "sets_teller": 1,
    "teller": "member 1",
    "record": "r",
    "crc": 0,
    "nobody": "",
}


FILL = f"""
INSERT INTO hoox.intents (workspace, key, state, version, member, teller, notified, avatar_id, look_id,
    record, crc, changed_in, changed_by)
    SELECT 1, 'key ' || n, CASE WHEN n % 2000 = 0 THEN 'accepted' ELSE 'ready' END, 3, 'member 1', 'member 1',
    'look ' || n, 'avatar ' || n, 'look ' || n, repeat('x', 300), 0, pg_current_xact_id(), 'member 1'
    FROM generate_series(1, {MANY}) AS n;
INSERT INTO hoox.attempts SELECT 1, 'attempt ' || seq, seq, seq FROM hoox.intents;
INSERT INTO hoox.listed SELECT 1, 'avatar ' || n % 50, 'look ' || n, n FROM generate_series(1, {MANY}) AS n;
INSERT INTO hoox.claimed SELECT 1, avatar_id, look_id FROM hoox.intents;
INSERT INTO hoox.deliveries
    SELECT 1, 'attempt ' || seq, look_id, 'r', 'member 1', pg_current_xact_id()
    FROM hoox.intents WHERE seq % 10 = 0;
INSERT INTO hoox.sends SELECT 1, seq FROM hoox.intents;
INSERT INTO hoox.members SELECT 'member ' || n, 'host', n, 1, 1, 1, '' FROM generate_series(1, 50) AS n
"""


@pytest.fixture
async def filled(postgres: Server, postgres_url: str, postgres_schema: str) -> tuple[Server, str]:
    """A schema with 20,000 settled intents, their attempts and looks, and a few open ones."""
    async with PostgresDatabase(postgres_url, schema=postgres_schema) as database:
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        await store.aclose()
    place = f'"{postgres_schema}".'
    with postgres.connect() as connection:
        for sql in FILL.strip().split(";"):
            connection.execute(sql.replace("hoox.", place))
        for table in ("intents", "attempts", "claimed", "listed", "deliveries", "sends", "members"):
            connection.execute(f"ANALYZE {place}{table}")
    return postgres, postgres_schema


async def test_no_statement_reads_a_whole_table(filled: tuple[Server, str]) -> None:
    """With 20,000 intents each statement that a session repeats finds its rows by an index."""
    from psycopg import ClientCursor

    server, schema = filled
    with server.connect() as connection:
        # not its xmin: while tests beside this one have a transaction open, that is from before the filling
        [(next_one,)] = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())").fetchall()
        since = f"{next_one}:{next_one}:"
        values = {**VALUES, "since": since}
        for name, statement in OF_MANY.items():
            text = dialect_of(schema).compile(statements.of_workspaces(statement, [1]))
            given = values | ({"since": MANY - 50} if name == "RECENT_SENDS" else {})
            cursor = ClientCursor(connection)
            cursor.execute(b"EXPLAIN (FORMAT JSON) " + cursor.mogrify(text, given).encode())
            [(plan,)] = cursor.fetchall()
            scanned = [
                node["Relation Name"]
                for node in nodes(plan[0]["Plan"] if isinstance(plan, list) else json.loads(plan)[0]["Plan"])
                if node["Node Type"] == "Seq Scan" and node["Relation Name"] not in ("members", "leaders")
            ]
            assert not scanned, f"{name}: {scanned}"


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan and the plans in it."""
    return [plan, *(node for inner in plan.get("Plans", ()) for node in nodes(inner))]


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


STANDS_STILL = """
import asyncio, os, signal, sys
from hoox_async._io.ledger import intent_rows
from hoox_async._io.ledger.database import PostgresDatabase
from store_kit import WORKSPACE, settle

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
            await store.advance("a", settle("look_1"))
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
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            await asyncio.sleep(0.01)


async def test_a_process_that_stops_between_reading_and_writing_holds_nobody_up(
    postgres_url: str, postgres_schema: str
) -> None:
    """Others write the same row at once; when it goes on, it decides from what they have written."""
    async with PostgresDatabase(postgres_url, schema=postgres_schema) as database:
        store: SharedLedger = database.workspace("shop")
        await store.open(WORKSPACE)
        await store.plan(planned("a"))
        await store.advance("a", send("att_1"), accept("look_1"))
        with child(STANDS_STILL, postgres_url, postgres_schema) as process:
            assert process.stdout is not None
            try:
                assert await asyncio.to_thread(process.stdout.readline) == "stands still\n"
                await until_stopped(process.pid)
                async with asyncio.timeout(1.0):
                    settled = await store.advance("a", settle("look_1"))
                os.kill(process.pid, signal.SIGCONT)
                assert await asyncio.to_thread(process.stdout.readline) == "stands still\n"  # it reads again
                await until_stopped(process.pid)
                os.kill(process.pid, signal.SIGCONT)
                assert await asyncio.to_thread(process.stdout.readline) == "written\n"
            finally:
                process.kill()
        assert (await store.get(["a"]))["a"] == settled
        await store.aclose()
