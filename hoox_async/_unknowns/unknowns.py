"""Lost edits: the avatars' lanes, who searches for them, and who waits for an unknown to be settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from .._core.intents import Evidence, Intent, IntentState
from .._core.ledger import IllegalStep, Retire
from .._core.models import Look, LookRef
from .._core.orphans import Lanes, doubtful, may_still_show
from .._core.requests import LookEdit
from .._core.watchlist import News, is_complete
from .._jobs.book import JobBook
from .._parts import Parts
from .._reads import Reads
from .._slot import OwnSlots, Slot
from ..errors import NotSent, SessionClosed
from .baselines import Baselines
from .search import Search


class Unknowns:
    """Keeps the avatars' lanes, and knows who waits for an unknown to be settled."""

    def __init__(self, parts: Parts, reads: Reads, book: JobBook, *, exclusive: bool) -> None:
        self._parts = parts
        self._reads = reads
        self._book = book
        self.lanes = Lanes() if exclusive else None
        self._open: dict[str, Intent] = {}  # lost in a lane and not searched to the end, by key
        self._searches: dict[str, asyncio.Task[None]] = {}
        self._baselines = Baselines(parts, reads)
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._moved = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._spoiled: set[str] = set()
        self._contested: set[str] = set()  # keys
        self._older: dict[str, list[Intent]] = {}  # of an exclusive session, by avatar; this one is none
        self._closed = False

    async def recall(self) -> list[Intent]:
        """Shut the lanes of what an earlier process lost in them. Gives all unknowns of the store."""
        unknowns = await self._parts.store.in_states((IntentState.UNKNOWN,))
        if self.lanes is None:
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
        store, reach = self._parts.store, self._parts.timeouts.answer + self._parts.timeouts.search[-1]
        if not await store.recent_sends(self._parts.clock.utc() - timedelta(seconds=reach)):
            return []
        given_up = (IntentState.UNKNOWN, IntentState.SENDING)
        return [i async for i in store.stream() if i.state not in given_up and doubtful(i)]

    def _beware_of(self, intent: Intent) -> None:
        """Its look may show up beside that of one lost in a lane, or long after a baseline was taken."""
        if intent.source is None:
            return
        avatar_id, searched = intent.source.avatar_id, intent.key in self._open
        attempts = tuple(a for a in doubtful(intent) if not searched or a is not intent.attempts[-1])
        timeouts = self._parts.timeouts
        if may_still_show(attempts, self._parts.clock.utc(), timeouts.answer, timeouts.search):
            self._spoiled.add(avatar_id)
        if not searched and not intent.retired:
            self._contested.update(i.key for i in self._open.values() if i.avatar_id == avatar_id)

    # --- lanes

    def lane_of(self, intent: Intent) -> str | None:
        """The avatar whose lane this intent has to pass; None where it passes none."""
        if intent.source is None:
            return None
        avatar_id = intent.source.avatar_id
        return None if self.lanes is None and avatar_id not in self._older else avatar_id

    def proves(self, intent: Intent) -> bool:
        """Whether a look that this intent leaves behind could be told by elimination."""
        avatar_id = self.lane_of(intent)
        return self.lanes is not None and avatar_id is not None and avatar_id not in self._spoiled

    def free(self, avatar_id: str) -> bool:
        """Whether an edit of this avatar may be sent now."""
        return self.lanes is None or self.lanes.free(avatar_id)

    def wanted(self, avatar_id: str) -> bool:
        """As `free`; and where the lane is shut, what was lost in it is searched for from now on."""
        if self.free(avatar_id):
            return True
        self.search(avatar_id)
        return False

    async def enter_lane(self, avatar_id: str, take_slot: Callable[[], Awaitable[Slot]]) -> Slot:
        """A slot of the quota, together with the avatar's lane. Nothing is held while it waits.

        Raises `NotSent` where that takes longer than the caller's ``max_wait``, and `SessionClosed`.
        """
        if self.lanes is None:
            await self._retire_older(avatar_id)
            return await take_slot()
        while True:
            left = take_slot.left() if isinstance(take_slot, OwnSlots) else None
            try:
                async with asyncio.timeout(left):
                    await self._open_lane(avatar_id)
            except TimeoutError:
                message = f"no edit of avatar {avatar_id} could go out in time; nothing was sent"
                raise NotSent(message, retry_after=self._parts.timeouts.search[0]) from None
            slot = await take_slot()
            if self.lanes.free(avatar_id):
                self.lanes.enter(avatar_id)
                return slot
            slot.give_back()

    async def _open_lane(self, avatar_id: str) -> None:
        while not self._closed and not self.wanted(avatar_id):
            self._moved.clear()
            await self._moved.wait()
        if self._closed:
            raise SessionClosed("the session was closed")
        await self._baselines.require(avatar_id)

    async def _retire_older(self, avatar_id: str) -> None:
        """An edit outside of lanes goes out: what an exclusive session lost earlier is proved no more."""
        for intent in self._older.get(avatar_id, ()):
            with suppress(IllegalStep):  # it was settled meanwhile
                await self._parts.store.advance(intent.key, Retire())
        self._older.pop(avatar_id, None)

    def made(self, intent: Intent) -> None:
        """An avatar that this session made has no looks but its own: it needs no baseline."""
        if self.lanes is not None and intent.ref is not None and not isinstance(intent.request, LookEdit):
            self._baselines.stands(intent.ref.avatar_id)

    def leave_lane(self, intent: Intent) -> None:
        """The edit in the air is over."""
        avatar_id = self.lane_of(intent)
        if avatar_id is not None and self.lanes is not None:
            self.lanes.leave(avatar_id)
            self._move()

    def _move(self) -> None:
        self._moved.set()
        self._parts.gate.kick()
        for listener in tuple(self._listeners):
            listener()

    def on_move(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call this whenever a lane may have opened, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        """Who waits for a lane is told that the session was closed."""
        self._closed = True
        self._moved.set()

    # --- searching

    async def lost(self, intent: Intent) -> None:
        """A paid POST was lost: its lane is shut until it was searched for, or proved otherwise.

        Raises what the store raises; then nothing is inferred for its avatar any more.
        """
        try:
            found = (await self._parts.store.get((intent.key,))).get(intent.key)
        except Exception:
            if intent.source is not None:
                self.spoil(intent.source.avatar_id)
            raise
        if found is not None:
            self._shut(found)

    def _shut(self, intent: Intent) -> None:
        """Shut its lane, where it was lost in one and not yet searched for to the end."""
        if self.lanes is not None and intent.source is not None and _lost_in_lane(intent):
            self._open[intent.key] = intent
            self.lanes.shut(intent.source.avatar_id)

    def search(self, avatar_id: str) -> None:
        """Search for what was lost of this avatar, unless that goes on already."""
        if self.lanes is None:
            return
        for intent in self._open.values():
            if intent.avatar_id == avatar_id and intent.key not in self._searches:
                search = Search(self._parts, self._reads, self.lanes, self._baselines, self, intent)
                task = self._parts.tasks.spawn(search.run(), f"hoox-search-{intent.key}")
                self._searches[intent.key] = task

    def is_searched(self, intent: Intent) -> bool:
        """Whether a search by lanes can still prove something of it."""
        return intent.key in self._open

    def is_contested(self, intent: Intent) -> bool:
        """Whether looks that nobody searches for may show up beside its own."""
        return intent.key in self._contested or intent.avatar_id in self._spoiled

    def spoil(self, avatar_id: str) -> None:
        """A look of unknown origin may show up: nothing is inferred for this avatar any more."""
        self._spoiled.add(avatar_id)

    async def prove(
        self, intent: Intent, ref: LookRef, evidence: Evidence, look: Look | None = None
    ) -> Intent:
        """The unknown's look is known now. Raises `StoreError`, and `IllegalStep` where it has moved on."""
        accepted = await self._parts.accept(intent.key, ref, evidence, since=intent)
        self.made(accepted)
        self._book.follow(accepted)
        job = self._book.job_of(accepted)
        if look is not None and look.status.settled:
            await self._book.tell([News(look, is_complete(look))])
        self.over(intent.key)
        del job
        return accepted

    def over(self, key: str) -> None:
        """The intent is no longer to be searched for: proved, retired, dropped or to be sent again."""
        intent = self._open.pop(key, None)
        task = self._searches.pop(key, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        if intent is not None and intent.source is not None and self.lanes is not None:
            self.lanes.reopen(intent.source.avatar_id)
            self._move()
        for future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_result(None)

    async def settled(self, intent: Intent, seconds: float) -> None:
        """Wait until the unknown is settled or retired, ``seconds`` at most."""
        if intent.key in self._open and intent.source is not None:
            self.search(intent.source.avatar_id)
        future: asyncio.Future[None] = self._parts.clock.loop.create_future()
        waiting = self._waiting.setdefault(intent.key, [])
        waiting.append(future)
        try:
            now = (await self._parts.store.get((intent.key,))).get(intent.key, intent)
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
        """By the user's word it is no longer searched for, though its look may still show up.

        Such a look would be taken for the next lost one's: nothing is inferred for this avatar any more.
        """
        if intent.key in self._open and intent.source is not None:
            self.spoil(intent.source.avatar_id)
        self.over(intent.key)


def _lost_in_lane(intent: Intent) -> bool:
    """Whether it can be searched for: it was lost in a lane, and not yet searched for to the end."""
    in_doubt = intent.state.in_doubt and not intent.retired
    return in_doubt and bool(intent.attempts) and intent.attempts[-1].in_lane
