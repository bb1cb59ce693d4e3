"""The one task of a session that asks how looks are doing. What to ask is the watchlist's decision."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import partial

from .._api.endpoints import avatar_request, status_request
from .._api.models import Look, LookRef
from .._api.responses import look_from_details, read_avatar, read_status
from .._core.polling import Ask, AskKind, News, Watchlist, is_complete
from .._io.tasks import restarted
from ..errors import AuthenticationError, HooxError, UnexpectedResponse
from .jobs import JobBook
from .rate_limiter import Slot
from .reads import Reads
from .services import Parts

_log = logging.getLogger("hoox_async")
_AT_ONCE = 8  # a hung answer must not keep the others from being asked for


class Watcher:
    """Takes a slot of the quota when a status request is worth it, and lets the book know the news."""

    def __init__(self, parts: Parts, reads: Reads, book: JobBook, watchlist: Watchlist) -> None:
        self._parts = parts
        self._reads = reads
        self._book = book
        self._watchlist = watchlist
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Until cancelled. What the watchlist raises is raised; then it can be run again."""
        while True:
            await self._room.acquire()
            try:
                slot, ask = await self._next()
                self._parts.tasks.background(self._ask(slot, ask), f"hoox-{ask.kind.name.lower()}")
            except BaseException:
                self._room.release()
                raise

    async def _next(self) -> tuple[Slot, Ask]:
        """What to ask for next, and the slot of the quota for it."""
        while True:
            try:
                slot = await self._parts.gate.watch(self._due)
            except AuthenticationError as error:  # the key is refused for good
                self._book.end_all(error)
                continue
            try:
                ask = self._watchlist.take(self._parts.clock.now(), self._parts.gate.busy)
            except BaseException:
                slot.give_back()
                raise
            if ask is not None:
                return slot, ask
            slot.give_back()

    def _due(self, now: float, busy: bool) -> float:
        return self._watchlist.due(now, busy, self._parts.gate.pace(now))

    async def _ask(self, slot: Slot, ask: Ask) -> None:
        try:
            try:
                with slot:  # it goes back also where no request can be made of what is to be asked
                    news = await self._answer(slot, ask)
            except HooxError as error:
                follow = partial(self._failed, ask, error)
            except Exception:
                _log.exception("a status request failed in a way that this library does not know")
                follow = partial(self._failed, ask, UnexpectedResponse("the answer could not be worked on"))
            else:
                follow = partial(self._book.tell, news)
        finally:
            self._room.release()
        try:
            # what is not told to the book or to the watchlist is waited for without an end
            await restarted(follow, "taking in the answer to a status request")
        finally:
            self._parts.gate.kick()

    async def _answer(self, slot: Slot, ask: Ask) -> list[News]:
        if ask.kind is AskKind.GROUP:
            avatar = await self._reads.once(
                slot, avatar_request(ask.avatar_id), lambda response: read_avatar(response, ask.avatar_id)
            )
            known = (details for details in avatar.looks if self._book.known(details.ref) is not None)
            looks = map(look_from_details, known)
            try:
                news = self._watchlist.answered_avatar(ask, avatar, self._parts.clock.now())
            except Exception:
                await self._book.tell(self._riders(looks))  # of those that it took in before it failed
                raise
            return [*news, *self._riders(looks)]
        ref = LookRef(ask.avatar_id, ask.look_id or "")
        look = await self._reads.once(slot, status_request(ref), lambda response: read_status(response, ref))
        try:
            return self._watchlist.answered_look(ask, look, self._parts.clock.now())
        except Exception:
            await self._book.tell(self._riders([look]))
            raise

    async def _failed(self, ask: Ask, error: HooxError) -> None:
        for ref, reason in self._watchlist.failed(ask, error, self._parts.clock.now()):
            self._book.end(ref, reason)
        await self._book.tell(self._watchlist.leftovers())

    def _riders(self, looks: Iterable[Look | None]) -> list[News]:
        """Looks in the answer whose jobs are held, though the watchlist has them no more."""
        found: list[News] = []
        for look in looks:
            job = None if look is None else self._book.known(look.ref)
            if look is None or job is None or job.done or look.ref in self._watchlist:
                continue
            if look.status is not job.last.status:
                found.append(News(look, is_complete(look)))
        return found
