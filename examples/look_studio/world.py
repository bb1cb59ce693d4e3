"""A sandbox whose looks are kept in a file between two runs of the app, as the session's store is."""

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


class PersistentSandbox:
    """A sandbox that saves its avatars and looks in a file. ``on_event`` is to be a hook of the session.

    It keeps the port of its first run, and ``port`` is for that: a store belongs to one address.
    """

    def __init__(self, path: Path, *, port: int, speed: float) -> None:
        self._path = path
        self._port_file = path.with_suffix(".port")
        self._port = int(self._port_file.read_text()) if self._port_file.exists() else port
        self.sandbox = Sandbox(port=self._port, speed=speed, api_key=API_KEY, requests_per_minute=600)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Sandbox]:
        """Run the sandbox. Raises `ConfigurationError` if its port is not free."""
        restore(self.sandbox.space, self._path)
        async with self.sandbox:
            self._port_file.write_text(str(self._port))
            try:
                yield self.sandbox
            finally:
                save(self.sandbox.space, self._path)

    def on_event(self, event: Event) -> None:
        """Save after each accepted look, so that a crash loses none."""
        if isinstance(event, LookAccepted):
            save(self.sandbox.space, self._path)


def save(space: Space, path: Path) -> None:
    """Save the workspace, and the time of its clock."""
    now = asyncio.get_running_loop().time()
    partial = path.with_suffix(".part")
    partial.write_bytes(pickle.dumps((now, space.avatars, space.looks, space.ledger, space.balance)))
    partial.replace(path)


def restore(space: Space, path: Path) -> None:
    """Load the saved workspace. Looks that were pending get the rest of their time."""
    if not path.exists():
        return
    try:
        then, space.avatars, space.looks, space.ledger, space.balance = pickle.loads(path.read_bytes())
    except Exception:
        log.warning("%s cannot be read: the sandbox starts empty", path.name)
        return
    shift = asyncio.get_running_loop().time() - then
    for look in space.looks.values():
        pending = look.done_at > then
        look.created_at += shift
        look.done_at += shift
        if pending:
            space.generation.schedule_webhook(look)
