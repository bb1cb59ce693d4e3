"""The sandbox, and what it remembers between two runs of the app: a store outlives a sandbox."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hoox_async import Event, LookAccepted
from hoox_async.sandbox import Sandbox, Space

log = logging.getLogger(__name__)

API_KEY = "hx_live_" + "5a" * 32  # the sandbox takes no other


class World:
    """A sandbox whose avatars and looks are in a file. ``hear`` is a hook of the session."""

    def __init__(self, path: Path, *, port: int, speed: float) -> None:
        self._path = path
        self.sandbox = Sandbox(port=port, speed=speed, api_key=API_KEY, requests_per_minute=600)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Sandbox]:
        """Run the sandbox. Raises `ConfigurationError` where its port is taken."""
        recall(self.sandbox.space, self._path)
        async with self.sandbox:
            try:
                yield self.sandbox
            finally:
                save(self.sandbox.space, self._path)

    def hear(self, event: Event) -> None:
        """Save when a look was made, so that a crash forgets none."""
        if isinstance(event, LookAccepted):
            save(self.sandbox.space, self._path)


def save(space: Space, path: Path) -> None:
    """Write down the workspace, and the time of its clock."""
    now = asyncio.get_running_loop().time()
    partial = path.with_suffix(".part")
    partial.write_bytes(pickle.dumps((now, space.avatars, space.looks, space.ledger, space.balance)))
    partial.replace(path)


def recall(space: Space, path: Path) -> None:
    """Go on from what was written: looks that were being made are done a little later."""
    if not path.exists():
        return
    try:
        then, space.avatars, space.looks, space.ledger, space.balance = pickle.loads(path.read_bytes())
    except Exception:
        log.warning("%s can't be read: the sandbox starts anew", path.name)
        return
    shift = asyncio.get_running_loop().time() - then
    for look in space.looks.values():
        pending = look.done_at > then
        look.created_at += shift
        look.done_at += shift
        if pending:
            space.generation.schedule_webhook(look)
