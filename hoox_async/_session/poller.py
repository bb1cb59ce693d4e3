"""The one task of a session that asks how looks are doing. What to ask is the scheduler's decision."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import partial

from .._api.endpoints import avatar_request, status_request
from .._api.models import Look, LookRef
from .._api.responses import look_from_details, read_avatar, read_status
from .._core.polling import LookUpdate, PollKind, PollRequest, PollScheduler, is_complete
from .._io.tasks import restarted
from ..errors import AuthenticationError, HooxError, UnexpectedResponse
from .jobs import JobRegistry
from .rate_limiter import Permit
from .reads import Reads
from .services import SessionServices

_log = logging.getLogger("hoox_async")
_AT_ONCE = 8  # a hung answer must not keep the others from being asked for


class Poller:
    """Takes a permit of the quota when a status request is worth it, and lets the book know the news."""

    def __init__(
        self, services: SessionServices, reads: Reads, registry: JobRegistry, scheduler: PollScheduler
    ) -> None:
        self._services = services
        self._reads = reads
        self._registry = registry
        self._scheduler = scheduler
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Until cancelled. What the scheduler raises is raised; then it can be run again."""
        while True:
            await self._room.acquire()
            try:
                permit, ask = await self._next()
                self._services.tasks.background(self._ask(permit, ask), f"hoox-{ask.kind.name.lower()}")
            except BaseException:
                self._room.release()
                raise

    async def _next(self) -> tuple[Permit, PollRequest]:
        """What to ask for next, and the permit of the quota for it."""
        while True:
            try:
                permit = await self._services.rate_limiter.acquire_for_poller(self._due)
            except AuthenticationError as error:  # the key is refused for good
                self._registry.end_all(error)
                continue
            try:
                ask = self._scheduler.take(self._services.clock.now(), self._services.rate_limiter.busy)
            except BaseException:
                permit.cancel()
                raise
            if ask is not None:
                return permit, ask
            permit.cancel()

    def _due(self, now: float, busy: bool) -> float:
        return self._scheduler.due(now, busy, self._services.rate_limiter.interval(now))

    async def _ask(self, permit: Permit, ask: PollRequest) -> None:
        try:
            try:
                with permit:  # it goes back also where no request can be made of what is to be asked
                    news = await self._answer(permit, ask)
            except HooxError as error:
                follow = partial(self._failed, ask, error)
            except Exception:
                _log.exception("a status request failed in a way that this library does not know")
                follow = partial(self._failed, ask, UnexpectedResponse("the answer could not be worked on"))
            else:
                follow = partial(self._registry.tell, news)
        finally:
            self._room.release()
        try:
            # what is not told to the book or to the scheduler is waited for without an end
            await restarted(follow, "taking in the answer to a status request")
        finally:
            self._services.rate_limiter.wake()

    async def _answer(self, permit: Permit, ask: PollRequest) -> list[LookUpdate]:
        if ask.kind is PollKind.GROUP:
            avatar = await self._reads.once(
                permit, avatar_request(ask.avatar_id), lambda response: read_avatar(response, ask.avatar_id)
            )
            known = (details for details in avatar.looks if self._registry.known(details.ref) is not None)
            looks = map(look_from_details, known)
            try:
                news = self._scheduler.answered_avatar(ask, avatar, self._services.clock.now())
            except Exception:
                await self._registry.tell(self._riders(looks))  # of those that it took in before it failed
                raise
            return [*news, *self._riders(looks)]
        ref = LookRef(ask.avatar_id, ask.look_id or "")
        look = await self._reads.once(
            permit, status_request(ref), lambda response: read_status(response, ref)
        )
        try:
            return self._scheduler.answered_look(ask, look, self._services.clock.now())
        except Exception:
            await self._registry.tell(self._riders([look]))
            raise

    async def _failed(self, ask: PollRequest, error: HooxError) -> None:
        for ref, reason in self._scheduler.failed(ask, error, self._services.clock.now()):
            self._registry.end(ref, reason)
        await self._registry.tell(self._scheduler.leftovers())

    def _riders(self, looks: Iterable[Look | None]) -> list[LookUpdate]:
        """Looks in the answer whose jobs are held, though the scheduler has them no more."""
        found: list[LookUpdate] = []
        for look in looks:
            job = None if look is None else self._registry.known(look.ref)
            if look is None or job is None or job.done or look.ref in self._scheduler:
                continue
            if look.status is not job.last.status:
                found.append(LookUpdate(look, is_complete(look)))
        return found
