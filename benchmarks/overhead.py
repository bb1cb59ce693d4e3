"""CPU a call and calls a second of ``status()`` and ``submit()``, beside the same calls made otherwise.

The others are the calls written by hand on aiohttp (for ``submit`` with a fresh connection for each
POST, as this library sends them, and with pooled ones) and the vendor's own httpx client. The server
is another process that answers at once, so what differs is the client. Runs are interleaved, and
medians shown: the CPU is this process's own (user and system), all its threads. A ratio is the median
of the rounds' own, each against its round's call by hand: a processor changes its pace meanwhile.

    python benchmarks/overhead.py
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import aiohttp
import attrs
from _canned_server import LIMIT, canned_server
from _shared import median, progress, ratio, table, vendor_client, version

KEY = "hx_test_overhead"
PROMPT = "podcast scene, warm light"
Call = Callable[[], Awaitable[object]]


@attrs.frozen
class Seen:
    """The object that the calls by hand make of a response."""

    avatar_id: str
    look_id: str
    status: str


def _http(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {KEY}"}
    return aiohttp.ClientSession(connector=connector, headers=headers)


@asynccontextmanager
async def status_ours(url: str) -> AsyncIterator[Call]:
    """``session.status(ref)``."""
    from hoox_async import HooxSession, LookRef

    ref = LookRef("avtr_1", "look_1")
    async with HooxSession(KEY, base_url=url, requests_per_minute=LIMIT) as session:
        yield lambda: session.status(ref)


@asynccontextmanager
async def status_by_hand(url: str) -> AsyncIterator[Call]:
    """The request on a pooled aiohttp session, its status checked, its JSON made a small object."""
    async with _http(aiohttp.TCPConnector(limit=0)) as http:

        async def call() -> Seen:
            params = {"avatar_id": "avtr_1", "look_id": "look_1"}
            async with http.get(f"{url}/avatar/status", params=params) as answer:
                if answer.status != 200:
                    raise RuntimeError(await answer.text())
                body = await answer.json()
            return Seen(body["avatar_id"], body["look_id"], body["status"])

        yield call


@asynccontextmanager
async def status_vendor(url: str) -> AsyncIterator[Call]:
    """The vendor's ``get_avatar_status``: its JSON as a dict."""
    client = vendor_client()(KEY, url)
    try:
        yield lambda: client.get_avatar_status("avtr_1", "look_1")
    finally:
        await client.close()


@asynccontextmanager
async def submit_ours(url: str) -> AsyncIterator[Call]:
    """``session.submit(LookEdit(…))``, the memory store, the job dropped at once."""
    from hoox_async import HooxSession, LookEdit, LookRef

    ref = LookRef("avtr_1", "look_0")
    async with HooxSession(KEY, base_url=url, requests_per_minute=LIMIT) as session:
        yield lambda: session.submit(LookEdit(ref, PROMPT))


@asynccontextmanager
async def _submit_by_hand(url: str, connector: aiohttp.BaseConnector) -> AsyncIterator[Call]:
    body = {"avatar_id": "avtr_1", "look_id": "look_0", "prompt": PROMPT, "resolution": "2K"}
    async with _http(connector) as http:

        async def call() -> Seen:
            async with http.post(f"{url}/avatar/edit", json=body) as answer:
                if answer.status not in (200, 201):
                    raise RuntimeError(await answer.text())
                accepted = await answer.json()
            return Seen(accepted["avatar_id"], accepted["look_id"], "pending")

        yield call


def submit_fresh(url: str) -> AbstractAsyncContextManager[Call]:
    """The POST by hand, on a connection of its own."""
    return _submit_by_hand(url, aiohttp.TCPConnector(limit=0, force_close=True))


def submit_pooled(url: str) -> AbstractAsyncContextManager[Call]:
    """The POST by hand, on a pooled connection."""
    return _submit_by_hand(url, aiohttp.TCPConnector(limit=0))


@asynccontextmanager
async def submit_vendor(url: str) -> AsyncIterator[Call]:
    """The vendor's ``edit_avatar``: its JSON as a dict."""
    client = vendor_client()(KEY, url)
    try:
        yield lambda: client.edit_avatar(avatar_id="avtr_1", look_id="look_0", prompt=PROMPT, resolution="2K")
    finally:
        await client.close()


class Contender(NamedTuple):
    """One way to make a call. ``share`` of the calls of a run is enough where a call is slow."""

    name: str
    open: Callable[[str], AbstractAsyncContextManager[Call]]
    share: float = 1.0


STATUS = (
    Contender("hoox_async", status_ours),
    Contender("aiohttp by hand", status_by_hand),
    Contender("vendor's httpx client", status_vendor, 0.2),
)
SUBMIT = (
    Contender("hoox_async", submit_ours),
    Contender("aiohttp by hand, fresh connections", submit_fresh),
    Contender("aiohttp by hand, pooled", submit_pooled),
    Contender("vendor's httpx client", submit_vendor, 0.2),
)


class Run(NamedTuple):
    """One run's CPU seconds and wall seconds, both a call."""

    cpu: float
    wall: float


async def _work(call: Call, calls: int, in_flight: int) -> None:
    """Make so many calls, so many of them at a time."""
    left = itertools.repeat(None, calls)

    async def worker() -> None:
        for _ in left:
            await call()

    await asyncio.gather(*(worker() for _ in range(in_flight)))


async def run_once(contender: Contender, url: str, calls: int, in_flight: int) -> Run:
    """Open a client, warm it up, measure."""
    calls = max(int(calls * contender.share), 2 * in_flight)
    async with contender.open(url) as call:
        await _work(call, in_flight, in_flight)
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await _work(call, calls, in_flight)
        return Run((time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls)


def measure(contenders: tuple[Contender, ...], url: str, options: argparse.Namespace) -> list[list[object]]:
    """All runs of one kind of call, interleaved in random order; the rows of its table."""
    runs: dict[tuple[str, int], list[Run]] = {}
    for repeat in range(options.repeats):
        for in_flight in random.sample(options.in_flight, len(options.in_flight)):
            for contender in random.sample(contenders, len(contenders)):
                progress(f"run {repeat + 1} of {options.repeats}: {contender.name}, {in_flight} in flight")
                run = asyncio.run(run_once(contender, url, options.calls, in_flight))
                runs.setdefault((contender.name, in_flight), []).append(run)
    progress("")
    by_hand = contenders[1].name
    return [_row(name, by_hand, n, runs) for n in options.in_flight for name, *_ in contenders]


def _row(name: str, by_hand: str, in_flight: int, runs: dict[tuple[str, int], list[Run]]) -> list[object]:
    def cpu(of: str) -> float:
        return median(run.cpu for run in runs[of, in_flight])

    spread = sorted(run.cpu * 1e6 for run in runs[name, in_flight])
    paired = zip(runs[name, in_flight], runs[by_hand, in_flight], strict=True)
    return [
        name,
        in_flight,
        f"{cpu(name) * 1e6:,.0f}",
        f"{spread[0]:,.0f}-{spread[-1]:,.0f}",
        ratio(median(run.cpu / other.cpu for run, other in paired), 1.0),
        f"{1 / median(run.wall for run in runs[name, in_flight]):,.0f}",
    ]


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 50, 500], metavar="N")
    parser.add_argument("--calls", type=int, default=3000, help="calls of one run")
    parser.add_argument("--repeats", type=int, default=7, help="runs of each kind")
    parser.add_argument("--only", choices=["status", "submit"], help="only this call")
    options = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"  # httpx honours a proxy of the environment
    logging.disable(logging.CRITICAL)
    header = ["client", "in flight", "CPU µs a call", "min-max", "CPU / by hand", "calls/s"]
    with canned_server() as url:
        for kind, contenders in (("status", STATUS), ("submit", SUBMIT)):
            if options.only in (None, kind):
                rows = measure(_installed(contenders), url, options)
                print(
                    table(f"{kind}(): {options.repeats} runs of {options.calls} calls, medians", header, rows)
                )


def _installed(contenders: tuple[Contender, ...]) -> tuple[Contender, ...]:
    return tuple(c for c in contenders if not c.name.startswith("vendor") or version("hoox-mcp"))


if __name__ == "__main__":
    main()
