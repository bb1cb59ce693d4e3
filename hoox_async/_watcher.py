"""The one task of a session that asks how looks are doing. What to ask is the watchlist's decision."""

from __future__ import annotations

import asyncio
import logging

from ._core.codec import look_from_details
from ._core.models import Avatar, LookRef
from ._core.watchlist import Ask, AskKind, News, Watchlist, is_complete
from ._core.wire import avatar_request, read_avatar, read_status, status_request
from ._gate import Slot
from ._jobs.book import JobBook
from ._parts import Parts
from ._reads import Reads
from .errors import AuthenticationError, HooxError, UnexpectedResponse

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
        """Until cancelled."""
        while True:
            await self._room.acquire()
            try:
                slot = await self._parts.gate.watch(self._due)
            except AuthenticationError as error:  # the key is refused for good
                self._room.release()
                self._book.end_all(error)
                continue
            ask = self._watchlist.take(self._parts.clock.now(), self._parts.gate.busy)
            if ask is None:
                slot.give_back()
                self._room.release()
                continue
            self._parts.tasks.spawn(self._ask(slot, ask), f"hoox-{ask.kind.name.lower()}")

    def _due(self, now: float, busy: bool) -> float:
        return self._watchlist.due(now, busy, self._parts.gate.pace(now))

    async def _ask(self, slot: Slot, ask: Ask) -> None:
        try:
            with slot:  # it goes back also where no request can be made of what is to be asked
                news = await self._answer(slot, ask)
        except HooxError as error:
            await self._failed(ask, error)
        except Exception:
            _log.exception("a status request failed in a way that this library does not know")
            await self._failed(ask, UnexpectedResponse("the answer could not be worked on"))
        else:
            await self._book.tell(news)
        finally:
            self._room.release()
            self._parts.gate.kick()

    async def _answer(self, slot: Slot, ask: Ask) -> list[News]:
        if ask.kind is AskKind.GROUP:
            avatar = await self._reads.once(
                slot, avatar_request(ask.avatar_id), lambda response: read_avatar(response, ask.avatar_id)
            )
            return [*self._watchlist.answered_avatar(ask, avatar, self._parts.clock.now()),
                    *self._riders(avatar)]  # fmt: skip
        ref = LookRef(ask.avatar_id, ask.look_id or "")
        look = await self._reads.once(slot, status_request(ref), lambda response: read_status(response, ref))
        return self._watchlist.answered_look(ask, look, self._parts.clock.now())

    async def _failed(self, ask: Ask, error: HooxError) -> None:
        for ref, reason in self._watchlist.failed(ask, error, self._parts.clock.now()):
            self._book.end(ref, reason)
        await self._book.tell(self._watchlist.leftovers())

    def _riders(self, avatar: Avatar) -> list[News]:
        """Looks in the answer whose jobs are held, though nobody waits for them now."""
        found: list[News] = []
        for details in avatar.looks:
            job = self._book.known(details.ref)
            if job is None or job.done or details.ref in self._watchlist:
                continue
            look = look_from_details(details)
            if look is not None and look.status is not job.last.status:
                found.append(News(look, is_complete(look)))
        return found
