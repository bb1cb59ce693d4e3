"""Writes whose answer is lost, processes that die, stop or fork, and a database that is gone for a while."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from internals_kit import Accept, IllegalTransition, IntentState, Revert, Row, SharedLedger
from postgres_kit import Proxy, Server
from store_kit import WORKSPACE, accept, child, planned, send

from hoox_async import Evidence, LookRef
from hoox_async._io.ledger.statements import ROW
from hoox_async.errors import StoreError
from hoox_async.postgres import PostgresDatabase
from hoox_async.webhooks import WebhookHub

# A process that sends some keys, waits until its stdin has a line, and then writes its answers.
SENDER = """
import asyncio, sys
from hoox_async._api.models import LookRef
from hoox_async._core.intents.intent import Evidence
from hoox_async._core.intents.transitions import Accept
from hoox_async.postgres import PostgresDatabase
from store_kit import NOW, WORKSPACE, planned, send

async def main(url, schema, lease, *keys):
    async with PostgresDatabase(url, schema=schema, lease=float(lease)) as database:
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        for key in keys:
            await store.plan(planned(key))
            await store.advance(key, send(f"att_{key}"))
        print("sent", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for key in keys:
            accepted = Accept(LookRef("avtr_1", f"look_{key}"), NOW, Evidence.ANSWER, f"att_{key}")
            print((await store.advance(key, accepted)).state, flush=True)
        await store.plan(planned("next"))
        print((await store.advance("next", send("att_next"))).state, flush=True)
        await store.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def opened(url: str, schema: str = "hoox", lease: float = 10.0) -> AsyncIterator[SharedLedger]:
    """The workspace "shop" of a database object of its own."""
    async with PostgresDatabase(url, schema=schema, lease=lease) as database:
        store = database.workspace("shop")
        await store.open(WORKSPACE)
        try:
            yield store
        finally:
            await store.aclose()


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until it is so; a minute at most."""
    async with asyncio.timeout(60):
        while True:
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await asyncio.sleep(0.05)


async def states(store: SharedLedger, *keys: str) -> list[str]:
    """The states of these keys."""
    found = await store.get(keys)
    return [str(found[key].state) if key in found else "-" for key in keys]


async def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """The next lines that a process prints."""
    assert process.stdout is not None
    return [(await asyncio.to_thread(process.stdout.readline)).strip() for _ in range(count)]


async def row_of(store: SharedLedger, key: str) -> Row:
    """The row of an intent."""
    [row] = await store._rows(ROW, key=key)
    return Row(*row)


async def _is(store: SharedLedger, key: str, state: str) -> bool:
    return await states(store, key) == [state]


async def _all(store: SharedLedger, keys: list[str], state: str) -> bool:
    return set(await states(store, *keys)) == {state}


async def test_a_commit_whose_answer_is_lost_is_undone_by_a_second_write(
    postgres: Server, postgres_schema: str
) -> None:
    """The connection is cut between the commit of SENDING and its answer.

    The write is a `StoreError` though it took place; after `Revert` of its attempt the intent is PLANNED.
    """
    async with (
        Proxy(postgres.socket) as proxy,
        opened(postgres.url, postgres_schema) as direct,
        opened(proxy.url, postgres_schema) as store,
    ):
        await store.plan(planned("a"))
        proxy.drop_answers = True
        writing = asyncio.create_task(store.advance("a", send("att_1")))
        await until(lambda: _is(direct, "a", "sending"))
        proxy.cut()
        with pytest.raises(StoreError, match="the connection failed"):
            await writing
        proxy.drop_answers = False
        assert (await store.plan(planned("a"))).state is IntentState.SENDING
        assert (await store.advance("a", Revert("att_1"))).state is IntentState.PLANNED
        assert await states(direct, "a") == ["planned"]


async def test_deliveries_cost_no_traceback_while_the_database_is_gone(
    postgres: Server, postgres_schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is answered 503 and counted in a line that says why."""
    hub = WebhookHub("https://shop.example.com/hooks", "a secret that is long enough")
    token = hub.url_for("att_of_nobody").rpartition("/")[2]
    body = b'{"job_id": "look_1", "status": "completed", "result": {"thumbnail_url": "https://m.example/1"}}'
    async with (
        Proxy(postgres.socket) as proxy,
        PostgresDatabase(proxy.url, schema=postgres_schema, webhooks=hub),
    ):
        proxy.refuse = True
        proxy.cut()
        assert set(await asyncio.gather(*(hub.handle(token, body) for _ in range(50)))) == {503}
        await hub.aclose()
        rejected = [record for record in caplog.records if "rejected" in record.getMessage()]
        assert sum(int(n) for r in rejected for n in re.findall(r"(\d+) with 503", r.getMessage())) == 50
        assert "it could not be stored: " in rejected[0].getMessage()
        assert len(rejected) < 10
        assert not any(record.exc_info for record in caplog.records)


async def test_a_write_that_the_server_executes_after_its_client_has_gone_is_undone(
    postgres: Server, postgres_schema: str
) -> None:
    """SENDING waits for a lock when its connection is cut, and takes place later: before the second write."""
    async with Proxy(postgres.socket) as proxy, opened(proxy.url, postgres_schema) as store:
        await store.plan(planned("a"))
        with postgres.connect() as locker, postgres.connect() as watcher:
            locker.execute("BEGIN")
            locker.execute(f"SELECT FROM {postgres_schema}.intents FOR UPDATE")
            writing = asyncio.create_task(store.advance("a", send("att_1")))
            waiting = (
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%intents%'"
            )
            await until(lambda: bool(watcher.execute(waiting).fetchall()))
            proxy.cut()
            with pytest.raises(StoreError, match="the connection failed"):
                await writing
            undoing = asyncio.create_task(store.advance("a", Revert("att_1")))
            await asyncio.sleep(0.3)
            locker.execute("COMMIT")
            assert (await undoing).state is IntentState.PLANNED
        assert await states(store, "a") == ["planned"]
        row = await row_of(store, "a")
        assert row.version >= 3  # its insertion, SENDING or its refusal, and the second write
        await store.advance("a", send("att_2"))


async def test_a_lease_that_has_ended_is_not_revived_by_a_renewal_under_way(
    postgres: Server, postgres_schema: str
) -> None:
    """A database is closed while a renewal waits for a lock: afterwards its member is gone."""
    database = PostgresDatabase(postgres.url, schema=postgres_schema, lease=60.0)
    await database.open()
    member = database.require_member()
    with postgres.connect() as locker:
        locker.execute("BEGIN")
        locker.execute(f"SELECT FROM {postgres_schema}.members FOR UPDATE")
        renewing = asyncio.create_task(member.renew())
        await asyncio.sleep(0.2)
        closing = asyncio.create_task(database.aclose())
        await asyncio.sleep(0.2)
        locker.execute("COMMIT")
        await asyncio.gather(renewing, closing)
        assert locker.execute(f"SELECT * FROM {postgres_schema}.members").fetchall() == []


@pytest.mark.slow
async def test_what_a_killed_process_was_sending_is_unknown_after_its_lease(
    postgres: Server, postgres_schema: str
) -> None:
    """A real process is killed (SIGKILL) with three POSTs outstanding; the other's sweep marks just these."""
    async with opened(postgres.url, postgres_schema, lease=1.0) as store:
        process = child(SENDER, postgres.url, postgres_schema, 1.0, "a", "b", "c", stdin=True)
        with process:
            assert await lines(process, 1) == ["sent"]
            await store.plan(planned("own"))
            await store.advance("own", send("att_own"))
            heard: list[str] = []
            store.on_changed_elsewhere(lambda intent: heard.append(intent.key))
            process.kill()
        await until(lambda: _all(store, ["a", "b", "c"], "unknown"))
        assert {"a", "b", "c"} <= set(heard)
        assert await states(store, "own") == ["sending"]


@pytest.mark.slow
async def test_a_process_that_was_stopped_for_longer_than_its_lease_goes_on(
    postgres: Server, postgres_schema: str
) -> None:
    """SIGSTOP until its POST is unknown to others, then SIGCONT: its answer counts, and it sends again."""
    async with opened(postgres.url, postgres_schema, lease=1.0) as store:
        process = child(SENDER, postgres.url, postgres_schema, 1.0, "a", stdin=True)
        with process:
            assert await lines(process, 1) == ["sent"]
            os.kill(process.pid, signal.SIGSTOP)
            try:
                await until(lambda: _is(store, "a", "unknown"))
            finally:
                os.kill(process.pid, signal.SIGCONT)
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            assert await lines(process, 2) == ["accepted", "sending"]
        assert await states(store, "a") == ["accepted"]
        [attempt] = (await store.get(["a"]))["a"].attempts
        assert attempt.id == "att_a"


async def test_while_the_database_is_gone_nobody_is_taken_for_dead(
    own_postgres: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The server crashes and is back after thirty seconds by its clock: what is outstanding stays SENDING.

    Two processes are members with leases of ten seconds. Both go on by themselves once it is back, and what
    each was sending is accepted. The thirty seconds are not waited for: the server's clock is set forward.
    """
    async with opened(own_postgres.url) as a, opened(own_postgres.url) as b:
        for store, key in ((a, "of a"), (b, "of b")):
            await store.plan(planned(key))
            await store.advance(key, send(f"att {key}"))
        own_postgres.stop()
        for store in (a, b):
            with pytest.raises(StoreError, match="the connection failed"):
                await store.get(["of a"])
        await until(lambda: "failing" in caplog.text)
        own_postgres.start()
        with own_postgres.connect() as connection:
            connection.execute(
                "CREATE OR REPLACE FUNCTION hoox.now_1() RETURNS timestamptz LANGUAGE sql VOLATILE "
                "AS $$ SELECT clock_timestamp() + interval '30 s' $$"
            )
            alive = (
                "SELECT count(*) FROM hoox.members WHERE expires_at > extract(epoch FROM hoox.now_1()) * 1e6"
            )

            async def both_are_back() -> bool:
                return bool(connection.execute(alive).fetchone()[0] == 2)

            await until(both_are_back)
        for store in (a, b):
            member = store._require_member()
            await member._sweep()
        assert await states(a, "of a", "of b") == ["sending", "sending"]
        for store, key in ((a, "of a"), (b, "of b")):
            ref = LookRef("avtr_1", f"look {key}")
            accepted = Accept(ref, planned(key).planned_at, Evidence.ANSWER, f"att {key}")
            assert (await store.advance(key, accepted)).state is IntentState.ACCEPTED


async def test_a_long_foreign_transaction_hides_no_change(postgres: Server, postgres_schema: str) -> None:
    """Changes are read though an older transaction is open; its own change is read once it commits.

    Its number is lower than those of changes that were read before: a reader that asks for higher numbers
    than the last would never see it.
    """
    async with opened(postgres.url, postgres_schema) as a, opened(postgres.url, postgres_schema) as b:
        heard: list[str] = []
        b.on_changed_elsewhere(lambda intent: heard.append(intent.key))
        await a.plan(planned("early"))
        with postgres.connect() as slow:
            slow.execute("BEGIN")
            slow.execute(
                f"UPDATE {postgres_schema}.intents SET version = version + 1, changed_by = 'someone', "
                "changed_in = pg_current_xact_id() WHERE key = 'early'"
            )
            await a.plan(planned("late"))
            member = b._require_member()
            await until(lambda: "late" in heard)
            heard.clear()
            await member._feed.read()
            assert heard == []
            slow.execute("COMMIT")
            await until(lambda: "early" in heard)


async def test_fields_of_a_newer_release_survive(postgres: Server, postgres_schema: str) -> None:
    """A record with a field that this version does not know is read, advanced, and keeps the field."""
    async with opened(postgres.url, postgres_schema) as store:
        await store.plan(planned("a"))
        row = await row_of(store, "a")
        record = row.record.replace('{"v":1,', '{"v":1,"colour":"red",')
        with postgres.connect() as connection:
            connection.execute(
                f"UPDATE {postgres_schema}.intents SET record = %s, crc = %s",
                (record, zlib.crc32(record.encode())),
            )
        await store.advance("a", send("att_1"), accept("look_1"))
        row = await row_of(store, "a")
        assert json.loads(row.record)["colour"] == "red"


@pytest.mark.pgbouncer
async def test_it_works_behind_a_pooler(pgbouncer_url: str, postgres_schema: str) -> None:
    """Two processes behind PgBouncer in transaction mode: leases, changes and writes work as they are."""
    async with opened(pgbouncer_url, postgres_schema) as a, opened(pgbouncer_url, postgres_schema) as b:
        heard: list[str] = []
        b.on_changed_elsewhere(lambda intent: heard.append(intent.key))
        keys = [f"k{n}" for n in range(40)]
        await asyncio.gather(*(store.plan(planned(key)) for key in keys for store in (a, b)))
        sent = await asyncio.gather(
            *(store.advance(key, send(f"{key} {id(store)}")) for key in keys for store in (a, b)),
            return_exceptions=True,
        )
        assert sum(isinstance(end, IllegalTransition) for end in sent) == len(keys)
        await until(lambda: bool(heard))


FORKED = """
import asyncio, json, os, sys
from hoox_async.errors import HooxError
from hoox_async.postgres import PostgresDatabase
from store_kit import WORKSPACE, planned, send

url, schema = sys.argv[1:]

async def begin():
    await database.open()
    await store.open(WORKSPACE)
    await store.plan(planned("a"))

async def use():
    results = {}
    for name, call in {
        "get": lambda: store.get(["a"]),
        "advance": lambda: store.advance("a", send("att_1")),
        "open": lambda: database.workspace("other").open(WORKSPACE),
        "open database": database.open,
        "aclose": store.aclose,
        "close database": database.aclose,
    }.items():
        try:
            await call()
            results[name] = ""
        except HooxError as error:
            results[name] = f"{type(error).__name__}: {error}"
    return results

async def end():
    await store.advance("a", send("att_1"))
    await store.aclose()
    await database.aclose()

database = PostgresDatabase(url, schema=schema)
store = database.workspace("shop")
runner = asyncio.Runner()
runner.run(begin())
child = os.fork()
if child == 0:
    print(json.dumps(asyncio.run(use())), flush=True)
    os._exit(0)
os.waitpid(child, 0)
runner.run(end())
print("parent done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
async def test_a_forked_process_cannot_use_it(postgres: Server, postgres_schema: str) -> None:
    """In a forked child each use is a `ConfigurationError`, closing does nothing, and the parent goes on."""
    with child(FORKED, postgres.url, postgres_schema) as process:
        told, parent = await lines(process, 2)
    results: dict[str, Any] = json.loads(told)
    for name in ("get", "advance", "open", "open database"):
        assert results[name].startswith("ConfigurationError: PostgreSQL database 'postgres'")
        assert "forked" in results[name]
    assert (results["aclose"], results["close database"], parent) == ("", "", "parent done")


@pytest.mark.slow
def test_the_package_does_not_load_psycopg() -> None:
    """`import hoox_async` and a store in a file load no psycopg."""
    program = (
        "import sys, hoox_async; hoox_async.HooxSession('k', store='a.db'); print('psycopg' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
