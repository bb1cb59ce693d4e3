"""Waiting for an intent that another process is changing, on a store that several processes share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .._core.intents.intent import Intent


class ChangeWaiters:
    """The tasks that wait until the store has another version of an intent than they have read.

    They are woken by `notify`, which is called with each intent that another process or this one has
    changed. Nothing is read in between: many tasks can wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing is waited for any more, since the session is being closed."""
        return self._closed

    def notify(self, key: str) -> None:
        """Wake those who wait for this key."""
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        """Wake all, for good."""
        self._closed = True
        for key in self._waiting:
            self.notify(key)

    async def wait_changed(
        self, known: Intent, seconds: float, read: Callable[[str], Awaitable[Intent | None]]
    ) -> None:
        """Wait until the store may have another version than ``known``, ``seconds`` at most.

        ``read`` reads an intent from the store. Raises what it raises.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(known.key, set())
        waiting.add(future)
        try:
            # after registering: a change between the caller's reading and this one is not missed
            now = await read(known.key)
            if self._closed or now is None or not now.unchanged_since(known):
                return
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(known.key) is waiting:
                del self._waiting[known.key]
