"""What the ledger costs: milliseconds for the writes of a paid look, and the time to read 100,000 intents.

A paid look's life is three writes: SENDING, ACCEPTED and READY. They are timed one look after the other, in
memory, in a SQLite file, and on PostgreSQL, there also with a network of 2 ms each way (a proxy holds each
chunk back). "CPU" is that of this process alone. Each round is a process of its own; medians of the rounds.

    python benchmarks/ledger.py
    python benchmarks/ledger.py --beside ../before    # a checkout of another commit, in turns with this one

It starts a PostgreSQL of its own from the wheel of the extra ``dev``.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _postgres import databases
from _shared import median, progress, ratio, table

HERE = Path(__file__).resolve().parents[1]
STORES = ("memory", "SQLite", "PostgreSQL", "PostgreSQL, 2 ms each way")
AT = datetime(2026, 3, 1, tzinfo=UTC)


# --- one round, in a process of its own: also of an earlier commit, whose stores stand elsewhere


def _open_store(place: str | None) -> Any:
    for module in ("hoox_async._io.ledger.opening", "hoox_async._io.stores"):
        try:
            return importlib.import_module(module).open_store(place)
        except ModuleNotFoundError:
            continue
    raise SystemExit("this checkout has no stores")


async def _round(place: str | None, lives: int, streamed: int) -> dict[str, float]:
    from hoox_async import LookEdit, LookRef, LookStatus
    from hoox_async._api.models import Look
    from hoox_async._core.intents.intent import Evidence, Intent
    from hoox_async._core.intents.transitions import Accept, Send, Settle, advance
    from hoox_async._io.protocols import Workspace

    store = _open_store(place)
    await store.open(Workspace("https://api.example/v1", "hx_live_benchmark"))
    source = LookRef("avtr_1", "look_source")

    async def live(number: int) -> None:
        key, ref = f"k{number}", LookRef("avtr_1", f"look_{number}")
        request = LookEdit(source, f"scene {number}", metadata={"scene": str(number)})
        intent = Intent(key, True, request, f"digest of {key}", AT)
        await store.plan(advance(intent, Send(f"attempt {number}", AT, source)))
        await store.advance(key, Accept(ref, AT, Evidence.ANSWER))
        await store.advance(key, Settle(Look(ref, LookStatus.READY, "https://cdn.example/1.jpg"), AT))

    async def plan(number: int) -> None:
        request = LookEdit(source, f"scene {number}")
        await store.plan(Intent(f"planned {number}", True, request, f"digest of planned {number}", AT))

    await live(-1)
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(lives):
        await live(number)
    found = {
        "ms": 1000 * (time.perf_counter() - began) / lives,
        "cpu": 1000 * (time.process_time() - cpu) / lives,
    }
    if streamed:
        for start in range(0, streamed, 500):
            await asyncio.gather(*(plan(number) for number in range(start, start + 500)))
        began = time.perf_counter()
        async for _ in store.stream():
            pass
        found |= {"stream": time.perf_counter() - began}
    await store.aclose()
    return found


# --- the rounds of both commits, in turns


async def _in_process(tree: Path, place: str | None, lives: int, streamed: int) -> dict[str, float]:
    arguments = [sys.executable, __file__, "--round", json.dumps([place, lives, streamed])]
    child = await asyncio.create_subprocess_exec(
        *arguments, env={**os.environ, "PYTHONPATH": str(tree)}, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    if child.returncode:
        raise SystemExit(f"a round of {tree} failed")
    found: dict[str, float] = json.loads(out)
    return found


async def _measure(options: argparse.Namespace) -> None:
    trees = {"this commit": HERE} | ({"beside": options.beside} if options.beside else {})
    rounds: dict[tuple[str, str], list[dict[str, float]]] = {}
    with databases() as new, tempfile.TemporaryDirectory() as folder:
        from postgres_kit import Proxy  # the folder of tests is in the path now

        for number in range(options.rounds):
            for store in STORES:
                for name, tree in trees.items():
                    progress(f"round {number + 1} of {options.rounds}: {store}, {name}")
                    streamed = options.streamed if "2 ms" not in store else 0
                    if store == "memory":
                        found = await _in_process(tree, None, options.lives, streamed)
                    elif store == "SQLite":
                        path = Path(folder, f"{number} {name}.db")
                        found = await _in_process(tree, str(path), options.lives, streamed)
                    else:
                        found = await _on_postgres(new, Proxy, tree, store, options.lives, streamed)
                    rounds.setdefault((store, name), []).append(found)
    progress("")
    print(_table(rounds, trees))


async def _on_postgres(
    new: Any, proxy_of: Any, tree: Path, store: str, lives: int, streamed: int
) -> dict[str, float]:
    with new() as url:
        if "2 ms" not in store:
            return await _in_process(tree, url, lives, streamed)
        return await _through_proxy(url, proxy_of, lambda place: _in_process(tree, place, lives // 4, 0))


async def _through_proxy(
    url: str, proxy_of: Any, run: Callable[[str], Awaitable[dict[str, float]]]
) -> dict[str, float]:
    from psycopg.conninfo import conninfo_to_dict

    info = conninfo_to_dict(url)
    socket = Path(str(info["host"]), f".s.PGSQL.{info.get('port', 5432)}")
    async with proxy_of(socket) as proxy:
        proxy.delay = 0.002
        return await run(f"postgresql://{info['user']}@127.0.0.1:{proxy.port}/{info['dbname']}")


def _table(rounds: dict[tuple[str, str], list[dict[str, float]]], trees: dict[str, Path]) -> str:
    rows = []
    for store in STORES:
        first = median(each["ms"] for each in rounds[store, "this commit"])
        for name in trees:
            found = rounds[store, name]
            ms = median(each["ms"] for each in found)
            cpu = median(each["cpu"] for each in found)
            streams = [each["stream"] for each in found if "stream" in each]
            stream = f"{median(streams):.2f}" if streams else "—"
            rows.append((f"{store}: {name}", f"{ms:.2f}", f"{cpu:.2f}", stream, ratio(ms, first)))
    header = ("", "ms a paid life", "CPU", "seconds to stream", "beside this commit")
    return table("What the ledger costs", header, rows)


def main() -> int:
    """Measure, or run one round."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lives", type=int, default=400, help="paid looks of a round")
    parser.add_argument("--streamed", type=int, default=100_000, help="intents that are streamed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path, help="a checkout of another commit")
    parser.add_argument("--round", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.round:
        print(json.dumps(asyncio.run(_round(*json.loads(options.round)))))
        return 0
    asyncio.run(_measure(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
