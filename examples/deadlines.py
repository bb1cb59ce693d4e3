"""How long may it take? Each bound, what it bounds, and what has been paid for when it ends.

    python examples/deadlines.py

- ``max_wait``: seconds until the request is sent. `NotSent` cost nothing: tell the customer, or try later.
- ``timeout``: seconds until the look is done. `WaitTimeout` comes after it was paid for; the look is still
  made, and ``error.job`` waits on. Left out it is ``Timeouts.wait`` (900), and None is no limit.
- ``asyncio.timeout`` around a call bounds all of it. It is safe with a key: what was sent goes on and is
  recorded, and the next call under that key gets the same look.
- ``HooxSession(timeouts=Timeouts(...))`` sets what a connection, a read, an answer and a wait may take.

Without a key this runs on a sandbox; with HOOX_API_KEY it spends 4 credits.
"""

from __future__ import annotations

import asyncio

from _workspace import workspace

from hoox_async import HooxSession, Look, NotSent, PromptAvatar, Request, Timeouts, WaitTimeout
from hoox_async.sandbox import Fault, Sandbox


async def within(session: HooxSession, request: Request, key: str, seconds: float) -> Look | None:
    """The look, if it is ready in time. None: call it again later, under the same key."""
    try:
        async with asyncio.timeout(seconds):
            return await session.run(request, key=key, timeout=None)
    except TimeoutError:
        return None


async def in_two_steps(session: HooxSession, request: Request, key: str) -> Look | None:
    """The look, unless the quota is used up: then nothing was paid."""
    try:
        return await session.run(request, key=key, max_wait=0.3, timeout=0.2)
    except NotSent as error:
        print(f"{key}: not sent: {error}")
        return None
    except WaitTimeout as error:
        print(f"{key}: paid, and not done yet: {error}")
        return await error.job.wait(timeout=60)


def throttle(sandbox: Sandbox) -> None:
    """Answer the next creation that the quota is used up for a second."""
    sandbox.fail_next("create", Fault.RATE_LIMITED)


async def main() -> None:
    """Two avatars; neither is done in time at first, and each is paid for once."""
    async with workspace(speed=60, trouble=throttle, timeouts=Timeouts(answer=60, wait=300)) as session:
        alex, mara = PromptAvatar("Young entrepreneur"), PromptAvatar("Fitness coach")
        while await in_two_steps(session, alex, "alex") is None:
            await asyncio.sleep(1)
        print("alex: ready")
        while (look := await within(session, mara, "mara", seconds=0.5)) is None:
            print("mara: not in time")
        print(f"mara: {look.status}")


if __name__ == "__main__":
    asyncio.run(main())
