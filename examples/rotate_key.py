"""Go on with a new API key of the same workspace.

    python examples/rotate_key.py

A store belongs to the workspace that paid for what it holds, and knows that by the key. A key that it does
not know is refused (`StoreMismatch`): it could be another workspace's, where the looks do not exist and
would be paid for again. ``new_key=True`` says that it is the same workspace; leave it out once the new key
has worked.

- One process: make a new key at Hoox, start the program with it and ``new_key=True``, revoke the old one.
- Several, on PostgreSQL: roll the new key out with ``new_key=True``. Meanwhile the store accepts both keys,
  so that old processes go on. Then revoke the old one, and roll out without it.
- The secret of webhooks has nothing to do with the key: ``HOOX_WEBHOOK_SECRET="new,old"`` signs with the new
  one and still accepts URLs that were signed with the old one.

It runs on a sandbox, where nothing costs anything.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hoox_async import HooxSession, PromptAvatar, StoreMismatch
from hoox_async.sandbox import Sandbox

ALEX = PromptAvatar("Young entrepreneur, confident smile")


async def make(sandbox: Sandbox, store: Path, api_key: str, *, new_key: bool = False) -> None:
    """Have the avatar made with this key, or given if it was paid for already."""
    url = sandbox.base_url
    async with HooxSession(api_key, base_url=url, store=store, new_key=new_key) as session:
        print(f"{api_key}: {(await session.run(ALEX, key='alex')).ref}")


async def main(store: Path) -> None:
    """Two keys, one avatar, one payment."""
    async with Sandbox(api_key="hx_old") as sandbox:
        await make(sandbox, store, "hx_old")
        sandbox.space.api_key = "hx_new"  # the old one is revoked
        try:
            await make(sandbox, store, "hx_new")
        except StoreMismatch as error:
            print(f"refused: {error}")
        await make(sandbox, store, "hx_new", new_key=True)
        await make(sandbox, store, "hx_new")
        print(f"{sandbox.credits_spent} credits")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "looks.db"))
