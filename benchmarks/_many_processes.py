"""What several processes on one store keep of the quota, and how soon they hear of each other.

The sandbox runs in a thread of this program, the sessions in processes of their own. It serves no quota
headers, so that nobody learns from them what the others send, unless another form of the quota is chosen.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiohttp
import attrs
from _postgres import connect
from _session_process import SessionProcess, Setup, start_all
from _shared import progress, table

from hoox_async import LookRef
from hoox_async.sandbox import AnswerForms, Sandbox
from hoox_async.sandbox.quota_window import QuotaKind

LIMIT = 100
AVATARS = 20
NO_HEADERS = AnswerForms(quota_headers="none")
QUOTA_FORMS: Mapping[str, Mapping[str, Any]] = {
    "no-headers": {"quota_headers": "none"},
    "documented": {},
    "throttled-counts": {"throttled_counts": True},
    "bare-429": {"quota_headers": "unless_429"},
    "reset-moves": {"reset_moves": True},
    "success-only": {"quota_headers": "success"},
    "together": {"throttled_counts": True, "reset_moves": True, "quota_headers": "success"},
    "no-headers-counts": {"quota_headers": "none", "throttled_counts": True},
}
"""In which forms the sandbox counts its quota and names it. "together" is all that is hinted at."""
_TICK = 0.02


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all values does not exceed; NaN where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def most_in(moments: Iterable[float], seconds: float) -> int:
    """The most of these moments in any period of that length."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def setups(url: str, sandbox: Sandbox, count: int, **options: Any) -> list[Setup]:
    """The set-ups of so many processes on one workspace of a store."""
    sources = tuple(avatar_of(sandbox) for _ in range(AVATARS))
    one = Setup(store=url, base_url=sandbox.base_url, api_key=sandbox.api_key, sources=sources)
    return [attrs.evolve(one, **options) for _ in range(count)]


def avatar_of(sandbox: Sandbox) -> str:
    """A look of a new avatar, made by nobody's session."""
    _, answered = sandbox.space._create({"imageUrls": ["https://example.com/a.jpg"]}, 0.0)
    return f"{answered['avatar_id']}:{answered['look_id']}"


async def run_campaign(
    processes: Sequence[SessionProcess], edits: int, prefix: str = "c"
) -> tuple[float, int]:
    """Edits, each given to one of the processes in turn. Returns seconds, and how many looks are ready."""
    step = len(processes)
    parts = [
        process.call("batch", prefix=prefix, start=number, stop=edits, step=step)
        for number, process in enumerate(processes)
    ]
    began = time.monotonic()
    states: list[Mapping[str, int]] = await asyncio.gather(*parts)
    return time.monotonic() - began, sum(each.get("ready", 0) for each in states)


class Campaign(NamedTuple):
    """A campaign over some processes, by the sandbox's own count of requests."""

    processes: int
    edits: int
    ready: int
    seconds: float
    posts: int
    status: int
    most: int
    refused: int


async def campaign(
    url: str,
    workspace: str,
    *,
    processes: int,
    edits: int,
    window: float,
    speed: float,
    forms: AnswerForms = NO_HEADERS,
) -> Campaign:
    """Run a campaign of edits over so many processes on one workspace."""
    with Sandbox(
        requests_per_minute=LIMIT, quota_window=window, speed=speed, forms=forms, latency=0.05
    ) as sandbox:
        async with AsyncExitStack() as stack:
            wanted = setups(url, sandbox, processes, limit=LIMIT, window=window, workspace=workspace)
            opened = await start_all(stack, wanted)
            seconds, ready = await run_campaign(opened, edits)
        requests = [one for one in sandbox.requests if one.endpoint != "picture"]
    return Campaign(
        processes,
        edits,
        ready,
        seconds,
        sum(one.endpoint == "edit" and one.status != 429 for one in requests),
        sum(one.endpoint != "edit" for one in requests),
        most_in((one.at for one in requests if one.status != 429), window),
        sum(one.status == 429 for one in requests),
    )


# --- the programs ------------------------------------------------------------------------------------


async def safety(url: str, *, counts: Sequence[int], edits: int, window: float, form: str) -> bool:
    """No more than the quota at any moment, with a shorter minute and a quicker sandbox."""
    found = []
    for count in counts:
        progress(f"safety: {form}, {count} processes")
        run = campaign(
            url,
            f"safety {form} {count}",
            processes=count,
            edits=edits,
            window=window,
            speed=60.0 / window,
            forms=AnswerForms(**QUOTA_FORMS[form]),
        )
        found.append(await run)
    progress("")
    print(
        table(
            f"{LIMIT} requests in {window:g} s, form of the quota: {form} (scaled: a minute is {window:g} s, "
            f"and the sandbox {60 / window:g} times as fast)",
            ("processes", "edits", "ready", "seconds", f"most in {window:g} s", "refused"),
            [(str(c.processes), c.edits, c.ready, c.seconds, c.most, c.refused) for c in found],
        )
    )
    return all(c.most <= LIMIT and not c.refused and c.ready == c.edits for c in found)


async def makespan(url: str, *, counts: Sequence[int], edits: int) -> bool:
    """The same campaign at the API's own pace over one, some and many processes at the same time."""
    progress("makespan: nothing is scaled, so that takes minutes")
    found = await asyncio.gather(
        *(
            campaign(url, f"makespan {count}", processes=count, edits=edits, window=60.0, speed=1.0)
            for count in counts
        )
    )
    progress("")
    base = found[0]
    print(
        table(
            f"{edits} edits of {AVATARS} avatars, {LIMIT} requests a minute (not scaled), no quota headers",
            ("processes", "ready", "seconds", "of one", "status", "of one", "most in 60 s", "refused"),
            [
                (
                    str(c.processes), c.ready, c.seconds, f"{c.seconds / base.seconds:.3f} x", c.status,
                    f"{c.status / max(base.status, 1):.2f} x", c.most, c.refused,
                )
                for c in found
            ],
        )
    )  # fmt: skip
    return all(c.most <= LIMIT and not c.refused and c.seconds <= 1.10 * base.seconds for c in found)


async def permits(url: str, *, times: int, processes: int) -> bool:
    """How long a permit takes alone, and while others ask for permits of the same workspace without pause."""
    rows = []
    with Sandbox() as sandbox:
        async with AsyncExitStack() as stack:
            opened = await start_all(stack, setups(url, sandbox, processes))
            await prepare(url)
            await opened[0].call("reserve", times=100, pause=0.0, limit=6_000)
            alone = await opened[0].call("reserve", times=times, pause=0.0, limit=6_000)
            paced = await asyncio.gather(
                *(one.call("reserve", times=times // 20, pause=0.05, limit=6_000) for one in opened)
            )
            under = await asyncio.gather(
                *(one.call("reserve", times=times // 4, pause=0.0, limit=6_000) for one in opened)
            )
    for name, found in (
        ("alone", alone),
        (f"{processes} processes, 20 a second each", [value for each in paced for value in each]),
        (f"{processes} processes, without pause", [value for each in under for value in each]),
    ):
        rows.append((name, len(found), 1000 * statistics.median(found), 1000 * percentile(found, 0.99)))
    print(table("One permit, from the question to the answer", ("", "permits", "p50 ms", "p99 ms"), rows))
    return True


async def prepare(url: str) -> None:
    """The workspace that permits are taken from; no session has it."""
    async with await connect(url) as connection:
        await connection.execute(
            "INSERT INTO hoox.workspaces (id, name, base_url, fingerprint) OVERRIDING SYSTEM VALUE "
            "VALUES (1000000, 'permits', '', '') ON CONFLICT DO NOTHING"
        )


async def poller(url: str, *, rounds: int, lease: float) -> bool:
    """How soon another process polls, after the one that did was ended in one of these ways."""
    bound = {"killed": lease * 1.2, "stopped": lease * 1.2, "cut off": lease * 1.2, "closed": 1.5}
    bound |= {"without a valid key": 20.0, "without an answer": 20.0}
    ends: dict[str, list[float]] = {how: [] for how in bound}
    with Sandbox(requests_per_minute=None, forms=NO_HEADERS, median=1e6) as sandbox:
        for how in ends:
            for number in range(rounds):
                progress(f"poller: {how}, {number + 1} of {rounds}")
                wanted = setups(url, sandbox, 3, lease=lease, workspace=f"{how} {number}", limit=60_000)
                ends[how].append(await until_replaced(url, wanted, how))
    progress("")
    print(
        table(
            f"Until another process polls, of three; the lease is {lease:g} s",
            ("the poller was", "rounds", "median s", "most s", "at most"),
            [
                (how, len(found), statistics.median(found), max(found), bound[how])
                for how, found in ends.items()
            ],
        )
    )
    return all(max(found) <= bound[how] for how, found in ends.items())


async def until_replaced(url: str, wanted: Sequence[Setup], how: str) -> float:
    """Start these processes, and end the one that polls. Returns after how many seconds another one does.

    Each has a proxy in front of the database. "cut off": the leader's proxy lets nothing pass from then on,
    in either direction, not even the end of a connection, and the process lives on. "without …": it has a
    look to ask for, and all its requests are answered 401 from then on, or fail.
    """
    from postgres_kit import Proxy

    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(Proxy(_address(url))) for _ in wanted]
        through = [
            attrs.evolve(setup, store=_through(url, proxy.port))
            for setup, proxy in zip(wanted, proxies, strict=True)
        ]
        opened = await start_all(stack, through)
        workspace = wanted[0].workspace
        first = await _leader(url, workspace, ())
        leader = next(one for one in opened if one.member == first)
        began = time.monotonic()
        if how == "killed":
            leader.signal(signal.SIGKILL)
        elif how == "stopped":
            leader.signal(signal.SIGSTOP)
        elif how == "cut off":
            proxies[opened.index(leader)].hold()
        elif how == "closed":
            await leader.call("close")
            began = time.monotonic()
        else:
            await leader.call("submit", key=how)
            await asyncio.sleep(10.0)
            began = time.monotonic()
            await leader.call("fail", answers=how == "without a valid key")
        await _leader(url, workspace, (first,))
        return time.monotonic() - began


def _address(url: str) -> Path | tuple[str, int]:
    """The socket, or host and port, of a database."""
    from psycopg.conninfo import conninfo_to_dict

    given = conninfo_to_dict(url)
    host, port = str(given.get("host") or "localhost"), int(given.get("port") or 5432)
    return Path(host) / f".s.PGSQL.{port}" if host.startswith("/") else (host, port)


def _through(url: str, port: int) -> str:
    """The URL of the same database behind this port of this machine."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    others = [(name, value) for name, value in parse_qsl(parts.query) if name not in ("host", "port")]
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}", query=urlencode(others)))


async def _leader(url: str, workspace: str, but: Sequence[str]) -> str:
    """The living leader, once it is none of ``but``."""
    async with await connect(url) as connection:
        while True:
            cursor = await connection.execute(
                "SELECT l.member FROM hoox.leaders l JOIN hoox.workspaces w ON w.id = l.workspace "
                "WHERE w.name = %s AND hoox.is_alive_1(l.member)",
                (workspace,),
            )
            row = await cursor.fetchone()
            if row is not None and row[0] not in but:
                return str(row[0])
            await asyncio.sleep(_TICK)


async def settled(url: str, *, looks: int) -> bool:
    """How long after one process has seen a look's end the waiter in another process is awake."""
    lags: list[float] = []
    with Sandbox(requests_per_minute=None, forms=NO_HEADERS, speed=20.0, latency=0.01) as sandbox:
        async with AsyncExitStack() as stack:
            wanted = setups(url, sandbox, 3, workspace="settled", limit=6_000)
            opened = await start_all(stack, wanted)
            first = await _leader(url, "settled", ())
            others = [one for one in opened if one.member != first]
            ends = _settled_at(url, "settled", looks)
            watching = asyncio.create_task(ends)
            awake = await asyncio.gather(
                *(_wait_later(others[n % len(others)], f"s/{n}", 0.2 * n) for n in range(looks))
            )
            settled_at = await watching
    lags = [moment - settled_at[f"s/{n}"] for n, moment in enumerate(awake)]
    print(
        table(
            "Settled in one process, awake in another (the sandbox is 20 times as fast)",
            ("looks", "median s", "p99 s", "most s", "at most"),
            [(str(looks), statistics.median(lags), percentile(lags, 0.99), max(lags), 1.5)],
        )
    )
    return max(lags) <= 1.5


async def _wait_later(process: SessionProcess, key: str, pause: float) -> float:
    await asyncio.sleep(pause)
    moment: float = await process.call("wait", key=key)
    return moment


async def _settled_at(url: str, workspace: str, looks: int) -> dict[str, float]:
    """When each look was written as settled, as seen from outside, to some hundredths of a second."""
    found: dict[str, float] = {}
    async with await connect(url) as connection:
        while len(found) < looks:
            cursor = await connection.execute(
                "SELECT i.key FROM hoox.intents i JOIN hoox.workspaces w ON w.id = i.workspace "
                "WHERE w.name = %s AND i.state IN ('ready', 'failed')",
                (workspace,),
            )
            for (key,) in await cursor.fetchall():
                found.setdefault(key, time.monotonic())
            await asyncio.sleep(_TICK)
    return found


async def visitor(url: str, *, orders: int, edits: int) -> bool:
    """How long single orders wait for their permit beside a campaign in another process."""
    progress("visitor: nothing is scaled, so that takes minutes")
    with Sandbox(requests_per_minute=LIMIT, speed=1.0, forms=NO_HEADERS, latency=0.05) as sandbox:
        async with AsyncExitStack() as stack:
            busy, shop = await start_all(stack, setups(url, sandbox, 2, workspace="visitor"))
            running = asyncio.create_task(run_campaign([busy], edits))
            await asyncio.sleep(20.0)
            waits: list[float] = []
            for number in range(orders):
                waits.append(await shop.call("submit", key=f"visitor/{number}"))
                await asyncio.sleep(2.0)
            was_running = not running.done()
            running.cancel()
        requests = [one for one in sandbox.requests if one.endpoint != "picture"]
    progress("")
    most = most_in((one.at for one in requests if one.status != 429), 60.0)
    print(
        table(
            f"A visitor's order beside a campaign in another process, {LIMIT} requests a minute (not scaled)",
            ("orders", "median s", "p99 s", "most s", "at most", "most in 60 s"),
            [(str(orders), statistics.median(waits), percentile(waits, 0.99), max(waits), 1.5, most)],
            [] if was_running else ["The campaign was over before: run it with more --edits."],
        )
    )
    return was_running and percentile(waits, 0.99) <= 1.5


async def stranger(
    url: str,
    *,
    processes: int,
    strangers: int,
    target: float,
    minutes: int,
    window: float,
    quota: QuotaKind,
    form: str,
) -> bool:
    """How many requests we send beside another client of the workspace, which uses no library of ours."""
    progress(f"stranger: {form}, {minutes} minutes of {window:g} s")
    scale = 60.0 / window
    forms = AnswerForms(**QUOTA_FORMS[form])
    with Sandbox(
        requests_per_minute=LIMIT, quota_window=window, quota=quota, speed=scale, forms=forms, latency=0.05
    ) as sandbox:
        async with AsyncExitStack() as stack:
            name = f"stranger {form} {quota}"
            wanted = setups(url, sandbox, processes, limit=LIMIT, window=window, workspace=name)
            opened = await start_all(stack, wanted)
            before = len(sandbox.requests)
            running = asyncio.create_task(run_campaign(opened, LIMIT * (minutes + 2)))
            other = asyncio.create_task(_send_evenly(sandbox, wanted[0].sources[0], window / strangers))
            await asyncio.sleep(window * minutes)
            was_running = not running.done()
            for task in (running, other):
                task.cancel()
            requests = [one for one in sandbox.requests[before:] if one.endpoint != "picture"]
    progress("")
    ours = [one for one in requests if one.endpoint != _STRANGERS]
    theirs = [one for one in requests if one.endpoint == _STRANGERS]
    began = min(one.at for one in requests)
    accepted = [sum(_minute_of(one.at - began, window) == n for one in ours if one.status != 429)
                for n in range(minutes)]  # fmt: skip
    rate = statistics.fmean(accepted[1:])
    scaled = "not scaled" if window == 60.0 else (
        f"scaled: a minute is {window:g} s, and the sandbox {scale:g} times as fast; "
        "pauses and what is learned from them are not"
    )  # fmt: skip
    print(
        table(
            f"{processes} processes beside a client that sends {strangers} requests a minute; {LIMIT} are "
            f"allowed, {quota}, form of the quota: {form} ({scaled})",
            ("", "sent", "refused", "accepted a minute, after the first", "at least"),
            [
                ("ours", len(ours), sum(one.status == 429 for one in ours), rate, target),
                ("the other client's", len(theirs), sum(one.status == 429 for one in theirs), None, None),
            ],
            [f"ours, minute by minute: {', '.join(map(str, accepted))}"]
            + ([] if was_running else ["The campaign was over before: its minutes are no measure."]),
        )
    )
    return was_running and rate >= target


_STRANGERS = "look"  # the endpoint that only the other client uses


def _minute_of(seconds: float, window: float) -> int:
    return int(seconds // window)


async def _send_evenly(sandbox: Sandbox, look: str, interval: float) -> None:
    """Send requests as another client does that takes no notice of what is refused."""
    ref = LookRef.parse(look)
    address = f"{sandbox.base_url}/avatar/{ref.avatar_id}/look/{ref.look_id}"
    headers = {"Authorization": f"Bearer {sandbox.api_key}"}
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(headers=headers) as client:
        at = loop.time()
        while True:
            async with client.get(address) as answer:
                await answer.read()
            at += interval
            await asyncio.sleep(at - loop.time())
