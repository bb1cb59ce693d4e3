"""Save pictures, again where a download fails, and where its URL has expired.

    python examples/downloads.py

The API gives a look's picture as a URL. How long that is valid is not said: save the picture when the look
is ready, and keep the look's ref, not the URL. ``session.download`` asks nothing of the API where it is
given a look that has a URL; given the ref alone, it asks for a new one, by one request. A file appears only
when it is complete, and what failed has cost nothing: the look stays paid for and ready.

Without a key this runs on a sandbox, whose URLs expire here; with HOOX_API_KEY it spends 2 credits.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from _workspace import workspace

from hoox_async import HooxSession, Look, LookRef, NotSent, PromptAvatar, TransportError, UnexpectedResponse
from hoox_async.sandbox import Fault, Sandbox

EXPIRED = (401, 403, 404, 410)


async def save(session: HooxSession, look: Look, folder: Path, tries: int = 5) -> Path:
    """Save the picture. Raises the last error, or `OSError` such as that of a full disk."""
    source: Look | LookRef = look
    for failed in range(tries):
        try:
            return await session.download(source, folder / f"{look.ref.look_id}.jpg", overwrite=True)
        except (TransportError, NotSent, UnexpectedResponse) as error:
            print(f"{look.ref}: {error}")
            if failed == tries - 1:
                raise
            if getattr(error, "status", None) in EXPIRED:
                source = look.ref  # without a URL: a new one is asked for
            else:
                await asyncio.sleep(0.2 * 2**failed)
    raise AssertionError("tries is at least 1")


def break_pictures(sandbox: Sandbox) -> None:
    """Two downloads that fail: a server that is overloaded, and a URL that has expired."""
    sandbox.fail_next("picture", Fault.status(503))
    sandbox.fail_next("picture", Fault.status(403))


async def main(folder: Path) -> None:
    """One picture, at the third try."""
    async with workspace(trouble=break_pictures) as session:
        look = await session.run(PromptAvatar("Young entrepreneur, confident smile"), key="alex")
        print(await save(session, look, folder))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "looks/")))
