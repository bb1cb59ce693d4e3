"""Lost edits: the avatars' locks, who searches for them, and who waits for an unknown to be settled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ..._api.models import Look, LookRef
from ..._api.requests import LookEdit
from ..._core.intents.intent import Evidence, Intent, IntentState
from ..._core.intents.transitions import Correct, EndSearch, IllegalTransition
from ..._core.polling import LookUpdate, is_complete
from ..._core.reconciliation.avatar_locks import AvatarLocks
from ..._core.reconciliation.elimination import LATEST_SHOW, doubtful, ends_inference, may_still_show
from ..._io.logs import failures_logged
from ...errors import NotSent, SessionClosed
from ..jobs import JobRegistry
from ..reads import Reads
from ..services import SessionServices
from .baselines import Baselines
from .search import Search


class Unknowns:
    """Keeps the avatars' locks, and knows who waits for an unknown to be settled."""

    def __init__(
        self, services: SessionServices, reads: Reads, registry: JobRegistry, *, exclusive: bool
    ) -> None:
        self._services = services
        self._reads = reads
        self._registry = registry
        self.avatar_locks = AvatarLocks() if exclusive else None
        self._open: dict[str, Intent] = {}  # lost in an avatar lock and not searched to the end, by key
        self._searches: dict[str, asyncio.Task[None]] = {}
        self._baselines = Baselines(services, reads)
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._moved = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._spoiled: set[str] = set()
        self._unsearched: dict[str, set[str]] = {}  # unknowns that nobody searches for: keys by avatar
        self._older: dict[str, list[Intent]] = {}  # of an exclusive session, by avatar; this one is none
        self._closed = False

    async def recall(self) -> list[Intent]:
        """Shut the avatar locks of what an earlier process lost in them. Gives all unknowns of the store."""
        unknowns = await self._services.store.in_states((IntentState.UNKNOWN,))
        if self.avatar_locks is None:
            for intent in unknowns:
                if _lost_in_lane(intent) and intent.source is not None:
                    self._older.setdefault(intent.source.avatar_id, []).append(intent)
            return unknowns
        for intent in unknowns:
            self._shut(intent)
        for intent in (*unknowns, *await self._given_up()):
            self._beware_of(intent)
        return unknowns

    async def _given_up(self) -> list[Intent]:
        """What was dropped or sent again by the user's word, where a look of that time may still show up."""
        store = self._services.store
        if not await store.recent_sends(self._services.clock.utc() - LATEST_SHOW):
            return []
        given_up = (IntentState.UNKNOWN, IntentState.SENDING)
        return [i async for i in store.stream() if i.state not in given_up and doubtful(i)]

    def _beware_of(self, intent: Intent) -> None:
        """Its look may show up beside that of one lost in an avatar lock, or long after a baseline was
        taken."""
        if intent.source is None:
            return
        avatar_id, attempts = intent.source.avatar_id, doubtful(intent)
        if intent.state is IntentState.UNKNOWN:  # its last attempt is searched for, or ends the inference
            attempts = attempts[:-1]
        if may_still_show(attempts, self._services.clock.utc()):
            self._spoiled.add(avatar_id)
        self._note_unsearched(intent)

    def _note_unsearched(self, intent: Intent) -> None:
        """Infer nothing for its avatar until it is resolved, where it is an unknown without a search."""
        if self.avatar_locks is None or intent.source is None:
            return
        if ends_inference(intent, searched=intent.key in self._open):
            self._unsearched.setdefault(intent.source.avatar_id, set()).add(intent.key)

    def _infers(self, avatar_id: str) -> bool:
        """Whether a look of this avatar can be told by elimination."""
        return avatar_id not in self._spoiled and avatar_id not in self._unsearched

    # --- avatar locks

    def locked_avatar_of(self, intent: Intent) -> str | None:
        """The avatar whose avatar lock this intent has to pass; None where it passes none."""
        if intent.source is None:
            return None
        avatar_id = intent.source.avatar_id
        return None if self.avatar_locks is None and avatar_id not in self._older else avatar_id

    def proves(self, intent: Intent) -> bool:
        """Whether a look that this intent leaves behind could be told by elimination."""
        avatar_id = self.locked_avatar_of(intent)
        return self.avatar_locks is not None and avatar_id is not None and self._infers(avatar_id)

    def free(self, avatar_id: str) -> bool:
        """Whether an edit of this avatar may be sent now."""
        return self.avatar_locks is None or self.avatar_locks.free(avatar_id)

    def wanted(self, avatar_id: str) -> bool:
        """As `free`; and where the avatar lock is shut, what was lost in it is searched for from now on."""
        if self.free(avatar_id):
            return True
        self.search(avatar_id)
        return False

    async def wait_for_avatar(self, avatar_id: str, seconds: float | None) -> None:
        """Wait until an edit of this avatar may be sent, ``seconds`` at most.

        Raises `NotSent` when that takes longer, or where the avatar's looks can't be read, and
        `SessionClosed`.
        """
        if self.avatar_locks is None:
            await self._retire_older(avatar_id)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wait_for_avatar(avatar_id)
        except TimeoutError:
            message = f"no edit of avatar {avatar_id} could go out in time; nothing was sent"
            raise NotSent(message, retry_after=self._services.timeouts.search[0]) from None

    def lock_avatar(self, avatar_id: str) -> bool:
        """Take the avatar's lock. False where another edit was faster since the wait."""
        if self.avatar_locks is None:
            return True
        if not self.avatar_locks.free(avatar_id):
            return False
        self.avatar_locks.enter(avatar_id)
        return True

    async def _wait_for_avatar(self, avatar_id: str) -> None:
        while not self._closed and not self.wanted(avatar_id):
            self._moved.clear()
            await self._moved.wait()
        if self._closed:
            raise SessionClosed("the session was closed")
        await self._baselines.require(avatar_id)

    async def _retire_older(self, avatar_id: str) -> None:
        """An edit outside of avatar locks goes out: what an exclusive session lost earlier is proved no
        more."""
        for intent in self._older.get(avatar_id, ()):
            with suppress(IllegalTransition):  # it was settled meanwhile
                await self._services.store.advance(intent.key, EndSearch())
        self._older.pop(avatar_id, None)

    def made(self, intent: Intent) -> None:
        """An avatar that this session made has no looks but its own: it needs no baseline."""
        if (
            self.avatar_locks is not None
            and intent.ref is not None
            and not isinstance(intent.request, LookEdit)
        ):
            self._baselines.stands(intent.ref.avatar_id)

    def unlock_avatar(self, avatar_id: str) -> None:
        """Release the avatar's lock: the edit outstanding is over."""
        if self.avatar_locks is not None:
            self.avatar_locks.leave(avatar_id)
            self._move()

    def _move(self) -> None:
        self._moved.set()
        for listener in (self._services.rate_limiter.wake, *self._listeners):
            with failures_logged("telling that an avatar's lock may have opened"):
                listener()

    def on_move(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call this whenever an avatar lock may have opened, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        """Who waits for an avatar lock is told that the session was closed."""
        self._closed = True
        self._moved.set()

    # --- searching

    async def lost(self, intent: Intent) -> None:
        """A paid POST was lost: its avatar's lock is shut until it was searched for, or proved otherwise.

        Raises what the store raises; then nothing is inferred for its avatar any more.
        """
        try:
            found = (await self._services.store.get((intent.key,))).get(intent.key)
        except Exception:
            if intent.source is not None:
                self.spoil(intent.source.avatar_id)
            raise
        if found is not None:
            self._shut(found)
            self._note_unsearched(found)

    def _shut(self, intent: Intent) -> None:
        """Shut its avatar's lock, where it was lost in one and not yet searched for to the end."""
        if self.avatar_locks is not None and intent.source is not None and _lost_in_lane(intent):
            self._open[intent.key] = intent
            self.avatar_locks.shut(intent.source.avatar_id)

    def search(self, avatar_id: str) -> None:
        """Search for what was lost of this avatar, unless that goes on already."""
        if self.avatar_locks is None:
            return
        for intent in self._open.values():
            if intent.avatar_id == avatar_id and intent.key not in self._searches:
                search = Search(self._services, self._reads, self.avatar_locks, self._baselines, self, intent)
                task = self._services.tasks.background(search.run(), f"hoox-search-{intent.key}")
                self._searches[intent.key] = task

    def is_searched(self, intent: Intent) -> bool:
        """Whether a search by avatar locks can still prove something of it."""
        return intent.key in self._open

    def is_contested(self, intent: Intent) -> bool:
        """Whether looks that nobody searches for may show up beside its own."""
        return intent.source is not None and not self._infers(intent.source.avatar_id)

    def spoil(self, avatar_id: str) -> None:
        """A look of unknown origin may show up: nothing is inferred for this avatar any more."""
        self._spoiled.add(avatar_id)

    async def prove(
        self, intent: Intent, ref: LookRef, evidence: Evidence, look: Look | None = None
    ) -> Intent:
        """The unknown's look is known now. Raises `StoreError`, and `IllegalTransition` where it has
        moved on."""
        accepted = await self._services.accept(intent.key, ref, evidence, since=intent)
        if evidence is not Evidence.USER:  # the user's word does not say that the avatar has no other looks
            self.made(accepted)
        await self._tell_settled(accepted, look)
        self.over(intent.key)
        return accepted

    async def correct(self, intent: Intent, ref: LookRef, look: Look | None = None) -> Intent:
        """By the user's word its look is another than the one that the user named before.

        Raises `StoreError`, and `IllegalTransition` where it has moved on, or `LookTaken`. The look that
        was named
        before may be another unknown's.
        """
        step = Correct(ref, self._services.clock.utc())
        corrected = await self._services.store.advance(intent.key, step)  # it says by itself what must hold
        if intent.ref is not None:
            self._registry.disown(intent.ref)
            await self._baselines.suspect_all(intent.ref.avatar_id, [intent.ref])
        await self._tell_settled(corrected, look)
        return corrected

    async def _tell_settled(self, accepted: Intent, look: Look | None) -> None:
        self._registry.follow(accepted)
        job = self._registry.job_of(accepted)  # held until it is written down
        if look is not None and look.status.settled:
            await self._registry.tell([LookUpdate(look, is_complete(look))])
        del job

    def retired(self, intent: Intent) -> None:
        """Its search ended without a find: nothing is inferred for its avatar until it is resolved."""
        self.over(intent.key)
        self._note_unsearched(intent)

    def over(self, key: str) -> None:
        """The intent is no longer to be searched for: proved, retired, dropped or to be sent again."""
        self._resolved(key)
        intent = self._open.pop(key, None)
        task = self._searches.pop(key, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        if intent is not None and intent.source is not None and self.avatar_locks is not None:
            self.avatar_locks.reopen(intent.source.avatar_id)
            self._move()
        for future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_result(None)

    def _resolved(self, key: str) -> None:
        """Where it ended the inference for its avatar, that goes on, from a baseline that is taken anew."""
        for avatar_id, keys in tuple(self._unsearched.items()):
            if key in keys:
                keys.remove(key)
                if not keys:
                    del self._unsearched[avatar_id]
                if self._infers(avatar_id):
                    self._baselines.renew(avatar_id)

    async def settled(self, intent: Intent, seconds: float) -> None:
        """Wait until the unknown is settled or retired, ``seconds`` at most."""
        if intent.key in self._open and intent.source is not None:
            self.search(intent.source.avatar_id)
        future: asyncio.Future[None] = self._services.clock.loop.create_future()
        waiting = self._waiting.setdefault(intent.key, [])
        waiting.append(future)
        try:
            now = (await self._services.store.get((intent.key,))).get(intent.key, intent)
            if now.state is not IntentState.UNKNOWN or now.retired:
                return
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return
        finally:
            waiting.remove(future)
            if not waiting and self._waiting.get(intent.key) is waiting:
                del self._waiting[intent.key]

    def give_up(self, intent: Intent) -> None:
        """By the user's word it is dropped or sent again, though its look may still show up.

        Such a look would be taken for the next lost one's: nothing is inferred for this avatar any more in
        this session, nor in a later one before a day has passed.
        """
        if intent.source is not None:
            self.spoil(intent.source.avatar_id)
        self.over(intent.key)


def _lost_in_lane(intent: Intent) -> bool:
    """Whether it can be searched for: it was lost in an avatar lock, and not yet searched for to the end."""
    in_doubt = intent.state.in_doubt and not intent.retired
    return in_doubt and bool(intent.attempts) and intent.attempts[-1].in_lane
