"""Reads (requests that cost nothing): each takes a permit, and is retried where that can help."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from .._api.endpoints import (
    WireRequest,
    WireResponse,
    avatar_request,
    list_request,
    look_request,
    status_request,
)
from .._api.models import Avatar, Look, LookDetails, LookRef
from .._api.responses import read_avatar, read_look, read_looks, read_status
from .._core.retry import READ_SECONDS, NoRetry, decide_read
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._io.ledger.ledger import Ledger
from .._io.protocols import Transport
from .._io.tasks import TaskSet
from ..errors import HooxError, NotSent, SessionClosed, StoreError
from ..events import Answered, RequestSent, Retried
from .api_answers import ApiAnswers
from .intents import within
from .rate_limiter import Permit, RateLimiter

_T = TypeVar("_T")
_NO_LOOK = LookRef("probe", "probe")
_log = logging.getLogger("hoox_async")
_MOST_NOTED = 1000  # avatars whose last answer is remembered, so that the store is not asked about it again
_LISTING_PAUSE = 60.0  # seconds in which nothing is written after a write failed


class _Listings:
    """Records which looks full answers about avatars have listed: those are older than the POSTs that follow.

    It writes what is new to this session, in the background: nobody waits for it. What is not
    written is shown as a look of unknown age.
    """

    def __init__(self, clock: Clock, store: Ledger, tasks: TaskSet) -> None:
        self._clock = clock
        self._store = store
        self._tasks = tasks
        self._noted: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._paused_until = -math.inf

    def note(self, avatar: Avatar) -> None:
        """Write the looks of this answer soon. Never raises."""
        look_ids = frozenset(details.ref.look_id for details in avatar.looks)
        noted = self._noted.get(avatar.id)
        is_known = noted is not None and look_ids <= noted
        if is_known or self._tasks.closed or self._clock.now() < self._paused_until:
            return
        self._noted[avatar.id] = look_ids
        self._noted.move_to_end(avatar.id)
        if len(self._noted) > _MOST_NOTED:
            self._noted.popitem(last=False)
        self._tasks.background(self._write(avatar.id, look_ids), "hoox-listing")

    async def _write(self, avatar_id: str, look_ids: frozenset[str]) -> None:
        try:
            await self._store.note_listed(avatar_id, look_ids)
        except StoreError as error:
            self._noted.pop(avatar_id, None)
            if self._clock.now() >= self._paused_until:
                self._paused_until = self._clock.now() + _LISTING_PAUSE
                _log.warning("the looks of %s could not be recorded as listed: %s", avatar_id, error)


class Reads:
    """Sends every read of a session."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Ledger,
        rate_limiter: RateLimiter,
        transport: Transport,
        hooks: Hooks,
        api_answers: ApiAnswers,
        tasks: TaskSet,
    ) -> None:
        self._clock = clock
        self._store = store
        self._rate_limiter = rate_limiter
        self._transport = transport
        self._hooks = hooks
        self._api_answers = api_answers
        self._tasks = tasks
        self._listings = _Listings(clock, store, tasks)

    async def status(self, ref: LookRef) -> Look:
        """The status of one look."""
        return await self.read(
            status_request(ref), lambda answer: read_status(answer, ref), ref.avatar_id, (ref,)
        )

    async def avatar(self, avatar_id: str) -> Avatar:
        """An avatar and all its looks."""
        return await self.read(
            avatar_request(avatar_id), lambda answer: self._listed(avatar_id, answer), avatar_id
        )

    async def avatar_once(self, permit: Permit, avatar_id: str, looks: tuple[LookRef, ...]) -> Avatar:
        """As `avatar`, sent once with this permit. ``looks``: those whose status it asks for."""
        return await self.once(
            permit,
            avatar_request(avatar_id),
            lambda answer: self._listed(avatar_id, answer),
            avatar_id,
            looks,
        )

    def _listed(self, avatar_id: str, response: WireResponse) -> Avatar:
        avatar = read_avatar(response, avatar_id)
        self._listings.note(avatar)
        return avatar

    async def look(self, ref: LookRef) -> LookDetails:
        """One look with all its details."""
        return await self.read(look_request(ref), lambda answer: read_look(answer, ref), ref.avatar_id)

    async def looks(self, filters: Mapping[str, Any]) -> tuple[LookDetails, ...]:
        """The looks of the workspace and of the public catalogue that match the filters."""
        return await self.read(list_request(filters), read_looks)

    async def read(
        self,
        request: WireRequest,
        parse: Callable[[WireResponse], _T],
        avatar_id: str | None = None,
        looks: tuple[LookRef, ...] = (),
    ) -> _T:
        """Send it for a caller, with retries, and parse the answer.

        ``avatar_id``: what it is about. ``looks``: those whose status it asks for.

        Raises what the rate limiter, the transport or ``parse`` raise, and `SessionClosed`.
        """
        rate_limiter, began, attempt = self._rate_limiter, self._clock.now(), 0
        while True:
            attempt += 1
            try:
                permit = await rate_limiter.acquire(since=began, throttle_timeout=READ_SECONDS)
                return await self.once(permit, request, parse, avatar_id, looks)
            except HooxError as error:
                if self._tasks.closed:
                    raise SessionClosed("the session was closed") from None
                elapsed = self._clock.now() - began
                jitter = random.random()  # noqa: S311 - no secret
                is_final = rate_limiter.is_final(error, began, READ_SECONDS)
                decision = decide_read(attempt, error, elapsed, jitter, final=is_final)
                if isinstance(decision, NoRetry):
                    raise
                self._hooks.emit(Retried(request.endpoint, str(error), decision.delay))
                await asyncio.sleep(decision.delay)

    async def probe(self, permit: Permit) -> None:
        """Send a free request with this permit, only to see whether and how the API answers.

        Raises the refusal that it is answered with (`NotFound`, as a rule), and what the transport raises.
        """
        await self.once(permit, status_request(_NO_LOOK), lambda answer: read_status(answer, _NO_LOOK))

    async def once(
        self,
        permit: Permit,
        request: WireRequest,
        parse: Callable[[WireResponse], _T],
        avatar_id: str | None = None,
        looks: tuple[LookRef, ...] = (),
    ) -> _T:
        """Send it once with this permit, and parse the answer. Takes what `read` takes.

        Raises what the transport or ``parse`` raise.
        """
        with self._api_answers.reading(request.endpoint, avatar_id):
            return parse(await self._send(permit, request, looks))

    async def _send(self, permit: Permit, request: WireRequest, looks: tuple[LookRef, ...]) -> WireResponse:
        with permit.start_read():
            with suppress(StoreError):  # a disk that is full or does not answer must not prevent reads
                await within(0.0, self._store.note_sends((self._clock.utc(),)))
            sent_at = self._clock.now()
            self._hooks.emit(RequestSent(request.endpoint, sent_at))
            try:
                response = await self._transport.send(request)
            except NotSent:
                permit.cancel()  # no connection was made: it does not count in the quota
                raise
            self._api_answers.process(permit, response)
        seconds = self._clock.now() - sent_at
        self._hooks.emit(Answered(request.endpoint, response.status, seconds, looks=looks))
        return response
