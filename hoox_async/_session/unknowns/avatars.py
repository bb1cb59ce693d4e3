"""Whether an edit of an avatar may be sent, and whether a lost one's look can be inferred.

`ExclusiveAvatars` is for sessions with ``exclusive=True``, `SharedAvatars` for all others: they have the
same methods, and all that is special about ``exclusive`` is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ..._api.requests import ImageAvatar, LookEdit
from ..._core.intents.intent import Intent, IntentState
from ..._core.intents.transitions import EndSearch, IllegalTransition
from ..._core.reconciliation.avatar_locks import AvatarLocks
from ..._core.reconciliation.elimination import (
    LATEST_APPEARANCE,
    attempts_in_doubt,
    may_still_appear,
    prevents_inference,
)
from ..._io.logs import failures_logged
from ...errors import NotSent, SessionClosed
from ..reads import Reads
from ..services import SessionServices
from .baselines import Baselines
from .search import Search

if TYPE_CHECKING:
    from .reconciler import Reconciler


class SharedAvatars:
    """Others may edit the avatars too: edits are sent at any time, and no look of a lost one is inferred."""

    is_exclusive: bool = False

    def __init__(self, services: SessionServices) -> None:
        self._services = services
        self._lost_under_lock: dict[str, list[Intent]] = {}  # by an earlier, exclusive session; by avatar

    async def restore(self, unknowns: Sequence[Intent]) -> None:
        """Load the unknowns of earlier sessions."""
        for intent in unknowns:
            if _can_be_searched(intent) and intent.source is not None:
                self._lost_under_lock.setdefault(intent.source.avatar_id, []).append(intent)

    def avatar_to_lock(self, intent: Intent) -> str | None:
        """The avatar whose lock this intent's sending has to take; None where it takes none."""
        avatar_id = None if intent.source is None else intent.source.avatar_id
        return avatar_id if avatar_id in self._lost_under_lock else None

    async def wait_for_avatar(self, avatar_id: str, _: float | None) -> None:
        """End the searches of an earlier session: after an edit without a lock they could prove nothing."""
        for intent in self._lost_under_lock.get(avatar_id, ()):
            with suppress(IllegalTransition):  # it was settled meanwhile
                await self._services.advance(intent.key, EndSearch())
        self._lost_under_lock.pop(avatar_id, None)

    def lock(self, _: str) -> bool:
        """There are no locks."""
        return True

    def unlock(self, _: str) -> None:
        """There are no locks."""

    def is_unlocked(self, _: str) -> bool:
        """There are no locks."""
        return True

    def ready_for_edit(self, _: str) -> bool:
        """There are no locks."""
        return True

    def on_unlock(self, _: Callable[[], None]) -> Callable[[], None]:
        """There are no locks."""
        return lambda: None

    def close(self) -> None:
        """Nothing waits here."""

    def infers(self, _: Intent) -> bool:
        """Nothing is inferred."""
        return False

    def note_made(self, _: Intent) -> None:
        """Nothing is inferred."""

    async def note_lost(self, _: Intent) -> None:
        """Nothing is searched for."""

    def is_searched(self, _: Intent) -> bool:
        """Nothing is searched for."""
        return False

    def search(self, _: str) -> None:
        """Nothing is searched for."""

    def end_search(self, _: str) -> None:
        """Nothing is searched for."""

    def end_inference(self, _: str) -> None:
        """Nothing is inferred."""


class ExclusiveAvatars:
    """The user has stated that nobody else edits these avatars: edits are serialized, lost ones searched for.

    One edit of an avatar is outstanding at a time, and none is sent while a lost one is searched for. So a
    look that appears then, and was not in the avatar's baseline, can only be the lost edit's.
    """

    is_exclusive: bool = True

    def __init__(self, services: SessionServices, reads: Reads, reconciler: Reconciler) -> None:
        self._services = services
        self._reads = reads
        self._reconciler = reconciler
        self._baselines = Baselines(services, reads)
        self.locks: AvatarLocks = AvatarLocks()
        self._searched: dict[str, Intent] = {}  # lost under a lock, search not ended; by key
        self._searches: dict[str, asyncio.Task[None]] = {}
        self._unsearched: dict[str, set[str]] = {}  # unknowns without a search: keys by avatar
        self._no_inference: set[str] = set()  # avatars for which nothing is inferred in this session any more
        self._unlocked = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._closed = False

    async def restore(self, unknowns: Sequence[Intent]) -> None:
        """Lock the avatars of edits that earlier sessions lost under a lock, until their searches end."""
        for intent in unknowns:
            self._keep_locked(intent)
        for intent in (*unknowns, *await self._abandoned()):
            self._distrust(intent)

    async def _abandoned(self) -> list[Intent]:
        """Intents that the user dropped or sent again, whose attempts may have made an unclaimed look."""
        store = self._services.store
        if not await store.recent_sends(self._services.clock.utc() - LATEST_APPEARANCE):
            return []
        not_abandoned = (IntentState.UNKNOWN, IntentState.SENDING)
        return [i async for i in store.stream() if i.state not in not_abandoned and attempts_in_doubt(i)]

    def _distrust(self, intent: Intent) -> None:
        """Infer nothing for its avatar where its look may still appear and be taken for a lost edit's."""
        if intent.source is None:
            return
        avatar_id, attempts = intent.source.avatar_id, attempts_in_doubt(intent)
        if intent.state is IntentState.UNKNOWN:  # its last attempt is searched for, or ends the inference
            attempts = attempts[:-1]
        if may_still_appear(attempts, self._services.clock.utc()):
            self._no_inference.add(avatar_id)
        self.note_unsearched(intent)

    # --- locks

    def avatar_to_lock(self, intent: Intent) -> str | None:
        """The avatar whose lock this intent's sending has to take; None where it takes none."""
        return None if intent.source is None else intent.source.avatar_id

    def is_unlocked(self, avatar_id: str) -> bool:
        """Whether an edit of this avatar may be sent now."""
        return self.locks.can_acquire(avatar_id)

    def ready_for_edit(self, avatar_id: str) -> bool:
        """As `is_unlocked`. Also starts the searches for the lost edits that keep the avatar locked."""
        if self.is_unlocked(avatar_id):
            return True
        self.search(avatar_id)
        return False

    async def wait_for_avatar(self, avatar_id: str, seconds: float | None) -> None:
        """Wait until an edit of this avatar may be sent and its baseline is taken, ``seconds`` at most.

        Raises `NotSent` when that takes longer or the avatar can't be read, and `SessionClosed`.
        """
        try:
            async with asyncio.timeout(seconds):
                while not self._closed and not self.ready_for_edit(avatar_id):
                    self._unlocked.clear()
                    await self._unlocked.wait()
                if self._closed:
                    raise SessionClosed("the session was closed")
                await self._baselines.require(avatar_id)
        except TimeoutError:
            message = f"avatar {avatar_id} was not free for an edit in time; nothing was sent"
            raise NotSent(message, retry_after=self._services.timeouts.search[0]) from None

    def lock(self, avatar_id: str) -> bool:
        """Take the avatar's lock. False where another edit has taken it since the wait."""
        if not self.locks.can_acquire(avatar_id):
            return False
        self.locks.acquire(avatar_id)
        return True

    def unlock(self, avatar_id: str) -> None:
        """Release the avatar's lock: the outstanding edit has ended."""
        self.locks.release(avatar_id)
        self._notify()

    def on_unlock(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call this whenever an avatar may have been unlocked, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _notify(self) -> None:
        self._unlocked.set()
        for listener in (self._services.rate_limiter.wake, *self._listeners):
            with failures_logged("notifying that an avatar may have been unlocked"):
                listener()

    def close(self) -> None:
        """The session is being closed: every task that waits for an avatar gets `SessionClosed`."""
        self._closed = True
        self._unlocked.set()

    # --- inference

    def infers(self, intent: Intent) -> bool:
        """Whether the look of this intent can be inferred where its POST is lost."""
        return intent.source is not None and self.infers_for(intent.source.avatar_id)

    def infers_for(self, avatar_id: str) -> bool:
        """Whether a look of this avatar can be inferred to be a lost edit's."""
        return avatar_id not in self._no_inference and avatar_id not in self._unsearched

    def end_inference(self, avatar_id: str) -> None:
        """A look of unknown origin may appear: this session infers nothing for the avatar any more."""
        self._no_inference.add(avatar_id)

    def note_made(self, intent: Intent) -> None:
        """An avatar that this session created has only looks of this session: it needs no baseline.

        One from several images does: the API may make a look of each, and its answer names one of them.
        """
        request = intent.request
        if isinstance(request, LookEdit) or (
            isinstance(request, ImageAvatar) and len(request.image_urls) > 1
        ):
            return
        if intent.ref is not None:
            self._baselines.mark_taken(intent.ref.avatar_id)

    def note_unsearched(self, intent: Intent) -> None:
        """If it is an unknown without a search: infer nothing for its avatar until it is settled."""
        if intent.source is not None and prevents_inference(intent, searched=intent.key in self._searched):
            self._unsearched.setdefault(intent.source.avatar_id, set()).add(intent.key)

    # --- searches

    async def note_lost(self, intent: Intent) -> None:
        """Its POST was lost: its avatar stays locked until the search has ended or its look is known.

        Raises what the store raises; then nothing more is inferred for its avatar.
        """
        try:
            found = (await self._services.store.get((intent.key,))).get(intent.key)
        except Exception:
            if intent.source is not None:
                self.end_inference(intent.source.avatar_id)
            raise
        if found is not None:
            self._keep_locked(found)
            self.note_unsearched(found)

    def _keep_locked(self, intent: Intent) -> None:
        if intent.source is not None and _can_be_searched(intent):
            self._searched[intent.key] = intent
            self.locks.close(intent.source.avatar_id)

    def is_searched(self, intent: Intent) -> bool:
        """Whether a search can still find its look."""
        return intent.key in self._searched

    def search(self, avatar_id: str) -> None:
        """Start the searches for the lost edits of this avatar that are not running yet."""
        for intent in self._searched.values():
            if intent.avatar_id == avatar_id and intent.key not in self._searches:
                search = Search(self._services, self._reads, self, self._baselines, self._reconciler, intent)
                task = self._services.tasks.background(search.run(), f"hoox-search-{intent.key}")
                self._searches[intent.key] = task

    def end_search(self, key: str) -> None:
        """End its search, and unlock its avatar unless another edit keeps it locked."""
        self._resume_inference(key)
        intent = self._searched.pop(key, None)
        task = self._searches.pop(key, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        if intent is not None and intent.source is not None:
            self.locks.reopen(intent.source.avatar_id)
            self._notify()

    def _resume_inference(self, key: str) -> None:
        """If it prevented inference for its avatar, allow that again, with a new baseline."""
        for avatar_id, keys in tuple(self._unsearched.items()):
            if key in keys:
                keys.remove(key)
                if not keys:
                    del self._unsearched[avatar_id]
                if self.infers_for(avatar_id):
                    self._baselines.renew(avatar_id)


def _can_be_searched(intent: Intent) -> bool:
    """Whether it was lost under its avatar's lock and its search has not ended."""
    in_doubt = intent.state.in_doubt and not intent.search_ended
    return in_doubt and bool(intent.attempts) and intent.attempts[-1].under_lock
