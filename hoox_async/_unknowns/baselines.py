"""Which looks an avatar had before this session's first edit of it."""

from __future__ import annotations

import asyncio

from .._core.models import Avatar
from .._core.wire import avatar_request, read_avatar
from .._parts import Parts
from .._reads import Reads


class Baselines:
    """Puts the looks of an avatar on record, by one request, once a session."""

    def __init__(self, parts: Parts, reads: Reads) -> None:
        self._parts = parts
        self._reads = reads
        self._stand: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def stands(self, avatar_id: str) -> None:
        """The store knows all the looks that it has."""
        self._stand.add(avatar_id)

    async def require(self, avatar_id: str) -> None:
        """Return when the baseline stands. Raises what the request for it raises, and `StoreError`."""
        if avatar_id in self._stand:
            return
        task = self._tasks.get(avatar_id)
        if task is None:
            task = self._parts.tasks.spawn(self._take(avatar_id), f"hoox-baseline-{avatar_id}")
            self._tasks[avatar_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(avatar_id, None))
        await asyncio.shield(task)

    async def _take(self, avatar_id: str) -> None:
        avatar = await read_of(self._reads, avatar_id)
        await self._parts.store.add_seen(avatar_id, [look.ref.look_id for look in avatar.looks])
        self.stands(avatar_id)


async def read_of(reads: Reads, avatar_id: str) -> Avatar:
    """The avatar and all its looks, by one request. Raises `NotFound`, `ServerError` …"""
    return await reads.read(avatar_request(avatar_id), lambda answer: read_avatar(answer, avatar_id))
