"""What many processes on one PostgreSQL cost, and what they do while processes are killed and replaced.

    python benchmarks/processes.py idle                             # 1,000 workspaces in each of 4 processes
    python benchmarks/processes.py idle --workspaces 300 --processes 8
    python benchmarks/processes.py idle --url postgresql://…/bench  # on a server of your own
    python benchmarks/processes.py production # the shop of examples/production: 10,000 orders, kills
    python benchmarks/processes.py workers    # the README's web app: 200 orders, workers killed, 20 deploys

``idle``: each process opens that many workspaces by one `PostgresDatabase`, a session each, and does nothing
for a while. Statements are the server's own count of transactions, since each statement is one; memory is the
growth of the process's resident set by the sessions, after forty others were opened.

``workers`` starts a server of its own for each part; there ``--url`` takes an empty database.

Without ``--url`` a throwaway server is started, from the wheel that the extra ``dev`` installs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import _production
import _web_workers
from _shared import progress, table

from hoox_async import HooxSession
from hoox_async.postgres import PostgresDatabase

AT_ONCE = 20
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Idle(NamedTuple):
    """The result of ``idle``. Times are in seconds, memory in bytes."""

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


def measure_idle(url: str, schema: str, *, processes: int, workspaces: int, seconds: float) -> Idle:
    """Start the processes one after the other, let them idle, and read the server's counts."""
    import psycopg

    separator = "&" if "?" in url else "?"
    names = [f"hoox-bench-{number}" for number in range(processes)]
    children: list[subprocess.Popen[str]] = []
    told: list[tuple[float, float]] = []
    try:
        for name in names:
            progress(f"opening {workspaces} workspaces in {name}")
            arguments = ("--child", f"{url}{separator}application_name={name}", schema, str(workspaces))
            children.append(
                subprocess.Popen(
                    [sys.executable, __file__, "idle", *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            told.append(tuple(json.loads(_line_of(children[-1]))))
        with psycopg.connect(url, autocommit=True) as connection:
            progress("counting statements")
            settle(connection)
            before, began = statements(connection), time.monotonic()
            time.sleep(seconds)
            rate = (statements(connection) - before) / (time.monotonic() - began)
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = ANY(%s)", (names,)
            ).fetchone()
    finally:
        for child in children:
            assert child.stdin is not None
            child.stdin.close()
        for child in children:
            child.wait()
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


def settle(connection: Any) -> None:
    """Wait until the backends have reported the transactions of the opening."""
    time.sleep(2.0)
    statements(connection)


def statements(connection: Any) -> int:
    """How many transactions the server has ended in this database, but for this connection's own."""
    connection.execute("SELECT pg_stat_clear_snapshot()")
    row = connection.execute(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    return int(row[0])


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The URL of the server to measure on: the user's, or a throwaway one."""
    if url is not None:
        yield url
        return
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    kit = import_module("postgres_kit")
    with kit.TestRun.owned() as run:
        yield run.shared_server().url


@contextmanager
def empty_database(url: str | None) -> Iterator[str]:
    """The URL of an empty database: the user's, or one of a throwaway server."""
    if url is not None:
        yield url
        return
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    kit = import_module("postgres_kit")
    with kit.TestRun.owned() as run, run.shared_server().database() as made:
        yield made


async def workers(options: argparse.Namespace) -> bool:
    """The README's web app: orders while workers are killed, then orders while new versions are deployed."""
    good = True
    for kills, deploys in ((options.kills, 0), (0, options.deploys)):
        with empty_database(options.url) as url, tempfile.TemporaryDirectory() as folder:
            async with _web_workers.world(url, Path(folder), seed=options.seed) as shop:
                pause = 0.15 if kills else max(0.15, deploys * 4 / options.orders)
                result = await _web_workers.run(
                    shop, orders=options.orders, kills=kills, deploys=deploys, pause=pause
                )
        print(result)
        good &= not result.charged_twice and not result.unanswered and (kills > 0 or not result.refused)
    return good


async def production(options: argparse.Namespace) -> bool:
    """The shop of examples/production: orders while a worker is killed every few seconds."""
    with empty_database(options.url) as url, tempfile.TemporaryDirectory() as folder:
        shop = _production.world(
            url,
            Path(options.logs or folder),
            workers=options.workers,
            requests_per_minute=options.requests_per_minute,
            speed=options.speed,
            lease=options.lease,
            seed=options.seed,
        )
        async with shop as made:
            result = await _production.run(
                made, orders=options.orders, kill_every=options.kill_every, patience=options.patience
            )
            stopped = [await process.stop() for process in made.processes]
    print(result)
    print(f"stopped within {max(stopped):.1f} s; at a rate of {result.rate:.0f} orders a minute")
    return not result.charged_twice and not result.lost and not result.unsettled


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    idle = parts.add_parser("idle")
    idle.add_argument("--url")
    idle.add_argument("--workspaces", type=int, default=1000)
    idle.add_argument("--processes", type=int, default=4)
    idle.add_argument("--seconds", type=float, default=10.0)
    idle.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    web = parts.add_parser("workers", help="the README's web app under uvicorn --workers 4")
    web.add_argument("--orders", type=int, default=200)
    web.add_argument("--kills", type=int, default=10)
    web.add_argument("--deploys", type=int, default=20)
    web.add_argument("--seed", type=int, default=0)
    web.add_argument("--url", help="an empty database")
    shop = parts.add_parser("production", help="the shop of examples/production, its workers killed")
    shop.add_argument("--orders", type=int, default=10_000)
    shop.add_argument("--workers", type=int, default=3)
    shop.add_argument("--kill-every", type=float, default=20.0, help="seconds")
    shop.add_argument("--requests-per-minute", type=int, default=1200, help="on both sides")
    shop.add_argument("--speed", type=float, default=12.0, help="of the sandbox")
    shop.add_argument("--lease", type=float, default=10.0, help="seconds")
    shop.add_argument("--patience", type=float, default=1800.0, help="seconds to wait after the last order")
    shop.add_argument("--logs", help="a folder to keep the processes' logs in")
    shop.add_argument("--seed", type=int, default=0)
    shop.add_argument("--url", help="an empty database")
    options = parser.parse_args(arguments)
    if options.part == "production":
        return 0 if asyncio.run(production(options)) else 1
    if options.part == "workers":
        return 0 if asyncio.run(workers(options)) else 1
    if options.child:
        url, schema, workspaces = options.child
        asyncio.run(hold_open(url, schema, int(workspaces)))
        return 0
    with server(options.url) as url:
        result = measure_idle(
            url,
            "hoox_bench",
            processes=options.processes,
            workspaces=options.workspaces,
            seconds=options.seconds,
        )
    print(
        table(
            f"{result.workspaces:,} workspaces, open and idle, in each of {result.processes} processes",
            ("", "measured", "at most"),
            [
                ("statements a second, of all processes", result.statements_a_second, 5.0 * result.processes),
                ("connections a process", result.connections_a_process, 6),
                ("KB a session", result.bytes_a_session / 1024, 150),
                ("seconds to open them, of the slowest process", result.opened_in, None),
            ],
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
