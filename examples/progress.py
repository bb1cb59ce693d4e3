"""Show how far a batch is, what it has cost, and how long it will take.

    python examples/progress.py

The estimate says beforehand what is to be made, its credits and about how long that takes: the quota of 100
requests a minute decides, not your network. While the batch runs, ``progress`` is called with a `Progress`,
ten times a second at most, and once at the end. ``total`` is None for a generator, and ``seconds_left`` is
None while it cannot be known, as during an outage. ``await session.health()`` says what holds it up.

Without a key this runs on a sandbox; with HOOX_API_KEY it spends 16 credits.
"""

from __future__ import annotations

import asyncio

from _workspace import workspace

from hoox_async import BatchItem, BatchRunner, LookEdit, Progress, PromptAvatar

ITEMS = [
    BatchItem("alex", PromptAvatar("Young entrepreneur", name="Alex")),
    *(BatchItem(f"alex/{number}", LookEdit("alex", f"scene number {number}")) for number in range(7)),
]


def show(progress: Progress) -> None:
    """Print one line. A real program would draw over the last one, or set a gauge."""
    left = "?" if progress.seconds_left is None else f"{progress.seconds_left:.0f}"
    print(
        f"{progress.done} of {progress.total} done, {progress.in_flight} in flight, "
        f"{progress.unknown} unknown, {progress.credits} credits, {left} s left"
    )


async def main() -> None:
    """One avatar and seven looks of it."""
    async with workspace(store="progress.db") as session:
        runner = BatchRunner(session, max_credits=100, progress=show)
        print(await runner.estimate(ITEMS))
        report = await runner.run(ITEMS)
    print(report.costs)


if __name__ == "__main__":
    asyncio.run(main())
