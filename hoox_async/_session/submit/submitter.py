"""The one way a paid POST goes.

A key is held by one caller at a time, who reads what the store knows of it before each try and decides
then whether anything is to be sent. It waits at the rate limiter in its own task: cancelled there,
nothing was
sent. The POST itself runs in a task of the session's and is awaited through a shield, so that whatever
happens to the caller, its answer is written down. It is sent again only when it surely never left, or when
the API answered 429, or a 401 that was a mistake.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import attrs

from ..._api.endpoints import submit_endpoint
from ..._api.models import LookRef
from ..._api.requests import LookEdit, Request
from ..._core.intents.budget import Budget
from ..._core.intents.intent import Intent, IntentState
from ..._core.intents.keys import digest
from ..._core.intents.send_decision import Decide, SendDecision, decide_resend, decide_single
from ..._core.intents.transitions import Resend
from ..._core.retry import NoRetry, Patience, decide_paid
from ...errors import (
    ApiError,
    AuthenticationError,
    HooxError,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    SessionClosed,
    StoreError,
)
from ...events import Retried
from ..jobs import JobRegistry
from ..rate_limiter import CallerPermits, Permit
from ..services import SessionServices
from ..unknowns import Unknowns
from ..webhook_processor import WebhookProcessor
from .attempt import Posting, Superseded, as_store_error
from .key_locks import KeyBusy, KeyLocks
from .reservation import Purse, SinglePurse

AcquirePermit = Callable[[], Awaitable[Permit]]

_log = logging.getLogger("hoox_async")
_KEY_RETRY = 1.0  # seconds


class SendOptions(NamedTuple):
    """How a caller sends: where its permits come from, how long it tries to connect, and from what purse.

    ``since`` is the loop's time at which the caller began.
    """

    acquire_permit: AcquirePermit
    patience: Patience
    purse: Purse
    since: float


class _Outstanding(NamedTuple):
    """A POST that is on its way, perhaps still connecting."""

    task: asyncio.Task[Intent]
    intent: Intent


class Submitter:
    """Sends intents, each at most once unless it surely cost nothing."""

    def __init__(
        self, services: SessionServices, registry: JobRegistry, unknowns: Unknowns, receiver: WebhookProcessor
    ) -> None:
        self._services = services
        self._unknowns = unknowns
        self._posting = Posting(services, registry, unknowns, receiver)
        self._locks = KeyLocks()
        self._air: dict[str, _Outstanding] = {}

    def plan(self, request: Request, key: str, kept: bool, source: LookRef | None) -> Intent:
        """A new intent, not yet written anywhere."""
        return Intent(key, kept, request, digest(request), self._services.clock.utc(), source=source)

    # --- whole submissions: each holds its key and reads the store under it

    async def submit(
        self, request: Request, key: str | None, budget: Budget | None, max_wait: float | None
    ) -> Intent:
        """A single submission: the intent once it is accepted, or as it stood already."""
        wanted = self.plan(
            request, key or f"once-{secrets.token_hex(12)}", key is not None, _source_of(request)
        )
        permits = CallerPermits(self._services.rate_limiter, max_wait)
        how = SendOptions(permits, Patience.SINGLE, SinglePurse(budget), permits.since)
        at_begin = None if key is None else await self._known(key)
        try:
            return await self.send(wanted, partial(decide_single, wanted, at_begin), how)
        except (ApiError, NotSent):
            if key is None:  # it cost nothing, and nobody can ask for it again
                with suppress(StoreError):
                    await self._services.store.forget(wanted.key)
            raise

    async def resend(self, doubtful: Intent, budget: Budget | None, max_wait: float | None) -> Intent:
        """Send an unknown again by the user's word, unless it is proved before that leaves."""
        permits = CallerPermits(self._services.rate_limiter, max_wait)
        how = SendOptions(permits, Patience.SINGLE, SinglePurse(budget), permits.since)
        return await self.send(doubtful, partial(decide_resend, doubtful), how)

    async def send(self, wanted: Intent, decide: Decide, how: SendOptions) -> Intent:
        """Send what is wanted under its key until it is accepted, refused or lost.

        Holds the key. Before each try ``decide`` says, by what the store knows then, what is to be sent; an
        intent that it gives instead is the result. Raises what became of it otherwise.
        """
        left = how.acquire_permit.left() if isinstance(how.acquire_permit, CallerPermits) else None
        try:
            async with self._locks.holding(wanted.key, left):
                return await self._send(wanted, decide, how)
        except KeyBusy:
            landed = await self.landing(wanted.key)  # what is outstanding is never told as not sent
            decided = None if landed is None else decide(landed)
            if isinstance(decided, Intent):
                return decided
            message = f"{wanted.key}: another submission of this key still waits; this one sent nothing"
            raise NotSent(message, retry_after=_KEY_RETRY) from None

    async def _send(self, wanted: Intent, decide: Decide, how: SendOptions) -> Intent:
        """Try until that leads to something; its caller holds the key."""
        began, connections, denied = self._services.clock.now(), 0, 0
        while True:
            try:
                return await self._try(wanted, decide, how)
            except Superseded:
                continue
            except (NotSent, RateLimited, AuthenticationError) as error:
                connections += isinstance(error, NotSent)
                denied += isinstance(error, AuthenticationError)
                over = self._services.rate_limiter.is_final(error, how.since)
                elapsed = self._services.clock.now() - began
                jitter = random.random()  # noqa: S311 - no secret
                decision = decide_paid(
                    connections, error, elapsed, how.patience, jitter, final=over, denials=denied
                )
                if isinstance(decision, NoRetry):
                    raise
                self._tell_retry(wanted, error, decision.delay)
                await asyncio.sleep(decision.delay)

    async def landing(self, key: str) -> Intent | None:
        """What the POST of this key that is outstanding now comes to, for who holds the key no more.

        None where there is none, or where it surely cost nothing. Raises what became of it otherwise.
        """
        flight = self._air.get(key)
        if flight is None:
            return None
        try:
            return await _shielded(flight.task, key)
        except (NotSent, RateLimited, AuthenticationError, Superseded):
            return None

    def _tell_retry(self, intent: Intent, error: HooxError, delay: float) -> None:
        endpoint = submit_endpoint(intent.request)
        self._services.hooks.emit(Retried(endpoint, type(error).__name__, delay, intent.key))

    # --- one try: its caller holds the key

    async def _try(self, wanted: Intent, decide: Decide, how: SendOptions) -> Intent:
        """Join the POST outstanding, or start one where that is decided."""
        flight = self._air.get(wanted.key)
        if flight is not None and flight.intent.digest != wanted.digest:
            decide(flight.intent)  # raises where other content is a conflict
            await asyncio.wait((flight.task,))
            raise Superseded(wanted.key)
        if flight is not None:
            return await _shielded(flight.task, wanted.key)
        await self._posting.pending.write(wanted.key)
        decided = decide(await self._known(wanted.key))
        if isinstance(decided, Intent):
            return decided
        return await _shielded(await self._start(decided, how), wanted.key)

    async def _known(self, key: str) -> Intent | None:
        try:
            return (await self._services.store.get((key,))).get(key)
        except HooxError:
            raise
        except Exception as error:  # of a user's own store
            raise as_store_error(error) from error

    async def _start(self, order: SendDecision, how: SendOptions) -> asyncio.Task[Intent]:
        """Reserve, take a permit (and the avatar's lock), and let the session's own task send it."""
        intent, purse = order.intent, how.purse
        await purse.reserve(intent.credits)
        try:
            if isinstance(order.instruction, Resend) and order.stored is not None:
                self._unknowns.give_up(order.stored)  # it shuts the very avatar lock that it has to pass
            permit = await self._permit(intent, how.acquire_permit)
            try:
                task = self._services.posts.spawn(
                    self._posting.post(order, permit, purse), f"hoox-post-{intent.key}"
                )
            except SessionClosed:
                permit.cancel()
                self._unknowns.unlock_avatar(intent)
                raise
        except BaseException:
            purse.release(intent.credits, spent=False)
            raise
        self._air[intent.key] = _Outstanding(task, attrs.evolve(intent, state=IntentState.SENDING))
        task.add_done_callback(lambda _: self._air.pop(intent.key, None))
        task.add_done_callback(_log_unexpected)
        return task

    async def _permit(self, intent: Intent, acquire_permit: AcquirePermit) -> Permit:
        avatar_id = self._unknowns.locked_avatar_of(intent)
        if avatar_id is None:
            return await acquire_permit()
        permit = await self._unknowns.lock_avatar(avatar_id, acquire_permit)
        late = self._posting.pending.of_avatar(avatar_id)
        if late is not None:
            permit.cancel()
            self._unknowns.unlock_avatar(intent)
            raise StoreError(f"what became of {late.key} is not written down: {late.error}")
        return permit


def _log_unexpected(post: asyncio.Task[Intent]) -> None:
    """Its caller may be gone by now. What our own errors tell is in the store too; others are a defect's."""
    error = None if post.cancelled() else post.exception()
    if error is not None and not isinstance(error, HooxError | Superseded):
        _log.error("the task %s failed", post.get_name(), exc_info=error)


async def _shielded(running: asyncio.Task[Intent], key: str) -> Intent:
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if running.cancelled() and task is not None and not task.cancelling():
            # the session was closed in a hurry; the one who waits here was not cancelled
            raise OutcomeUnknown(
                f"{key}: the session ended before the answer; it may have been charged", key=key
            ) from None
        raise


def _source_of(request: Request) -> LookRef | None:
    if not isinstance(request, LookEdit):
        return None
    if isinstance(request.source, str):
        raise InvalidRequest(
            "source", request.source, "a look or its ref (keys of items are a batch's alone)"
        )
    return request.source
