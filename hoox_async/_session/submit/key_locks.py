"""Locks by key: one submission at a time holds a key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_KEY_RETRY = 1.0  # seconds


class KeyBusy(Exception):
    """The key was not free in time. ``retry_after``: when to try again, in seconds."""

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class KeyLocks:
    """One lock for each key. An unused lock is removed."""

    def __init__(self) -> None:
        self._locks: dict[str, _CountedLock] = {}

    def is_held(self, key: str) -> bool:
        """Whether somebody holds the key or waits for it."""
        return key in self._locks

    @asynccontextmanager
    async def holding(self, key: str, seconds: float | None = None) -> AsyncIterator[None]:
        """Hold the key inside the block. Raises `KeyBusy` where it is not free within ``seconds``."""
        counted = self._locks.setdefault(key, _CountedLock())
        counted.users += 1
        try:
            await _acquired(counted.lock, seconds)
            try:
                yield
            finally:
                counted.lock.release()
        finally:
            counted.users -= 1
            if not counted.users:
                self._locks.pop(key, None)


class _CountedLock:
    """A lock, and the number of those that hold it or wait for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


async def _acquired(lock: asyncio.Lock, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await lock.acquire()
    except TimeoutError:
        raise KeyBusy("another submission of this key still waits", _KEY_RETRY) from None
