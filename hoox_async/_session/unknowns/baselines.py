"""Which looks an avatar had before this session's first edit of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from copy import copy

from ..._api.models import LookRef
from ..._core.intents.intent import IntentState
from ...errors import HooxError, NotSent, RateLimited, ServerError, SessionClosed, TransportError
from ..reads import Reads
from ..services import SessionServices
from .candidates import suspect

_PAUSES = (1.0, 3.0, 8.0)  # seconds between the tries; each of them is several requests
_LATER = 30.0


class Baselines:
    """Puts the looks of an avatar on record, by one request, once a session."""

    def __init__(self, services: SessionServices, reads: Reads) -> None:
        self._services = services
        self._reads = reads
        self._stand: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def stands(self, avatar_id: str) -> None:
        """The store knows all the looks that it has."""
        self._stand.add(avatar_id)

    def renew(self, avatar_id: str) -> None:
        """Before the avatar's next edit, put its looks on record anew."""
        self._stand.discard(avatar_id)

    async def require(self, avatar_id: str) -> None:
        """Return when the baseline stands.

        Raises `NotSent` where the API has no answer for it, also after retries; what else the request for
        it raises (`NotFound`, `AuthenticationError` …); `StoreError` and `SessionClosed`. A 429 is waited
        for, as a paid request's own would be.
        """
        pauses = iter(_PAUSES)
        while avatar_id not in self._stand:
            try:
                await self._taken(avatar_id)
            except RateLimited:
                continue  # the rate limiter pauses
            except (NotSent, ServerError, TransportError) as error:
                pause = next(pauses, None)
                if pause is None:
                    message = (
                        f"avatar {avatar_id}: its looks could not be read before its first edit ({error})"
                    )
                    raise NotSent(message, retry_after=_LATER) from error
                await asyncio.sleep(pause)

    async def _taken(self, avatar_id: str) -> None:
        """One try, shared by all who wait for it; each gets its own error."""
        task = self._tasks.get(avatar_id)
        if task is None:
            task = self._services.tasks.spawn(self._take(avatar_id), f"hoox-baseline-{avatar_id}")
            self._tasks[avatar_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(avatar_id, None))
        await asyncio.wait((task,))
        if task.cancelled():  # by the session's end: the one who waits here was not cancelled
            raise SessionClosed("the session was closed")
        error = task.exception()
        if error is not None:
            raise copy(error) if isinstance(error, HooxError) else error

    async def _take(self, avatar_id: str) -> None:
        avatar = await self._reads.avatar(avatar_id)
        await self.put_on_record(avatar_id, [look.ref for look in avatar.looks])
        self.stands(avatar_id)

    async def put_on_record(self, avatar_id: str, refs: Iterable[LookRef]) -> None:
        """From now on these are nobody's lost looks; but for people, they are first written down as such.

        Raises `StoreError`.
        """
        store = self._services.store
        known = await store.seen_looks(avatar_id) or frozenset()
        looks = list(refs)
        await self.suspect_all(avatar_id, [ref for ref in looks if ref.look_id not in known])
        await store.add_seen(avatar_id, [ref.look_id for ref in looks])

    async def suspect_all(self, avatar_id: str, refs: Collection[LookRef]) -> None:
        """Write down, for people, that these may be looks of the avatar's unknowns. Raises `StoreError`."""
        store = self._services.store
        for intent in await store.in_states((IntentState.UNKNOWN,)) if refs else ():
            if intent.source is not None and intent.source.avatar_id == avatar_id:
                await suspect(store, intent, refs)
