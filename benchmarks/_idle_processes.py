"""Processes that open many workspaces of one PostgreSQL, and do nothing: what that costs.

As a program it is one such process, which `measure` starts.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from _shared import progress, table

from hoox_async import HooxSession
from hoox_async.postgres import PostgresDatabase

AT_ONCE = 20
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Idle(NamedTuple):
    """The result of `measure`. Times are in seconds, memory in bytes."""

    processes: int
    workspaces: int
    opened_in: float
    statements_a_second: float
    connections_a_process: float
    bytes_a_session: float


async def hold_open(url: str, schema: str, workspaces: int) -> None:
    """The program of one process: open the workspaces, say so, and wait until its stdin is closed."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(PostgresDatabase(url, schema=schema))
        gate = asyncio.Semaphore(AT_ONCE)

        async def open_one(name: str) -> None:
            async with gate:
                await stack.enter_async_context(session(database, name))

        await asyncio.gather(*(open_one(f"warm-up {number}") for number in range(2 * AT_ONCE)))
        before, began = resident(), time.monotonic()
        await asyncio.gather(*(open_one(f"workspace {number}") for number in range(workspaces)))
        grown, seconds = resident() - before, time.monotonic() - began
        print(json.dumps([grown / workspaces, seconds]), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def session(database: PostgresDatabase, workspace: str) -> HooxSession:
    """A session that sends nothing: its API is not there."""
    store = database.workspace(workspace)
    return HooxSession("hx_live_benchmark", base_url="http://127.0.0.1:1", store=store, poll="awaited")


def resident() -> int:
    """The resident set of this process, in bytes."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    except OSError:  # no Linux: the highest so far
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(url: str, schema: str, *, processes: int, workspaces: int, seconds: float) -> Idle:
    """Start the processes one after the other, let them idle, and read the server's counts."""
    import psycopg

    separator = "&" if "?" in url else "?"
    names = [f"hoox-bench-{number}" for number in range(processes)]
    told: list[tuple[float, float]] = []
    with ExitStack() as children:  # at its end their stdin is closed, and they end
        for name in names:
            progress(f"opening {workspaces} workspaces in {name}")
            arguments = (f"{url}{separator}application_name={name}", schema, str(workspaces))
            child = subprocess.Popen(
                [sys.executable, __file__, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            told.append(tuple(json.loads(_line_of(children.enter_context(child)))))
        with psycopg.connect(url, autocommit=True) as connection:
            progress("counting statements")
            # what follows an opening is done by then; an idle backend reports its transactions within 10 s
            time.sleep(12.0)
            before, began = statements(connection), time.monotonic()
            time.sleep(seconds)
            rate = (statements(connection) - before) / (time.monotonic() - began)
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = ANY(%s)", (names,)
            ).fetchone()
    progress("")
    return Idle(
        processes,
        workspaces,
        max(seconds for _, seconds in told),
        rate,
        (found[0] if found else 0) / processes,
        max(grown for grown, _ in told),
    )


def _line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise SystemExit("a process ended before it had opened its workspaces")
    return line


def statements(connection: Any) -> int:
    """How many transactions the server has ended in this database, but for this connection's own."""
    connection.execute("SELECT pg_stat_clear_snapshot()")
    row = connection.execute(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    return int(row[0])


def table_of(result: Idle) -> str:
    """The result beside what it is allowed to be."""
    return table(
        f"{result.workspaces:,} workspaces, open and idle, in each of {result.processes} processes",
        ("", "measured", "at most"),
        [
            ("statements a second, of all processes", result.statements_a_second, 5.0 * result.processes),
            ("connections a process", result.connections_a_process, 6),
            ("KB a session", result.bytes_a_session / 1024, 150),
            ("seconds to open them, of the slowest process", result.opened_in, None),
        ],
    )


if __name__ == "__main__":
    asyncio.run(hold_open(sys.argv[1], sys.argv[2], int(sys.argv[3])))
