"""From a sentence to a picture: an avatar, a new look of it, and that look's file.

    python examples/quickstart.py

Without a key it runs on a sandbox. With HOOX_API_KEY it uses the real API and spends 6 credits.
"""

from __future__ import annotations

import asyncio
import sys

from _workspace import workspace

from hoox_async import PromptAvatar


async def main(folder: str) -> None:
    """An avatar costs 2 credits, a look at 4K costs 4."""
    async with workspace() as session:
        alex = await session.run(PromptAvatar("Young entrepreneur, confident smile", name="Alex"))
        print(f"{alex.ref} is ready")
        job = await session.edit_look(alex, "podcast scene, warm light", style="podcast", resolution="4K")
        print(f"{job.ref} is accepted: {job.credits} credits")
        look = await job
        path = await session.download(look, folder, overwrite=True)
        print(f"{look.ref} is ready: {path}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "looks/"))
