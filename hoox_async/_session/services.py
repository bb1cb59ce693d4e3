"""What the parts of one open session share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import NamedTuple, TypeVar

from .._api.endpoints import WireResponse
from .._api.models import LookRef
from .._core.intents.intent import Evidence, Intent
from .._core.intents.transitions import Accept, IfUnchanged, Transition
from .._core.retry import shows_valid_key
from .._core.settings import Timeouts
from .._io.clock import Clock
from .._io.error_words import words_of
from .._io.hooks import Hooks
from .._io.logs import failures_logged
from .._io.protocols import Store, Transport
from .._io.tasks import TaskSet
from ..errors import HooxError, StoreError
from ..events import LookAccepted
from ..webhooks.hub import WebhookHub
from .api_health import ApiHealth
from .change_waiters import ChangeWaiters
from .rate_limiter import LEAST_STORE_SECONDS, Permit, RateLimiter

_log = logging.getLogger("hoox_async")
_T = TypeVar("_T")


class SessionServices(NamedTuple):
    """Clock, store, quota, HTTP, hooks, the API's health, waiters and tasks of one session.

    When the session closes, ``tasks`` are cancelled; ``posts`` (the paid POSTs) are let finish first.
    """

    clock: Clock
    store: Store
    rate_limiter: RateLimiter
    transport: Transport
    hooks: Hooks
    health: ApiHealth
    timeouts: Timeouts
    hub: WebhookHub | None
    changes: ChangeWaiters
    tasks: TaskSet
    posts: TaskSet

    async def intents(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents that the store has under these keys. Raises `StoreError`, whatever the store raises."""
        with store_errors():
            return await self.store.get(keys)

    async def stored(self, key: str) -> Intent | None:
        """The intent that the store has under this key. Raises `StoreError`, whatever the store raises."""
        return (await self.intents((key,))).get(key)

    async def within(self, seconds: float | None, work: Awaitable[_T]) -> _T:
        """What the store answers to a call, within the seconds that a caller waits, one at least.

        Raises `StoreError` where it takes longer; what was to be written then may be written late.
        """
        bound = None if seconds is None else max(seconds, LEAST_STORE_SECONDS)
        try:
            async with asyncio.timeout(bound):
                return await work
        except TimeoutError:
            raise StoreError(f"the store has not answered for {bound:g} s; nothing was sent") from None

    async def advance(self, key: str, *transitions: Transition) -> Intent:
        """Write to an intent as `Store.advance` does, and wake who waits for another process to change it.

        A store shows changes of other processes only, and this one may come before theirs are read.
        """
        try:
            return await self.store.advance(key, *transitions)
        finally:  # also where it raises: it may have been written
            self.changes.notify(key)

    async def accept_answer(self, key: str, ref: LookRef, attempt_id: str) -> Intent:
        """Record that this attempt was answered with this look, and emit `LookAccepted`.

        The intent that is returned has another look or none where the look is a double. Raises `StoreError`
        and `LookTaken`. It can be called again after it has raised.
        """
        accept = Accept(ref, self.clock.utc(), Evidence.ANSWER, attempt_id)
        accepted = await self.advance(key, accept)
        self._emit_accepted(accepted, ref, Evidence.ANSWER, accepted.credits_of(attempt_id))
        return accepted

    async def accept_proof(self, unknown: Intent, ref: LookRef, evidence: Evidence) -> Intent:
        """Record that this look is the unknown's, and emit `LookAccepted`: it has cost credits.

        Raises `StoreError`, and `IllegalTransition` where the intent was settled or sent again meanwhile.
        """
        accept = Accept(ref, self.clock.utc(), evidence)
        accepted = await self.advance(unknown.key, IfUnchanged(unknown), accept)
        self._emit_accepted(accepted, ref, evidence, accepted.credits)
        return accepted

    def _emit_accepted(self, accepted: Intent, ref: LookRef, evidence: Evidence, credits: Decimal) -> None:
        key, is_double = accepted.key, accepted.ref != ref
        if is_double:
            _log.warning("%s was sent again before its answer came: it also paid for the look %s", key, ref)
        metadata = accepted.request.metadata
        self.hooks.emit(LookAccepted(key, ref, credits, evidence, metadata=metadata, double=is_double))

    def answered(self, permit: Permit, response: WireResponse) -> None:
        """Process what an answer says about the quota and the key. Call it while the permit is held."""
        with failures_logged("reading the quota from an answer"):
            self.rate_limiter.answered(permit, response)
        if shows_valid_key(response.status):
            with failures_logged("binding the store to the API key"):
                self.store.confirm_key()


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise `StoreError`, whatever a store raises."""
    try:
        yield
    except HooxError:
        raise
    except Exception as error:
        raise as_store_error(error) from error


def as_store_error(error: Exception) -> StoreError:
    """A store's exception as a `StoreError`."""
    if isinstance(error, StoreError):
        return error
    return StoreError(f"the store failed: {words_of(error)}")
