"""The one way a paid POST goes.

A caller waits at the gate in its own task: cancelled there, nothing was sent. The POST itself runs in a
task of the session's and is awaited through a shield, so that whatever happens to the caller, its answer
is written down. It is sent again only when it surely never left or when the API answered 429.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count

from .._core.budget import Budget
from .._core.keys import digest
from .._core.ledger import Intent, IntentState
from .._core.models import LookRef
from .._core.outcomes import error_of
from .._core.requests import LookEdit, Request
from .._core.retry import GiveUp, Patience, decide_paid
from .._core.wire import read_accepted
from .._gate import Slot
from .._parts import Parts
from .._protocols import WireResponse
from .._reads import Reads
from .._receiver import Receiver
from .._unknowns import Unknowns
from ..errors import (
    ApiError,
    HooxError,
    InvalidRequest,
    KeyConflict,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    SessionClosed,
    StoreError,
)
from ..events import Retried
from .attempt import Attempt
from .purse import Purse, SinglePurse

TakeSlot = Callable[[], Awaitable[Slot]]
_PAID = frozenset({IntentState.ACCEPTED, IntentState.READY, IntentState.FAILED})


class Submitter:
    """Sends intents, each at most once unless it surely cost nothing."""

    def __init__(self, parts: Parts, reads: Reads, unknowns: Unknowns, receiver: Receiver) -> None:
        self._parts = parts
        self._reads = reads
        self._unknowns = unknowns
        self._receiver = receiver
        self._air: dict[str, asyncio.Task[Intent]] = {}
        self._locks: dict[str, _SharedLock] = {}

    @property
    def in_air(self) -> int:
        """Paid POSTs that are on their way now."""
        return len(self._air)

    def in_air_of(self, key: str) -> asyncio.Task[Intent] | None:
        """The POST of this intent that is on its way now. Shield it: it is the session's."""
        return self._air.get(key)

    async def submit(
        self, request: Request, key: str | None, budget: Budget | None, max_wait: float | None
    ) -> Intent:
        """A single submission: the intent once it is accepted, or as it stood already."""
        source = _source_of(request)
        intent = self.plan(request, key or f"once-{secrets.token_hex(12)}", key is not None, source)
        gate = self._parts.gate
        async with self._alone(intent.key):
            if key is not None:
                known = (await self._parts.store.get((key,))).get(key)
                if known is not None and known.digest != intent.digest:
                    raise KeyConflict(key)
                intent = known or intent
            if intent.state in _PAID:
                return intent
            self._refuse_to_repeat(intent)
            take_slot = self._patient(max_wait, gate.own)
            try:
                return await self.carry(intent, take_slot, Patience.SINGLE, SinglePurse(budget))
            except (ApiError, NotSent):
                if key is None:  # it cost nothing, and nobody can ask for it again
                    with suppress(StoreError):
                        await self._parts.store.forget(intent.key)
                raise

    async def again(self, key: str) -> Intent:
        """Send an intent that was planned anew."""
        async with self._alone(key):
            intent = (await self._parts.store.get((key,)))[key]
            self._refuse_to_repeat(intent)
            take_slot = self._patient(None, self._parts.gate.own)
            return await self.carry(intent, take_slot, Patience.SINGLE, SinglePurse(None))

    def plan(self, request: Request, key: str, kept: bool, source: LookRef | None) -> Intent:
        """A new intent, not yet written anywhere."""
        return Intent(key, kept, request, digest(request), self._parts.clock.utc(), source=source)

    def _refuse_to_repeat(self, intent: Intent) -> None:
        in_air = intent.key in self._air
        if intent.state is not IntentState.PLANNED and not in_air:
            raise error_of(intent) or HooxError(f"{intent.key}: {intent.state}")

    def _patient(self, max_wait: float | None, own: Callable[[float | None], Awaitable[Slot]]) -> TakeSlot:
        until = None if max_wait is None else self._parts.clock.now() + max_wait

        async def take() -> Slot:
            return await own(None if until is None else max(0.0, until - self._parts.clock.now()))

        return take

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        """One submission of a key at a time; the others then find what became of it."""
        shared = self._locks.setdefault(key, _SharedLock())
        shared.users += 1
        try:
            async with shared.lock:
                yield
        finally:
            shared.users -= 1
            if not shared.users:
                self._locks.pop(key, None)

    async def send(self, intent: Intent, take_slot: TakeSlot, patience: Patience, purse: Purse) -> Intent:
        """`carry`, for an intent whose key somebody else in this session may be submitting too."""
        alone = intent.key not in self._locks and intent.key not in self._air
        async with self._alone(intent.key):
            if not alone:
                intent = (await self._parts.store.get((intent.key,))).get(intent.key, intent)
                if intent.state in _PAID:
                    return intent
                self._refuse_to_repeat(intent)
            return await self.carry(intent, take_slot, patience, purse)

    async def carry(self, intent: Intent, take_slot: TakeSlot, patience: Patience, purse: Purse) -> Intent:
        """Send it until it is accepted, refused or lost. Raises what became of it otherwise."""
        began = self._parts.clock.now()
        for attempt in count(1):
            running = self._air.get(intent.key)
            if running is None:
                running = await self._start(intent, take_slot, purse)
            try:
                return await _shielded(running, intent.key)
            except (NotSent, RateLimited) as error:
                elapsed = self._parts.clock.now() - began
                decision = decide_paid(attempt, error, elapsed, patience, random.random())  # noqa: S311
                if isinstance(decision, GiveUp):
                    raise
                self._tell_retry(intent, error, decision.delay)
                await asyncio.sleep(decision.delay)
        raise AssertionError("count() does not end")

    def _tell_retry(self, intent: Intent, error: HooxError, delay: float) -> None:
        endpoint = "edit" if isinstance(intent.request, LookEdit) else "create"
        self._parts.hooks.tell(Retried(endpoint, type(error).__name__, delay, intent.key))

    async def _start(self, intent: Intent, take_slot: TakeSlot, purse: Purse) -> asyncio.Task[Intent]:
        """Reserve, take a slot (and the avatar's lane), and let the session's own task send it."""
        await purse.reserve(intent.credits)
        try:
            slot = await self._slot(intent, take_slot)
            try:
                task = self._parts.posts.spawn(self._post(intent, slot, purse), f"hoox-post-{intent.key}")
            except SessionClosed:
                slot.give_back()
                self._unknowns.leave_lane(intent)
                raise
        except BaseException:
            purse.release(intent.credits, spent=False)
            raise
        self._air[intent.key] = task
        task.add_done_callback(lambda _: self._air.pop(intent.key, None))
        return task

    async def _slot(self, intent: Intent, take_slot: TakeSlot) -> Slot:
        avatar_id = self._unknowns.lane_of(intent)
        if avatar_id is None:
            return await take_slot()
        return await self._unknowns.enter_lane(avatar_id, take_slot)

    async def _post(self, intent: Intent, slot: Slot, purse: Purse) -> Intent:
        """One attempt, from the slot in hand to its result in the store."""
        attempt = Attempt(self._parts, intent, slot, in_lane=self._unknowns.proves(intent))
        try:
            return await self._result(attempt)
        except OutcomeUnknown:
            proved = await self._receiver.settle_lost(attempt.id)
            if proved is not None:
                return proved
            with suppress(StoreError):  # then the store is in trouble, and recovers it when opened again
                await self._unknowns.lost(intent)
            raise
        finally:
            self._unknowns.leave_lane(intent)
            purse.release(intent.credits, spent=attempt.may_cost)

    async def _result(self, attempt: Attempt) -> Intent:
        try:
            response = await attempt.send()
        except NotSent:
            await attempt.take_back()
            raise
        except Exception as error:
            if not attempt.may_cost:
                raise
            reason = str(error) if isinstance(error, HooxError) else f"{type(error).__name__} on the way"
            raise await attempt.lose(reason) from None
        return await self._judge(attempt, response)

    async def _judge(self, attempt: Attempt, response: WireResponse) -> Intent:
        try:
            ref = self._reads.heard(
                response, attempt.slot, lambda answer: read_accepted(answer, attempt.source)
            )
        except ApiError as error:
            await attempt.refused(error)
            raise
        except OutcomeUnknown as error:
            raise await attempt.lose(str(error)) from None
        accepted = await attempt.accept(ref)
        self._unknowns.made(accepted)
        return await self._receiver.apply_kept(accepted, attempt.id)


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


class _SharedLock:
    """A lock and how many hold it or wait for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


def _source_of(request: Request) -> LookRef | None:
    if not isinstance(request, LookEdit):
        return None
    if isinstance(request.source, str):
        raise InvalidRequest(
            "source", request.source, "a look or its ref (keys of items are a batch's alone)"
        )
    return request.source
