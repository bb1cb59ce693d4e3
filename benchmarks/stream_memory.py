"""How much memory a long stream of edits takes beside a short one: it must not grow with the input.

100,000 edits are streamed through the store in SQLite, on the in-process transport, in virtual time:
about 17 hours of a real campaign. The input is a generator, and each outcome is dropped when it was received.
The fake workspace and what it remembers live in this process too; it is made to forget, so that what is
left is the library's own.

    python benchmarks/stream_memory.py               # 1,000, then 100,000: some minutes
    python benchmarks/stream_memory.py --items 20000 --traced
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from _shared import progress, table

from hoox_async import BatchItem, BatchRunner, HooxSession, ImageAvatar, LookEdit, LookRef
from hoox_async.sandbox import InProcessTransport, Space
from hoox_async.testing import VirtualTimeLoop

AVATARS = 20
PAGE = 1_000


async def stream(count: int, store: str) -> None:
    """Stream so many edits, and let each outcome go."""
    space = Space(failures=0.02)
    async with HooxSession(space.api_key, store=store, transport=InProcessTransport(space)) as session:
        refs = [
            (await session.submit(ImageAvatar(["https://example.com/a.jpg"]))).ref for _ in range(AVATARS)
        ]
        received = 0
        async for outcome in BatchRunner(session).stream(items(count, refs)):
            received += 1
            assert outcome.ref is not None
            forget(space, outcome.ref)
            if received % PAGE == 0:
                space.ledger.clear()
                space.requests.clear()
                progress(f"{received:,} of {count:,}")
        assert received == count


def items(count: int, refs: list[LookRef]) -> Iterator[BatchItem]:
    """The input, scene by scene."""
    for n in range(count):
        yield BatchItem(f"scene-{n}", LookEdit(refs[n % len(refs)], f"scene {n}"))


def forget(space: Space, ref: LookRef) -> None:
    """Take a settled look out of the fake workspace: it is no memory of the library's."""
    look = space.looks.pop(ref.look_id)
    look.avatar.looks.remove(look)


def measure(count: int, *, traced: bool) -> None:
    """Run in a process of its own; prints peak memory in MB and the seconds it took."""
    began = time.perf_counter()
    if traced:
        tracemalloc.start()
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(stream(count, str(Path(folder) / "campaign.db")))
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if traced:
        gc.collect()
        print(f"traced peak: {tracemalloc.get_traced_memory()[1] / 2**20:.1f} MB", file=sys.stderr)
        for line in tracemalloc.take_snapshot().statistics("lineno")[:15]:
            print(line, file=sys.stderr)
    print(peak, took)


def main() -> None:
    """Measure a short and a long stream, each in a process of its own, and print both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--base", type=int, default=1_000)
    parser.add_argument("--traced", action="store_true", help="also say what is left at the end")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.one, traced=arguments.traced)
        return
    rows: list[tuple[object, ...]] = []
    for count in (arguments.base, arguments.items):
        words = [sys.executable, __file__, "--one", str(count), *(["--traced"] if arguments.traced else [])]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        peak, took = map(float, done.stdout.split())
        growth = peak - float(rows[0][1]) if rows else None  # type: ignore[arg-type]
        each = None if growth is None else round(growth * 2**20 / (count - arguments.base))
        rows.append((f"{count:,} edits", peak, growth, each, took))
    progress("")
    print(
        table("Peak memory of a stream", ["", "peak RSS MB", "growth MB", "bytes an item", "seconds"], rows)
    )


if __name__ == "__main__":
    main()
