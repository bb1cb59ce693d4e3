"""What is wrong just now? A task beside the work that tells it when it begins and when it is over.

    python examples/trouble.py

``session.health().trouble`` is a set of words, and ``help(hoox_async.Trouble)`` says of each its cause and
what to do. It asks nothing of the API while all is well, so read it every few seconds. When a word is gone,
the work goes on by itself; only unknowns are left for you. The shop in `production` has it as a gauge, with a
runbook.

Without a key this runs on a sandbox; with HOOX_API_KEY it spends 2 credits.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

from _workspace import workspace

from hoox_async import HooxSession, InsufficientCredits, Look, PromptAvatar, Trouble
from hoox_async.sandbox import Fault, Sandbox

NO_CREDITS = Fault.status(402, '{"error": "Not enough credits", "code": "INSUFFICIENT_CREDITS"}')


async def watch(session: HooxSession, every: float) -> NoReturn:
    """Print what begins and what is over, until cancelled."""
    known: frozenset[Trouble] = frozenset()
    while True:
        found = (await session.health()).trouble
        for word in sorted(found - known):
            print(f"trouble: {word}")
        for word in sorted(known - found):
            print(f"over: {word}")
        known = found
        await asyncio.sleep(every)


async def patiently(session: HooxSession, request: PromptAvatar, key: str) -> Look:
    """The look, once there are credits. What was refused has cost nothing."""
    while True:
        try:
            return await session.run(request, key=key)
        except InsufficientCredits:
            await asyncio.sleep(1)


def bankrupt(sandbox: Sandbox) -> None:
    """Answer the next creation that there are too few credits."""
    sandbox.fail_next("create", NO_CREDITS)


async def main() -> None:
    """An avatar for which there are no credits at first."""
    async with workspace(trouble=bankrupt) as session:
        watching = asyncio.create_task(watch(session, every=0.2))
        look = await patiently(session, PromptAvatar("Young entrepreneur"), "alex")
        print(f"alex: {look.status}")
        watching.cancel()


if __name__ == "__main__":
    asyncio.run(main())
