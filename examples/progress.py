"""Show how far a batch is, what it has cost, and how long it will take.

    python examples/progress.py

The estimate says beforehand how many looks are to be made, their credits and about how long that takes: the
quota of 100 requests a minute decides, not your network. Then each outcome says what it cost.
``session.quota`` and ``session.health()`` tell why it is slow, where it is: paused, or held because the API
does not answer.

Without a key this runs on a sandbox; with HOOX_API_KEY it spends 16 credits.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from decimal import Decimal

from _workspace import workspace

from hoox_async import BatchItem, BatchRunner, LookEdit, OutcomeState, PromptAvatar

ITEMS = [
    BatchItem("alex", PromptAvatar("Young entrepreneur", name="Alex")),
    *(BatchItem(f"alex/{number}", LookEdit("alex", f"scene number {number}")) for number in range(7)),
]


async def main() -> None:
    """A line for each look."""
    async with workspace(store="progress.db") as session:
        runner = BatchRunner(session, max_credits=100)
        estimate = await runner.estimate(ITEMS)
        print(estimate)
        began, done, credits = time.monotonic(), Counter[OutcomeState](), Decimal(0)
        async for outcome in runner.stream(ITEMS):
            done[outcome.state] += 1
            credits += outcome.credits
            seconds = time.monotonic() - began
            left = seconds / done.total() * (len(ITEMS) - done.total())
            print(f"{done.total()}/{len(ITEMS)}  {credits} credits  {left:.0f} s left  {outcome.key}")


if __name__ == "__main__":
    asyncio.run(main())
