"""The cost of prefetching a batch's input: bytes an item, and seconds until the first one is sent.

Edits are given scene by scene, of 200 and of 20,000 avatars. 20,000 items are prefetched, which is the most
that a batch prefetches. In real time, through the store in SQLite, with the fake workspace in the process.

    python benchmarks/prefetch.py
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from _shared import progress, table

from hoox_async import BatchItem, BatchRunner, HooxSession, ImageAvatar, LookEdit, LookRef
from hoox_async._batch.window import MAX_UNSENT
from hoox_async.sandbox import InProcessTransport, Space

ENOUGH = int(0.98 * MAX_UNSENT)  # with 200 avatars it stops when the first of them has 100 items
HEADER = ("avatars", "bytes an item", "of these the request", "first sent s", "all read s", "stopped s")


class Cost(NamedTuple):
    """The cost of one input. ``stopped``: seconds that `stop()` takes."""

    bytes_each: float
    first_sent: float
    all_read: float
    stopped: float


def items(avatars: int, source: LookRef) -> Iterator[BatchItem]:
    """The input, scene by scene. Endless for the batch: it never reads more than `MAX_UNSENT` of them."""
    for n in range(2 * MAX_UNSENT):
        ref = source if n == 0 else LookRef(f"avtr_{n % avatars:06}", f"look_{n % avatars:06}")
        yield BatchItem(f"scene-{n // avatars}-of-{n % avatars}", LookEdit(ref, f"scene {n}, at the sea"))


async def cost(avatars: int, *, traced: bool) -> Cost:
    """Start a batch, wait until it has prefetched its input, and stop it."""
    space = Space(duration=lambda *_: 3600.0)
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "campaign.db")
        async with HooxSession(space.api_key, store=store, transport=InProcessTransport(space)) as session:
            source = (await session.submit(ImageAvatar(["https://example.com/a.jpg"]))).ref
            given, read = items(avatars, source), 0

            def counted() -> Iterator[BatchItem]:
                nonlocal read
                for read, item in enumerate(given, 1):  # noqa: B007 - used outside
                    yield item

            runner = BatchRunner(session, max_in_flight=1)
            gc.collect()
            if traced:
                tracemalloc.start()
            began, sent = time.perf_counter(), 0.0
            stream = runner.stream(counted())
            reading = asyncio.ensure_future(anext(stream))
            while read < ENOUGH or not sent:
                await asyncio.sleep(0.005)
                if not sent and len(space.requests) > 1:
                    sent = time.perf_counter() - began
            all_read = time.perf_counter() - began
            gc.collect()
            held = tracemalloc.get_traced_memory()[0] if traced else 0
            tracemalloc.stop()
            stopping = time.perf_counter()
            runner.stop()
            stopped = time.perf_counter() - stopping
            reading.cancel()
            await asyncio.wait((reading,))
            await stream.aclose()
    return Cost(held / read, sent, all_read, stopped)


def bytes_of_requests() -> float:
    """The part that the caller's own requests take."""
    source = LookRef("avtr_000000", "look_000000")
    tracemalloc.start()
    held = [each for n, each in enumerate(items(200, source)) if n < MAX_UNSENT]
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / len(held)


def main() -> None:
    """Measure both inputs, once for time and once for memory."""
    own = bytes_of_requests()
    rows: list[tuple[object, ...]] = []
    for avatars in (200, MAX_UNSENT):
        progress(f"{avatars:,} avatars")
        timed = asyncio.run(cost(avatars, traced=False))
        sized = asyncio.run(cost(avatars, traced=True))
        rows.append(
            (
                f"{avatars:,}",
                f"{sized.bytes_each:,.0f}",
                f"{own:,.0f}",
                f"{timed.first_sent:.2f}",
                f"{timed.all_read:.2f}",
                f"{timed.stopped:.2f}",
            )
        )
    progress("")
    print(table(f"{MAX_UNSENT:,} items prefetched", HEADER, rows))


if __name__ == "__main__":
    main()
