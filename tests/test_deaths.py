"""Every kind of death, on a real PostgreSQL, a real server of the API, real processes and real signals.

The table in the docstring of ``hoox_async/_io/ledger/__init__.py`` has a line for each. See
tests/stores/test_postgres_failover.py for failovers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from internals_kit import SharedLedger, runtime_of
from postgres_kit import Proxy, Server

from hoox_async import HooxSession, LookEdit, LookJob, LookRef, Timeouts
from hoox_async.errors import HooxError, OutcomeUnknown, StoreError
from hoox_async.postgres import PostgresDatabase
from hoox_async.sandbox import Fault, Sandbox

pytestmark = pytest.mark.slow

LEASE = 1.0
PROCESSES = int(os.environ.get("HOOX_TEST_PROCESSES", "4"))  # the number is 40
SOURCE = LookRef("avtr_public_ada", "look_public_ada")

# A process that submits one order, and kills itself before or after the write of one state.
CHILD = """
import asyncio, os, signal, sys
from hoox_async import HooxSession, LookEdit, LookRef
from hoox_async._io.ledger import postgres
from hoox_async.postgres import PostgresDatabase

url, schema, base_url, api_key, step, source = sys.argv[1:]
execute = postgres.execute_message

def die(moment):
    if step == moment:
        os.kill(os.getpid(), signal.SIGKILL)

async def dying(connection, statements):
    state = next((values["state"] for _, values in statements if "state" in values), "")
    die(f"before {state}")
    rows = await execute(connection, statements)
    die(f"after {state}")
    return rows

async def main():
    async with PostgresDatabase(url, schema=schema, lease=1.0) as database:
        async with HooxSession(api_key, base_url=base_url, store=database.workspace("shop")) as session:
            print("open", flush=True)
            await session.submit(LookEdit(LookRef.parse(source), "order"), key="order")
            print("accepted", flush=True)
            await asyncio.Event().wait()

postgres.execute_message = dying
asyncio.run(main())
"""


def order(key: str) -> LookEdit:
    return LookEdit(SOURCE, key)


@asynccontextmanager
async def opened(
    sandbox: Sandbox, url: str, schema: str = "hoox", **options: Any
) -> AsyncIterator[HooxSession]:
    """A session of a process of its own, as far as the database can tell."""
    async with (
        PostgresDatabase(url, schema=schema, lease=LEASE, **options) as database,
        sandbox.session(store=database.workspace("shop"), timeouts=Timeouts(answer=20.0)) as session,
    ):
        yield session


def child(sandbox: Sandbox, url: str, schema: str, step: str = "") -> subprocess.Popen[str]:
    """Start a process that submits the order."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, url, schema, sandbox.base_url, sandbox.api_key, step, str(SOURCE)],
        stdout=subprocess.PIPE,
        text=True,
    )


async def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """The next lines that it prints; empty ones after its end."""
    assert process.stdout is not None
    return [(await asyncio.to_thread(process.stdout.readline)).strip() for _ in range(count)]


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until it is so; a minute at most."""
    async with asyncio.timeout(60):
        while True:
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await asyncio.sleep(0.02)


async def state_of(session: HooxSession, key: str = "order") -> str:
    found = await store_of(session).get([key])
    return str(found[key].state) if key in found else ""


def store_of(session: HooxSession) -> SharedLedger:
    store = runtime_of(session).store
    assert isinstance(store, SharedLedger)
    return store


def charged(sandbox: Sandbox) -> Counter[str]:
    """How often each order was charged."""
    return Counter(str(charge.request["prompt"]) for charge in sandbox.ledger)


async def ordered(session: HooxSession, key: str = "order") -> LookJob | None:
    """Submit the order as the survivor does; None where nobody knows whether it was paid."""
    try:
        return await session.submit(order(key), key=key)
    except OutcomeUnknown:
        return None


@pytest.mark.parametrize(
    ("step", "state", "charges_before", "charges_after"),
    [
        ("before sending", "planned", 0, 1),
        ("after sending", "unknown", 0, 0),
        ("POST outstanding", "unknown", 1, 1),
        ("before accepted", "unknown", 1, 1),
        ("after accepted", "ready", 1, 1),
    ],
)
async def test_a_process_is_killed_at_a_step_of_a_paid_post(
    postgres: Server, postgres_schema: str, step: str, state: str, charges_before: int, charges_after: int
) -> None:
    """SIGKILL before SENDING, after its commit, with the POST outstanding, answered, and accepted.

    Another process gets the order: it pays where nothing was sent, gets the look where that is known, and
    is told that the outcome is unknown otherwise. Nobody pays twice.
    """
    with Sandbox() as sandbox:
        async with opened(sandbox, postgres.url, postgres_schema) as survivor:
            if step == "POST outstanding":
                sandbox.fail_next("edit", Fault.HANG)
            with child(sandbox, postgres.url, postgres_schema, step) as process:
                assert await lines(process, 1) == ["open"]
                if step == "POST outstanding":
                    await until(lambda: charged(sandbox)["order"] == 1)
                    process.kill()
                assert await asyncio.to_thread(process.wait) == -signal.SIGKILL
            assert charged(sandbox)["order"] == charges_before
            job = await ordered(survivor)
            if state == "planned":
                assert job is not None
            elif state == "unknown":
                assert job is None
                assert await state_of(survivor) == "unknown"
            else:
                assert job is not None
                assert (await job.wait()).ref == sandbox.ledger[0].ref
            assert charged(sandbox)["order"] == charges_after


async def test_a_process_that_is_stopped_with_its_post_outstanding_goes_on(
    postgres: Server, postgres_schema: str
) -> None:
    """SIGSTOP for longer than the lease, SIGCONT: unknown to others meanwhile, and then its answer counts."""
    with Sandbox() as sandbox:
        async with opened(sandbox, postgres.url, postgres_schema) as other:
            sandbox.fail_next("edit", Fault.late(3.0))  # it must be stopped before
            with child(sandbox, postgres.url, postgres_schema) as process:
                assert await lines(process, 1) == ["open"]
                await until(lambda: charged(sandbox)["order"] == 1)
                process.send_signal(signal.SIGSTOP)
                assert await ordered(other) is None
                process.send_signal(signal.SIGCONT)
                assert await lines(process, 1) == ["accepted"]
                process.kill()
            job = await ordered(other)
            assert job is not None
            assert job.ref == sandbox.ledger[0].ref
            assert charged(sandbox)["order"] == 1


async def submit_all(session: HooxSession, count: int) -> None:
    """Submit orders again and again until each is accepted or unknown."""

    async def one(key: str) -> None:
        while True:
            try:
                await session.submit(order(key), key=key)
            except OutcomeUnknown:
                return
            except HooxError:
                await asyncio.sleep(0.05)
            else:
                return

    await asyncio.gather(*(one(f"order {number}") for number in range(count)))


async def check_books(session: HooxSession, sandbox: Sandbox, count: int) -> None:
    """Each order was charged once, and has its look, or is unknown."""
    found = await store_of(session).get([f"order {number}" for number in range(count)])
    looks = {str(charge.request["prompt"]): charge.ref for charge in sandbox.ledger}
    assert set(charged(sandbox).values()) <= {1}
    assert len(found) == count
    for key, intent in found.items():
        if intent.state.in_doubt:
            continue
        assert intent.ref == looks[key]


async def test_connections_that_are_cut_lose_and_repeat_nothing(
    postgres: Server, postgres_schema: str
) -> None:
    """All connections of one of two processes are reset again and again while both submit the same orders."""
    with Sandbox(latency=0.02) as sandbox:
        async with (
            Proxy(postgres.socket) as proxy,
            opened(sandbox, proxy.url, postgres_schema) as cut,
            opened(sandbox, postgres.url, postgres_schema) as other,
        ):
            work = asyncio.gather(submit_all(cut, 20), submit_all(other, 20))
            while not work.done():
                await asyncio.wait([work], timeout=0.1)
                proxy.cut()
            await work
            await check_books(other, sandbox, 20)


async def test_three_leases_without_the_database_lose_and_repeat_nothing(
    postgres: Server, postgres_schema: str
) -> None:
    """Two processes lose the database with a POST outstanding each, and have it again after three leases.

    Those are thirty seconds by default, and three here. Meanwhile nothing is sent. The answers come during
    the outage, and are written once the database is back: nothing becomes unknown, and nothing is paid twice.
    """
    with Sandbox() as sandbox:
        async with (
            Proxy(postgres.socket) as proxy,
            opened(sandbox, proxy.url, postgres_schema) as one,
            opened(sandbox, proxy.url, postgres_schema) as two,
        ):
            sessions = {"order 0": one, "order 1": two}
            for _ in sessions:
                sandbox.fail_next("edit", Fault.late(0.5))
            outstanding = [
                asyncio.create_task(session.submit(order(key), key=key)) for key, session in sessions.items()
            ]
            await until(lambda: len(sandbox.ledger) == 2)
            proxy.refuse = True
            proxy.cut()
            ends_at = asyncio.get_running_loop().time() + 3 * LEASE
            await asyncio.gather(*outstanding, return_exceptions=True)
            for session in sessions.values():
                with pytest.raises(StoreError, match="the connection failed") as caught:
                    await session.submit(order("meanwhile"), key="meanwhile")
                assert caught.value.charged == "no"
            await asyncio.sleep(ends_at - asyncio.get_running_loop().time())
            assert len(sandbox.ledger) == 2
            proxy.refuse = False

            async def are_written() -> bool:
                with suppress(StoreError):
                    return {await state_of(one, key) for key in sessions} == {"ready"}
                return False

            await until(are_written)
            for session in sessions.values():
                for key in (*sessions, "meanwhile"):
                    await session.submit(order(key), key=key)
            assert await one.unknowns() == []
            assert charged(sandbox) == {"order 0": 1, "order 1": 1, "meanwhile": 1}


async def test_a_poller_that_is_cut_off_is_replaced(postgres: Server, postgres_schema: str) -> None:
    """Nothing passes any more between the process that polls and the database, and no connection ends.

    Another process polls once the lease is over, and settles the look of the one that is cut off. Connected
    again, that one hears of it, and does not poll besides.
    """
    with Sandbox() as sandbox:
        sandbox.hold()
        async with Proxy(postgres.socket) as proxy, opened(sandbox, proxy.url, postgres_schema) as cut:
            job = await cut.submit(order("order"), key="order")
            await until(lambda: polls(cut))
            async with opened(sandbox, postgres.url, postgres_schema) as other:
                proxy.hold()
                await until(lambda: polls(other))
                sandbox.settle(job.ref, "ready")
                assert (await other.wait(job.ref)).ref == job.ref
                proxy.release()
                assert (await job.wait()).ref == job.ref

                async def is_over() -> bool:
                    return not await polls(cut)

                await until(is_over)
                assert await polls(other)


async def polls(session: HooxSession) -> bool:
    """Whether this process is the one that polls for all."""
    return (await session.health()).polls_for_all


async def test_a_server_that_crashes_loses_and_repeats_nothing(own_postgres: Server) -> None:
    """The server is restarted (``immediate``) twice while two processes submit the same orders."""
    with Sandbox(latency=0.02) as sandbox:
        async with opened(sandbox, own_postgres.url) as one, opened(sandbox, own_postgres.url) as two:
            work = asyncio.gather(submit_all(one, 20), submit_all(two, 20))
            for _ in range(2):
                await asyncio.sleep(0.1)
                await asyncio.to_thread(own_postgres.restart)
            await work
            await check_books(one, sandbox, 20)


async def test_with_one_connection_for_all_statements_the_lease_is_kept(
    postgres: Server, postgres_schema: str
) -> None:
    """The pool is exhausted: statements wait for each other, and the lease has a connection of its own."""
    with Sandbox() as sandbox:
        async with opened(sandbox, postgres.url, postgres_schema, max_connections=2) as session:
            general = store_of(session)._database._connections[0]
            hog = asyncio.create_task(general.fetch("SELECT pg_sleep(2.5)"))
            await asyncio.sleep(0)
            work = asyncio.create_task(submit_all(session, 20))
            await hog
            await work
            with postgres.connect() as connection:
                row = connection.execute(
                    f"SELECT count(*) FROM {postgres_schema}.members "
                    "WHERE steady_since < extract(epoch FROM now() - interval '2 s') * 1000000"
                ).fetchone()
            assert row[0] == 1
            await check_books(session, sandbox, 20)
            assert len(charged(sandbox)) == 20


async def test_a_full_disk_stops_sending_and_loses_no_answer(postgres: Server, postgres_schema: str) -> None:
    """While the server has no space left, nothing is sent; the answer of an outstanding POST is kept.

    The disk is not really full: a trigger raises the error that the server raises then (SQLSTATE 53100).
    """
    fill = (
        f"CREATE FUNCTION {postgres_schema}.fail() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'No space left on device'; END $$; "
        f"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {postgres_schema}.intents "
        f"EXECUTE FUNCTION {postgres_schema}.fail()"
    )
    with Sandbox() as sandbox:
        async with opened(sandbox, postgres.url, postgres_schema) as session:
            sandbox.fail_next("edit", Fault.late(0.5))
            submitting = asyncio.create_task(session.submit(order("order"), key="order"))
            await until(lambda: charged(sandbox)["order"] == 1)
            with postgres.connect() as connection:
                connection.execute(fill)
                with pytest.raises(StoreError, match="its disk is full"):
                    await session.submit(order("another"), key="another")
                ended = (await asyncio.gather(submitting, return_exceptions=True))[0]
                assert isinstance(ended, LookJob | HooxError)
                connection.execute(f"DROP FUNCTION {postgres_schema}.fail CASCADE")

            async def is_written() -> bool:
                return await state_of(session) in ("accepted", "ready")

            await until(is_written)
            job = await session.submit(order("order"), key="order")
            assert job.ref == sandbox.ledger[0].ref
            assert dict(charged(sandbox)) == {"order": 1}


async def test_many_processes_start_at_once(postgres: Server, postgres_schema: str) -> None:
    """All of them find no tables, and want to send the same order: it is paid once, and each has its look."""
    with Sandbox() as sandbox:
        async with AsyncExitStack() as stack:
            started = [child(sandbox, postgres.url, postgres_schema) for _ in range(PROCESSES)]
            for process in started:
                stack.enter_context(process)
                stack.callback(process.kill)
            told = await asyncio.gather(*(lines(process, 2) for process in started))
            assert told == [["open", "accepted"]] * PROCESSES
        assert dict(charged(sandbox)) == {"order": 1}
