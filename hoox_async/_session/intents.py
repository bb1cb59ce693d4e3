"""The intents in the store of an open session: reading, writing, and waiting for other processes' changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TypeVar

from .._api.models import LookRef
from .._core.intents.intent import Evidence, Intent
from .._core.intents.transitions import Accept, IfUnchanged, IllegalTransition, LookTaken, Transition
from .._core.trouble import Sign, after_write
from .._io.clock import Clock
from .._io.error_words import is_disk_full, words_of
from .._io.hooks import Hooks
from .._io.ledger.ledger import Ledger
from ..errors import BudgetExceeded, HooxError, KeyConflict, StoreError
from ..events import LookAccepted
from .rate_limiter import LEAST_STORE_SECONDS

_log = logging.getLogger("hoox_async")
_T = TypeVar("_T")
_ANSWERED = (IllegalTransition, LookTaken, BudgetExceeded, KeyConflict)  # the store works, and says no


class Intents:
    """Reads and writes intents, and wakes those who wait for another version of one.

    They are woken by `notify`, which is called with each intent that another process or this one has
    changed. Nothing is read in between: many tasks can wait.
    """

    def __init__(self, store: Ledger, clock: Clock, hooks: Hooks) -> None:
        self._store = store
        self._clock = clock
        self._hooks = hooks
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False
        self.sign: Sign | None = None
        """What the last write has shown of trouble with the store; None: it was written soon."""

    # --- reading

    async def get(self, keys: Collection[str]) -> dict[str, Intent]:
        """The intents that the store has under these keys. Raises `StoreError`, whatever the store raises."""
        with store_errors():
            return await self._store.get(keys)

    async def stored(self, key: str) -> Intent | None:
        """The intent that the store has under this key. Raises `StoreError`, whatever the store raises."""
        return (await self.get((key,))).get(key)

    # --- writing

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The block is one write of the store: note how it ends, and how long it takes."""
        began = self._clock.now()
        try:
            yield
        except Exception as error:
            failed = not isinstance(error, _ANSWERED)
            full = failed and is_disk_full(error)
            self.sign = after_write(self._clock.now(), began, failed=failed, is_full=full)
            raise
        self.sign = after_write(self._clock.now(), began, failed=False)

    async def plan(self, intent: Intent) -> Intent:
        """Insert a new intent, as `Ledger.plan` does."""
        with self.writing():
            return await self._store.plan(intent)

    async def advance(self, key: str, *transitions: Transition) -> Intent:
        """Write to an intent as `Ledger.advance` does, and wake who waits for another process to change it.

        A store shows changes of other processes only, and this one may come before theirs are read.
        """
        try:
            with self.writing():
                return await self._store.advance(key, *transitions)
        finally:  # also where it raises: it may have been written
            self.notify(key)

    async def accept_of(self, attempt_id: str, key: str, ref: LookRef, evidence: Evidence) -> Intent:
        """Record that this attempt has made this look, and emit `LookAccepted`.

        The intent that is returned has another look or none where the look is a double. Raises `StoreError`
        and `LookTaken`. It can be called again after it has raised.
        """
        accepted = await self.advance(key, Accept(ref, self._clock.utc(), evidence, attempt_id))
        self._emit_accepted(accepted, ref, evidence, accepted.credits_of(attempt_id))
        return accepted

    async def accept_proof(self, unknown: Intent, ref: LookRef, evidence: Evidence) -> Intent:
        """Record that this look is the unknown's, and emit `LookAccepted`: it has cost credits.

        Raises `StoreError`, and `IllegalTransition` where the intent was settled or sent again meanwhile.
        """
        accept = Accept(ref, self._clock.utc(), evidence)
        accepted = await self.advance(unknown.key, IfUnchanged(unknown), accept)
        self._emit_accepted(accepted, ref, evidence, accepted.credits)
        return accepted

    def _emit_accepted(self, accepted: Intent, ref: LookRef, evidence: Evidence, credits: Decimal) -> None:
        key, is_double = accepted.key, accepted.ref != ref
        if is_double:
            _log.warning("%s was sent more than once: it also paid for the look %s", key, ref)
        metadata = accepted.request.metadata
        self._hooks.emit(LookAccepted(key, ref, credits, evidence, metadata=metadata, double=is_double))

    # --- waiting

    @property
    def is_closed(self) -> bool:
        """Whether nothing is waited for any more, since the session is being closed."""
        return self._closed

    def notify(self, key: str) -> None:
        """Wake those who wait for this key."""
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        """Wake all, for good."""
        self._closed = True
        for key in self._waiting:
            self.notify(key)

    async def wait_changed(self, known: Intent, seconds: float) -> None:
        """Wait until the store may have another version than ``known``, ``seconds`` at most.

        Raises `StoreError`.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(known.key, set())
        waiting.add(future)
        try:
            # after registering: a change between the caller's reading and this one is not missed
            now = await self.stored(known.key)
            if self._closed or now is None or not now.unchanged_since(known):
                return
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(known.key) is waiting:
                del self._waiting[known.key]


async def within(seconds: float | None, work: Awaitable[_T]) -> _T:
    """What the store answers to a call, within the seconds that a caller waits, one at least.

    Raises `StoreError` where it takes longer; what was to be written then may be written late.
    """
    bound = None if seconds is None else max(seconds, LEAST_STORE_SECONDS)
    try:
        async with asyncio.timeout(bound):
            return await work
    except TimeoutError:
        raise StoreError(f"the store has not answered for {bound:g} s; nothing was sent") from None


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
