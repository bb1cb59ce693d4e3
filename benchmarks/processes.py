"""Many processes on one PostgreSQL, with real kills and deploys.

    python benchmarks/processes.py workers    # the README's web app: 200 orders, workers killed, 20 deploys
    python benchmarks/processes.py production # the shop of examples/production: 10,000 orders, kills
    python benchmarks/processes.py idle       # 1,000 workspaces open in each of 4 processes
    python benchmarks/processes.py idle --workspaces 300 --processes 8
    python benchmarks/processes.py safety     # never more than the quota, with 1, 4, 8 and 40 processes
    python benchmarks/processes.py makespan   # 240 edits over 1, 4 and 8 processes, at the API's own pace
    python benchmarks/processes.py permits    # one permit of the shared quota, alone and under eight
    python benchmarks/processes.py poller     # until another process polls, and a waiter elsewhere is awake
    python benchmarks/processes.py visitor    # a single order beside a campaign in another process
    python benchmarks/processes.py news       # whose hooks are told of a look: four workers, a load balancer
    python benchmarks/processes.py news --kill-every 2
    python benchmarks/processes.py stranger   # four processes beside another client of the workspace
    python benchmarks/processes.py stranger --forms bare-429 together # in these forms of the quota

``idle``: each process opens that many workspaces by one `PostgresDatabase`, a session each, and does nothing
for a while. Statements are the server's own count of transactions, since each statement is one; memory is the
growth of the process's resident set by the sessions, after forty others were opened.

It starts a server of its own from the wheel of the extra ``dev``, with ``--pgbouncer`` behind a PgBouncer in
transaction mode; ``--url`` takes another, empty database.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
from functools import partial
from pathlib import Path

import _fleet
import _idle_processes
import _many_processes
import _production
import _web_workers
from _postgres import PGBOUNCER, database


async def workers(options: argparse.Namespace) -> bool:
    """The README's web app: orders while workers are killed, then orders while new versions are deployed."""
    good = True
    for kills, deploys in ((options.kills, 0), (0, options.deploys)):
        with database(options.url) as url, tempfile.TemporaryDirectory() as folder:
            async with _web_workers.world(url, Path(folder), seed=options.seed) as shop:
                pause = 0.15 if kills else max(0.15, deploys * 4 / options.orders)
                result = await _web_workers.run(
                    shop, orders=options.orders, kills=kills, deploys=deploys, pause=pause
                )
        print(result)
        good &= not result.charged_twice and not result.unanswered and (kills > 0 or not result.refused)
    return good


async def idle(options: argparse.Namespace) -> bool:
    """Open workspaces that do nothing, and show what they cost beside what is allowed."""
    with database(options.url) as url:
        result = _idle_processes.measure(
            url,
            "hoox",
            processes=options.processes,
            workspaces=options.workspaces,
            seconds=options.seconds,
        )
    print(_idle_processes.table_of(result))
    return True


async def safety(options: argparse.Namespace) -> bool:
    """The shared quota, counted by the sandbox, in each of the chosen forms."""
    with database(options.url) as url:
        held = [
            await _many_processes.safety(
                url, counts=options.processes, edits=options.edits, window=options.window, form=form
            )
            for form in options.forms
        ]
    return all(held)


async def makespan(options: argparse.Namespace) -> bool:
    """A campaign over some processes, beside the same over one."""
    with database(options.url) as url:
        return await _many_processes.makespan(url, counts=options.processes, edits=options.edits)


async def permits(options: argparse.Namespace) -> bool:
    """What a permit costs."""
    with database(options.url) as url:
        return await _many_processes.permits(url, times=options.times, processes=options.processes)


async def poller(options: argparse.Namespace) -> bool:
    """How soon processes hear of each other."""
    with database(options.url) as url:
        is_replaced = await _many_processes.poller(url, rounds=options.rounds, lease=options.lease)
        return await _many_processes.settled(url, looks=options.looks) and is_replaced


async def news(options: argparse.Namespace) -> bool:
    """Four workers behind a load balancer, and which of their hooks are told of a look's end."""
    with database(options.url) as url:
        return await _fleet.news(
            url, looks=options.looks, kill_every=options.kill_every, lost=options.lost, lease=options.lease
        )


async def visitor(options: argparse.Namespace) -> bool:
    """Single orders beside a campaign."""
    with database(options.url) as url:
        return await _many_processes.visitor(url, orders=options.orders, edits=options.edits)


async def stranger(options: argparse.Namespace) -> bool:
    """A campaign beside a client that the processes know nothing of, in each of the chosen forms."""
    with database(options.url) as url:
        held = [
            await _many_processes.stranger(
                url,
                processes=options.processes,
                strangers=options.strangers,
                target=options.target,
                minutes=options.minutes,
                window=options.window,
                quota=options.quota,
                form=form,
            )
            for form in options.forms
        ]
    return all(held)


async def production(options: argparse.Namespace) -> bool:
    """The shop of examples/production: orders while a worker is killed every few seconds."""
    with database(options.url) as url, tempfile.TemporaryDirectory() as folder:
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
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in used)
    print(f"stopped within {max(stopped):.1f} s; {result.rate:.0f} orders a minute came to an end")
    print(f"{1000 * cpu / options.orders:.0f} ms of CPU for an order, without PostgreSQL's")
    return not result.charged_twice and not result.lost and not result.unsettled


def main() -> int:
    """Run what the command line asks for. 0: every claim held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    where = shared.add_mutually_exclusive_group()
    where.add_argument("--url", help="an empty database")
    where.add_argument(
        "--pgbouncer", dest="url", action="store_const", const=PGBOUNCER, help="a new one behind a PgBouncer"
    )
    quota_forms = argparse.ArgumentParser(add_help=False)
    quota_forms.add_argument(
        "--forms", nargs="+", choices=list(_many_processes.QUOTA_FORMS), default=["no-headers"],
        help="in which forms the sandbox counts and names its quota, one run each", metavar="FORM",
    )  # fmt: skip
    programs = parser.add_subparsers(required=True, dest="program")
    add = partial(programs.add_parser, parents=[shared])
    program = add("workers", help="the README's web app under uvicorn --workers 4")
    program.add_argument("--orders", type=int, default=200)
    program.add_argument("--kills", type=int, default=10)
    program.add_argument("--deploys", type=int, default=20)
    program.add_argument("--seed", type=int, default=0)
    program.set_defaults(run=workers)
    program = add("idle", help="workspaces that are open and do nothing")
    program.add_argument("--workspaces", type=int, default=1000)
    program.add_argument("--processes", type=int, default=4)
    program.add_argument("--seconds", type=float, default=10.0, help="how long statements are counted")
    program.set_defaults(run=idle)
    program = programs.add_parser("safety", parents=[shared, quota_forms], help="never more than the quota")
    program.add_argument("--processes", type=int, nargs="+", default=[1, 4, 8, 40])
    program.add_argument("--edits", type=int, default=400)
    program.add_argument("--window", type=float, default=6.0, help="seconds of a minute")
    program.set_defaults(run=safety)
    program = add("makespan", help="a campaign over several processes beside one")
    program.add_argument("--processes", type=int, nargs="+", default=[1, 4, 8], help="the first is the base")
    program.add_argument("--edits", type=int, default=240)
    program.set_defaults(run=makespan)
    program = add("permits", help="what a permit costs")
    program.add_argument("--processes", type=int, default=8)
    program.add_argument("--times", type=int, default=2000)
    program.set_defaults(run=permits)
    program = add("poller", help="how soon processes hear of each other")
    program.add_argument("--rounds", type=int, default=3)
    program.add_argument("--lease", type=float, default=10.0)
    program.add_argument("--looks", type=int, default=50)
    program.set_defaults(run=poller)
    program = add("news", help="whose hooks are told of a look, behind a load balancer")
    program.add_argument("--looks", type=int, default=200)
    program.add_argument("--kill-every", type=float, help="seconds between two SIGKILLs, 20 at most")
    program.add_argument("--lost", type=float, default=0.1, help="share of the deliveries that never come")
    program.add_argument("--lease", type=float, default=1.0, help="seconds (the default of a database is 10)")
    program.set_defaults(run=news)
    program = add("visitor", help="a single order beside a campaign")
    program.add_argument("--orders", type=int, default=50)
    program.add_argument("--edits", type=int, default=600)
    program.set_defaults(run=visitor)
    program = programs.add_parser(
        "stranger", parents=[shared, quota_forms], help="beside another client of the workspace"
    )
    program.add_argument("--processes", type=int, default=4)
    program.add_argument("--strangers", type=int, default=30, help="requests a minute of the other client")
    program.add_argument("--target", type=float, default=60.0, help="requests a minute of ours, at least")
    program.add_argument("--minutes", type=int, default=6, help="the first is not counted")
    program.add_argument("--window", type=float, default=60.0, help="seconds of a minute")
    program.add_argument("--quota", choices=["sliding", "fixed"], default="sliding")
    program.set_defaults(run=stranger)
    program = add("production", help="the shop of examples/production, its workers killed")
    program.add_argument("--orders", type=int, default=10_000)
    program.add_argument("--workers", type=int, default=3)
    program.add_argument("--kill-every", type=float, default=20.0, help="seconds")
    program.add_argument("--requests-per-minute", type=int, default=1200, help="on both sides")
    program.add_argument("--speed", type=float, default=12.0, help="of the sandbox")
    program.add_argument("--lease", type=float, default=10.0, help="seconds")
    program.add_argument(
        "--patience", type=float, default=1800.0, help="seconds after the last order was posted"
    )
    program.add_argument("--logs", help="a folder to keep the processes' logs in")
    program.add_argument("--seed", type=int, default=0)
    program.set_defaults(run=production)
    options = parser.parse_args()
    return 0 if asyncio.run(options.run(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
