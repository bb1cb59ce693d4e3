"""Which looks an avatar had before this session's first edit of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from copy import copy

from ..._api.models import LookRef
from ...errors import HooxError, NotSent, ServerError, SessionClosed, TransportError
from ..reads import Reads
from ..services import SessionServices
from .candidates import add_candidates_of_avatar

_PAUSES = (1.0, 3.0, 8.0)  # seconds between the tries; each of them is several requests
_LATER = 30.0


class Baselines:
    """Records which looks an avatar has, by one request, once a session."""

    def __init__(self, services: SessionServices, reads: Reads) -> None:
        self._services = services
        self._reads = reads
        self._taken: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def mark_taken(self, avatar_id: str) -> None:
        """The store has all the looks of this avatar."""
        self._taken.add(avatar_id)

    def renew(self, avatar_id: str) -> None:
        """Take the avatar's baseline again before its next edit."""
        self._taken.discard(avatar_id)

    async def require(self, avatar_id: str) -> None:
        """Wait until the baseline is taken.

        Raises `NotSent` if the API does not answer, also after retries; any other error of the request
        (`NotFound`, `AuthenticationError`, `RateLimited` after two minutes of nothing but 429 …);
        `StoreError` and `SessionClosed`.
        """
        pauses = iter(_PAUSES)
        while avatar_id not in self._taken:
            try:
                await self._take_shared(avatar_id)
            except (NotSent, ServerError, TransportError) as error:
                pause = next(pauses, None)
                if pause is None:
                    message = (
                        f"avatar {avatar_id}: its looks could not be read before its first edit ({error})"
                    )
                    raise NotSent(message, retry_after=_LATER) from error
                await asyncio.sleep(pause)

    async def _take_shared(self, avatar_id: str) -> None:
        """One try, shared by all waiting callers; each gets a copy of its error."""
        task = self._tasks.get(avatar_id)
        if task is None:
            task = self._services.tasks.spawn(self._take(avatar_id), f"hoox-baseline-{avatar_id}")
            self._tasks[avatar_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(avatar_id, None))
        await asyncio.wait((task,))
        if task.cancelled():  # by the session's end: the caller was not cancelled
            raise SessionClosed("the session was closed")
        error = task.exception()
        if error is not None:
            raise copy(error) if isinstance(error, HooxError) else error

    async def _take(self, avatar_id: str) -> None:
        avatar = await self._reads.avatar(avatar_id)
        await self.add(avatar_id, [look.ref for look in avatar.looks])
        self.mark_taken(avatar_id)

    async def add(self, avatar_id: str, refs: Iterable[LookRef]) -> None:
        """Add looks to the baseline: no lost edit is inferred to have made them.

        Before that they become candidates of the avatar's unknowns, for people to choose from.

        Raises `StoreError`.
        """
        store = self._services.store
        known = await store.seen_looks(avatar_id) or frozenset()
        looks = list(refs)
        new = [ref for ref in looks if ref.look_id not in known]
        await add_candidates_of_avatar(self._services, avatar_id, new)
        await store.add_seen(avatar_id, [ref.look_id for ref in looks])
