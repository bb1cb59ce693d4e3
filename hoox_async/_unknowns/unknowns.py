"""Lost edits: the avatars' lanes, the searches, and who waits for an unknown to be settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from .._core.codec import look_from_details
from .._core.ledger import Accept, Evidence, Intent, IntentState, Retire, Suspect
from .._core.models import Avatar, Look, LookRef
from .._core.orphans import Adopt, KeepLooking, Lanes, LostEdit, judge, search_times
from .._core.requests import LookEdit
from .._core.watchlist import News
from .._gate import Slot
from .._jobs import JobBook
from .._parts import Parts
from .._reads import Reads
from ..errors import HooxError, StoreError
from ..events import LookAccepted
from .baselines import Baselines, read_of

_MORE_SEARCHES = 5
_LONGEST_PAUSE = 300.0


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

    async def recall(self) -> list[Intent]:
        """Shut the lanes of what an earlier process lost in them. Gives all unknowns of the store."""
        intents = await self._parts.store.in_states((IntentState.UNKNOWN,))
        for intent in intents:
            if not self._shut(intent) and self._may_still_show(intent) and intent.source is not None:
                self._spoiled.add(intent.source.avatar_id)
        return intents

    def _may_still_show(self, intent: Intent) -> bool:
        """Whether the look of one that was sent outside of a lane can still come after a baseline."""
        if intent.sent_at is None or intent.retired:
            return False
        timeouts = self._parts.timeouts
        age = (self._parts.clock.utc() - intent.sent_at).total_seconds()
        return age < timeouts.answer + timeouts.search[-1]

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

    def wanted(self, avatar_id: str) -> bool:
        """As `free`; and where the lane is shut, what was lost in it is searched for from now on."""
        if self.free(avatar_id):
            return True
        self.search(avatar_id)
        return False

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
        while not self.wanted(avatar_id):
            self._moved.clear()
            await self._moved.wait()
        await self._baselines.require(avatar_id)

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

    # --- searching

    async def lost(self, intent: Intent) -> None:
        """A paid POST was lost: its lane is shut until it was searched for, or proved otherwise.

        Raises `StoreError`; then nothing is inferred for its avatar any more.
        """
        try:
            found = (await self._parts.store.get((intent.key,))).get(intent.key)
        except StoreError:
            if intent.source is not None:
                self._spoiled.add(intent.source.avatar_id)
            raise
        if found is not None:
            self._shut(found)

    def _shut(self, intent: Intent) -> bool:
        """Whether it is to be searched for: it was lost in a lane, and not yet searched for to the end."""
        in_lane = bool(intent.attempts) and intent.attempts[-1].in_lane
        if self.lanes is None or not in_lane or intent.retired or intent.source is None:
            return False
        self._open[intent.key] = intent
        self.lanes.shut(intent.source.avatar_id)
        return True

    def search(self, avatar_id: str) -> None:
        """Search for what was lost of this avatar, unless that goes on already."""
        lost = [i for i in self._open.values() if i.source and i.source.avatar_id == avatar_id]
        for intent in lost:
            if intent.key not in self._searches:
                task = self._parts.tasks.spawn(self._search(intent), f"hoox-search-{intent.key}")
                self._searches[intent.key] = task

    async def _search(self, intent: Intent) -> None:
        pause = max(self._parts.timeouts.search)
        for at, last in self._times(intent):
            await asyncio.sleep(max(0.0, at - self._parts.clock.now()))
            if await self._searched(intent, last=last):
                return
        for _ in range(_MORE_SEARCHES):  # the last one had no answer
            await asyncio.sleep(pause)
            if await self._searched(intent, last=True):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)
        await self._retire_unseen(intent)

    async def _searched(self, intent: Intent, *, last: bool) -> bool:
        """One search. True when the intent is no longer open, False also where no answer came."""
        try:
            return intent.key not in self._open or await self._look_for(intent, last=last)
        except HooxError:
            return False

    async def _retire_unseen(self, intent: Intent) -> None:
        """The avatar can't be read: nothing will be proved, and nothing more is inferred for it here."""
        if intent.key in self._open and intent.source is not None:
            self._spoiled.add(intent.source.avatar_id)
            with suppress(StoreError):  # the next POST meets that trouble, and stops what there is to stop
                await self._parts.store.advance(intent.key, Retire())
            self.over(intent.key)

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
        answer = await read_of(self._reads, avatar_id)
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
        self.made(accepted)
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
            self._spoiled.add(intent.source.avatar_id)
        task = self._searches.get(intent.key)
        if task is not None:
            task.cancel()
        self.over(intent.key)

    def is_searched(self, intent: Intent) -> bool:
        """Whether a search by lanes can still prove something of it."""
        return intent.key in self._open


def _look_in(avatar: Avatar, ref: LookRef) -> Look | None:
    for details in avatar.looks:
        if details.ref == ref:
            return look_from_details(details)
    return None
