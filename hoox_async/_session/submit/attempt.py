"""One POST of an intent: written down in the moment before it leaves, and what its end means."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from functools import partial

from ..._api.endpoints import WireResponse, submit_endpoint, submit_request
from ..._api.models import LookRef
from ..._api.responses import read_accepted, refusal_is_the_items_own
from ..._core.intents.intent import Evidence, Intent, IntentState, Reason
from ..._core.intents.send_decision import SendDecision
from ..._core.intents.transitions import (
    IfUnchanged,
    IllegalTransition,
    LookTaken,
    MarkUnknown,
    Reject,
    Revert,
    Send,
    advance,
)
from ...errors import ApiError, HooxError, NotSent, OutcomeUnknown, SessionClosed, StoreError, TransportError
from ...events import Answered, OutcomeLost, RequestSent
from ..jobs import JobRegistry
from ..rate_limiter import Permit
from ..services import SessionServices
from ..unknowns import Unknowns
from ..webhook_processor import WebhookProcessor
from .deferred_writes import DeferredWrite, DeferredWrites
from .reservation import Purse

_HELD_TOO_LONG = 10.0  # seconds; beyond those that connecting may take


class Superseded(Exception):
    """Nothing was sent, and it is decided anew: the intent was settled or changed, or its permit is stale."""


class Sending:
    """One POST of an intent. ``under_lock``: a look that it leaves behind could be told by elimination."""

    def __init__(
        self, services: SessionServices, order: SendDecision, permit: Permit, *, under_lock: bool
    ) -> None:
        self._services = services
        self._order = order
        self._under_lock = under_lock
        self._sent_at = 0.0
        self._held_back: Exception | None = None
        self._unwritten: Send | None = None
        self.intent = order.intent
        self.permit = permit
        self.id = secrets.token_urlsafe(18)
        self._answered = False
        self.may_cost = False
        """Whether it left and nothing has shown yet that it cost nothing."""

    async def post(self) -> WireResponse:
        """Send it, once. As long as ``may_cost`` is false, whatever is raised means that nothing left.

        Raises `Superseded`, `StoreError`, `NotSent` and what else a transport raises.
        """
        services, intent = self._services, self.intent
        with self.permit:
            url = None
            if services.deliveries is not None and intent.request.webhook_url is None:
                url = services.deliveries.url_for(self.id)
            wire = submit_request(intent.request, intent.source, url)
            try:
                response = await services.transport.send(wire, self._before_send)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self.may_cost or task is None or task.cancelling():
                    raise  # nothing left, or the session ends in a hurry
                raise TransportError("the transport gave up") from None
            except Exception as error:
                if self._held_back is not None and not self.may_cost:
                    raise self._held_back from None
                if not self._has_surely_not_left(error):
                    self._never_said()
                raise
            self._never_said()
            self._answered = True
            services.answered(self.permit, response)
        seconds = services.clock.now() - self._sent_at
        services.hooks.emit(Answered(wire.endpoint, response.status, seconds, intent.key))
        return response

    async def _before_send(self) -> None:
        if self.may_cost:
            raise TransportError("a paid request is sent once")
        if self.permit.is_stale(self._longest_hold()):
            self._held_back = Superseded(self.intent.key)
            raise self._held_back
        step = self._step()
        try:
            await self._write_down(step)
        except IllegalTransition:
            self._held_back = Superseded(self.intent.key)
            raise self._held_back from None
        except HooxError as error:
            self._held_back = error
            raise
        except Exception as error:
            self._held_back = as_store_error(error)
            raise self._held_back from error
        self._leaves()

    def _longest_hold(self) -> float:
        """For how long its permit may be in hand: as connecting may take, and some more.

        A transport that is not ours may connect for as long as it likes; anew each time, it would never send.
        """
        if not getattr(self._services.transport, "announces", False):
            return math.inf
        return 2 * self._services.timeouts.connect + _HELD_TOO_LONG

    def _has_surely_not_left(self, error: Exception) -> bool:
        """By the transport's word. Of one that announces, so has what others raise before it has begun.

        Its own losses may have left, as any other's; and once it has begun, no word counts any more.
        """
        if self.may_cost or isinstance(error, NotSent):
            return not self.may_cost
        announces = getattr(self._services.transport, "announces", False)
        return announces and (isinstance(error, SessionClosed) or not isinstance(error, HooxError))

    def _never_said(self) -> None:
        """The transport has ended and never said when it begins: what may have left is not written down."""
        if not self.may_cost:
            self._unwritten = self._step()
            self._leaves()

    def _step(self) -> Send:
        return Send(self.id, self._services.clock.utc(), self.intent.source, self._under_lock)

    def _leaves(self) -> None:
        services = self._services
        self.may_cost = True
        endpoint = submit_endpoint(self.intent.request)
        services.hooks.emit(RequestSent(endpoint, services.clock.now(), self.intent.key))
        self.permit.mark_sent()  # as late as can be: a hook may have taken its time, and the bytes go now
        self._sent_at = services.clock.now()

    async def _write_down(self, step: Send) -> None:
        """In one transaction: that it stands as was decided upon, the user's word, and that it is sent."""
        (intent, stands, word), store = self._order, self._services.store
        if stands is not None:
            await store.advance(intent.key, IfUnchanged(stands), *(() if word is None else (word,)), step)
            return
        written = await store.plan(advance(intent, step))
        if not written.attempts or written.attempts[-1].id != self.id:
            raise IllegalTransition(f"intent {intent.key!r} was planned by another: it is {written.state}")

    async def then(self, write: Callable[[], Awaitable[Intent]]) -> Intent:
        """Write what became of it; before that its sending, where that is not written yet."""
        if self._unwritten is not None:
            try:
                await self._write_down(self._unwritten)
            except IllegalTransition:
                if not await self._is_written():  # as by a write that said it had failed
                    raise
            self._unwritten = None
        return await write()

    async def _is_written(self) -> bool:
        known = (await self._services.store.get((self.intent.key,))).get(self.intent.key)
        return known is not None and any(attempt.id == self.id for attempt in known.attempts)

    def end_by(self, error: Exception) -> Revert | Reject | MarkUnknown:
        """What an error means for the money of a request that had left.

        Only a refusal that was read from an answer shows that it cost nothing. What a transport raises shows
        nothing any more, whatever its class: a `NotSent` may be of its second try.
        """
        if isinstance(error, ApiError) and self._answered:
            if not refusal_is_the_items_own(error):
                return Revert()
            return Reject(Reason(error.status, error.code, error.message), self._services.clock.utc())
        told = isinstance(error, HooxError | LookTaken)
        reason = str(error) if told else f"{type(error).__name__} on the way"
        return MarkUnknown(reason, self._services.clock.utc())


def as_store_error(error: Exception) -> StoreError:
    """Of whatever a store raised."""
    if isinstance(error, StoreError):
        return error
    return StoreError(f"the store failed: {type(error).__name__}: {error}")


class Posting:
    """Carries POSTs out and writes down what became of them; what the store does not take is `pending`."""

    def __init__(
        self, services: SessionServices, registry: JobRegistry, unknowns: Unknowns, receiver: WebhookProcessor
    ) -> None:
        self._services = services
        self._registry = registry
        self._unknowns = unknowns
        self._receiver = receiver
        self.pending = DeferredWrites(services)

    async def post(self, order: SendDecision, permit: Permit, purse: Purse) -> Intent:
        """The intent once it is accepted. Leaves its avatar's lock and ends its reservation, whatever
        happens.

        Raises what `Sending.post` raises where nothing left, `OutcomeUnknown`, `ApiError`, `NotSent`, and
        `StoreError` where what became of it is not written down yet.
        """
        intent = order.intent
        sending = Sending(self._services, order, permit, under_lock=self._unknowns.proves(intent))
        try:
            try:
                response = await sending.post()
                ref = read_accepted(response, intent.source)
            except Exception as error:
                return await self._ended(sending, error)
            return await self._accepted(sending, ref)
        finally:
            if intent.key not in self.pending:
                self._unknowns.unlock_avatar(intent)
            purse.release(intent.credits, spent=sending.may_cost)

    async def _accepted(self, sending: Sending, ref: LookRef) -> Intent:
        """It has cost credits. Raises `StoreError`, with ``.ref``, when that could not be written down.

        An answer that names another request's look proves nothing of this one's: it is lost.
        """
        accept = partial(self._services.accept, sending.intent.key, ref, Evidence.ANSWER)

        async def write_late() -> Intent:
            try:
                return await sending.then(accept)
            except LookTaken as taken:
                after = await self._services.store.advance(sending.intent.key, sending.end_by(taken))
                self._tell_lost(after, str(taken))
                return after

        async def follow(after: Intent) -> Intent | None:
            if after.state is IntentState.UNKNOWN:
                return await self._settle_unknown(after, lost=True)
            self._unknowns.made(after)
            self._registry.poll_until_settled(after)
            return await self._receiver.apply_early_deliveries(after, sending.id)

        try:
            accepted = await sending.then(accept)
        except LookTaken as taken:
            return await self._ended(sending, taken)
        except Exception as trouble:  # whatever a store raises, what was paid is told
            error = copy(as_store_error(trouble))
            error.charged, error.ref = "yes", ref
            self._keep(sending.intent, write_late, error, follow)
            raise error from trouble
        self._unknowns.made(accepted)
        self._registry.poll_until_settled(accepted)
        return await self._receiver.apply_early_deliveries(accepted, sending.id)

    async def _ended(self, sending: Sending, error: Exception) -> Intent:
        """It was refused or lost, or never left: raises that, unless a delivery has proved its look."""
        if not sending.may_cost:
            raise error
        intent, step = sending.intent, sending.end_by(error)
        sending.may_cost = lost = isinstance(step, MarkUnknown)
        told: Exception = error
        if isinstance(step, MarkUnknown):
            told = OutcomeUnknown(f"{intent.key}: {step.reason}; it may have been charged", key=intent.key)
            self._tell_lost(intent, step.reason)
        write = partial(sending.then, partial(self._services.store.advance, intent.key, step))
        follow = partial(self._settle_unknown, lost=lost)
        try:
            after = await write()
        except Exception as trouble:  # whatever a store raises, what may have been paid is told
            late = told if isinstance(told, OutcomeUnknown) else as_store_error(trouble)
            self._keep(intent, write, late, follow)
            raise late from trouble
        proved = await follow(after)
        if proved is not None:
            return proved
        raise told from None

    def _tell_lost(self, intent: Intent, reason: str) -> None:
        self._services.hooks.emit(OutcomeLost(intent.key, reason, intent.credits, intent.request.metadata))

    async def _settle_unknown(self, after: Intent, *, lost: bool) -> Intent | None:
        """A delivery may have named the look already; else it is searched for, where that can prove it."""
        if after.state is not IntentState.UNKNOWN:
            return None
        proved = await self._receiver.confirm_lost(after.attempts[-1].id)
        if proved is None and lost:
            with suppress(Exception):  # of the store; then nothing is inferred for its avatar any more
                await self._unknowns.lost(after)
        return proved

    def _keep(
        self,
        intent: Intent,
        write: Callable[[], Awaitable[Intent]],
        told: HooxError,
        follow: Callable[[Intent], Awaitable[object]],
    ) -> None:
        leave = partial(self._unknowns.unlock_avatar, intent)
        self.pending.keep(
            DeferredWrite(intent.key, self._unknowns.locked_avatar_of(intent), write, told, follow, leave)
        )
