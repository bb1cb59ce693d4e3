"""Intents whose fate is not known: listed, searched for by lanes, and settled by proof or the user's word."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import attrs

from ._core.codec import look_from_details
from ._core.ledger import Accept, Evidence, Intent, IntentState, Retire, Suspect
from ._core.models import Avatar, Look, LookRef
from ._core.orphans import Adopt, KeepLooking, Lanes, LostEdit, candidates, judge, search_times
from ._core.requests import LookEdit, Request
from ._core.watchlist import News
from ._core.wire import avatar_request, read_avatar
from ._gate import Slot
from ._jobs import JobBook
from ._parts import Parts
from ._reads import Reads
from .errors import HooxError
from .events import LookAccepted


@attrs.frozen
class Unknown:
    """A paid request whose fate is not known. ``candidates`` are looks that may be its own."""

    key: str
    request: Request
    sent_at: datetime | None
    candidates: tuple[LookRef, ...]


class Unknowns:
    """Keeps the avatars' lanes, and knows who waits for an unknown to be settled."""

    def __init__(self, parts: Parts, reads: Reads, book: JobBook, *, exclusive: bool) -> None:
        self._parts = parts
        self._reads = reads
        self._book = book
        self.lanes = Lanes() if exclusive else None
        self._open: dict[str, Intent] = {}  # lost in a lane and not searched to the end, by key
        self._searches: dict[str, asyncio.Task[None]] = {}
        self._baselines: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._moved = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._spoiled: set[str] = set()

    async def recall(self) -> list[Intent]:
        """Shut the lanes of what an earlier process lost in them. Gives all unknowns of the store."""
        intents = await self._parts.store.in_states((IntentState.UNKNOWN,))
        for intent in intents:
            self._shut(intent)
        return intents

    # --- lanes

    def lane_of(self, intent: Intent) -> str | None:
        """The avatar whose lane this intent has to pass; None where it passes none."""
        if self.lanes is None or intent.source is None:
            return None
        return intent.source.avatar_id

    def proves(self, intent: Intent) -> bool:
        """Whether a look that this intent leaves behind could be told by elimination."""
        avatar_id = self.lane_of(intent)
        return avatar_id is not None and avatar_id not in self._spoiled

    def free(self, avatar_id: str) -> bool:
        """Whether an edit of this avatar may be sent now."""
        return self.lanes is None or self.lanes.free(avatar_id)

    async def enter_lane(self, avatar_id: str, take_slot: Callable[[], Awaitable[Slot]]) -> Slot:
        """A slot of the quota, together with the avatar's lane. Nothing is held while it waits."""
        assert self.lanes is not None
        while True:
            await self._open_lane(avatar_id)
            slot = await take_slot()
            if self.lanes.free(avatar_id):
                self.lanes.enter(avatar_id)
                return slot
            slot.give_back()

    async def _open_lane(self, avatar_id: str) -> None:
        while not self.free(avatar_id):
            self.search(avatar_id)
            self._moved.clear()
            await self._moved.wait()
        await self.baseline(avatar_id)

    async def baseline(self, avatar_id: str) -> None:
        """Put on record which looks the avatar has, once a session and before its first edit."""
        if self.lanes is None:
            return
        task = self._baselines.get(avatar_id)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._parts.tasks.spawn(self._take_baseline(avatar_id), f"hoox-baseline-{avatar_id}")
            self._baselines[avatar_id] = task
        if not task.done():
            await asyncio.shield(task)

    async def _take_baseline(self, avatar_id: str) -> None:
        avatar = await self._avatar(avatar_id)
        await self._parts.store.add_seen(avatar_id, [look.ref.look_id for look in avatar.looks])

    def created(self, avatar_id: str) -> None:
        """This session made the avatar, so that it needs no baseline."""
        if self.lanes is not None:
            done = self._parts.tasks.spawn(self._parts.store.add_seen(avatar_id, ()), "hoox-baseline")
            self._baselines[avatar_id] = done

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

    # --- searching

    async def lost(self, intent: Intent) -> None:
        """A paid POST was lost: its lane is shut until it was searched for, or proved otherwise."""
        found = (await self._parts.store.get((intent.key,))).get(intent.key)
        if found is not None:
            self._shut(found)

    def _shut(self, intent: Intent) -> None:
        in_lane = bool(intent.attempts) and intent.attempts[-1].in_lane
        if self.lanes is not None and in_lane and not intent.retired and intent.source is not None:
            self._open[intent.key] = intent
            self.lanes.shut(intent.source.avatar_id)

    def search(self, avatar_id: str) -> None:
        """Search for what was lost of this avatar, unless that goes on already."""
        lost = [i for i in self._open.values() if i.source and i.source.avatar_id == avatar_id]
        for intent in lost:
            if intent.key not in self._searches:
                task = self._parts.tasks.spawn(self._search(intent), f"hoox-search-{intent.key}")
                self._searches[intent.key] = task

    async def _search(self, intent: Intent) -> None:
        for at, last in self._times(intent):
            await asyncio.sleep(max(0.0, at - self._parts.clock.now()))
            try:
                if intent.key not in self._open or await self._look_for(intent, last=last):
                    return
            except HooxError:
                continue  # after the last one the lane stays shut: without an answer nothing is proved

    def _times(self, intent: Intent) -> list[tuple[float, bool]]:
        clock, timeouts = self._parts.clock, self._parts.timeouts
        sent_at = clock.to_loop(intent.attempts[-1].sent_at)
        lost_at = sent_at if intent.lost_at is None else clock.to_loop(intent.lost_at)
        times = [lost_at + t for t in search_times(lost_at, sent_at, timeouts.answer, timeouts.search)]
        ahead = [t for t in times if t > clock.now()] or [clock.now()]
        return [(t, t == ahead[-1]) for t in ahead]

    async def _look_for(self, intent: Intent, *, last: bool) -> bool:
        """One search. True when the intent is no longer open."""
        assert self.lanes is not None
        assert intent.source is not None
        avatar_id = intent.source.avatar_id
        mark = self.lanes.mark(avatar_id)
        answer = await self._avatar(avatar_id)
        seen = await self._parts.store.seen_looks(avatar_id)
        request = intent.request
        form = request.format if isinstance(request, LookEdit) else None
        verdict = judge(
            LostEdit(avatar_id, form),
            seen or frozenset(),
            answer,
            answer_is_clean=seen is not None and self.lanes.clean(avatar_id, mark),
            last=last,
            rivals=self.lanes.lost(avatar_id) - 1,
        )
        if isinstance(verdict, KeepLooking) or intent.key not in self._open:
            return intent.key not in self._open
        if isinstance(verdict, Adopt):
            await self.prove(intent, verdict.ref, Evidence.INFERRED, _look_in(answer, verdict.ref))
            return True
        # what was seen joins the baseline first: from then on it is nobody's lost look
        await self._parts.store.add_seen(avatar_id, [ref.look_id for ref in verdict.candidates])
        await self._parts.store.advance(intent.key, Retire(), Suspect(verdict.candidates))
        self.over(intent.key)
        return True

    async def prove(
        self, intent: Intent, ref: LookRef, evidence: Evidence, look: Look | None = None
    ) -> Intent:
        """The unknown's look is known now."""
        accepted = await self._parts.store.advance(intent.key, Accept(ref, self._parts.clock.utc(), evidence))
        self._parts.hooks.tell(
            LookAccepted(accepted.key, ref, accepted.credits, evidence, metadata=accepted.request.metadata)
        )
        job = self._book.job_of(accepted)
        if look is not None and look.status.settled:
            complete = bool(look.thumbnail_url or look.error)
            await self._book.tell([News(look, complete)])
        self.over(intent.key)
        del job
        return accepted

    def over(self, key: str) -> None:
        """The intent is no longer to be searched for: proved, retired, dropped or to be sent again."""
        intent = self._open.pop(key, None)
        self._searches.pop(key, None)
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
        self._waiting.setdefault(intent.key, []).append(future)
        try:
            now = (await self._parts.store.get((intent.key,))).get(intent.key, intent)
            if now.state is not IntentState.UNKNOWN or now.retired:
                return
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return
        finally:
            waiting = self._waiting.get(intent.key, [])
            if future in waiting:
                waiting.remove(future)

    def give_up(self, intent: Intent) -> None:
        """By the user's word it is no longer searched for, though its look may still show up.

        Such a look would be taken for the next lost one's: nothing is inferred for this avatar any more.
        """
        if intent.key in self._open and intent.source is not None:
            self._spoiled.add(intent.source.avatar_id)
        task = self._searches.get(intent.key)
        if task is not None:
            task.cancel()
        self.over(intent.key)

    def is_searched(self, intent: Intent) -> bool:
        """Whether a search by lanes can still prove something of it."""
        return intent.key in self._open

    # --- for people

    async def listed(self) -> list[Unknown]:
        """All unknowns, with the looks that may be theirs: one request for each avatar concerned."""
        avatars: dict[str, Avatar | None] = {}
        found: list[Unknown] = []
        for intent in await self._parts.store.in_states((IntentState.UNKNOWN,)):
            refs = intent.candidates or await self._candidates(intent, avatars)
            if refs and refs != intent.candidates:
                await self._parts.store.advance(intent.key, Suspect(refs))
            found.append(Unknown(intent.key, intent.request, intent.sent_at, refs))
        return found

    async def _candidates(self, intent: Intent, avatars: dict[str, Avatar | None]) -> tuple[LookRef, ...]:
        if intent.source is None:
            return ()
        avatar_id = intent.source.avatar_id
        if avatar_id not in avatars:
            try:
                avatars[avatar_id] = await self._avatar(avatar_id)
            except HooxError:
                avatars[avatar_id] = None
        avatar = avatars[avatar_id]
        if avatar is None:
            return ()
        seen = await self._parts.store.seen_looks(avatar_id) or frozenset()
        refs = [ref for ref in candidates(seen, avatar) if ref != intent.source]
        return tuple([ref for ref in refs if await self._parts.store.by_ref(ref) is None])

    async def _avatar(self, avatar_id: str) -> Avatar:
        return await self._reads.read(
            avatar_request(avatar_id), lambda answer: read_avatar(answer, avatar_id)
        )


def _look_in(avatar: Avatar, ref: LookRef) -> Look | None:
    for details in avatar.looks:
        if details.ref == ref:
            return look_from_details(details)
    return None
