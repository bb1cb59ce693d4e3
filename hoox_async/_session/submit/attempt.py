"""One attempt to send an intent: acquiring credits and a permit, the POST, recording the outcome."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from copy import copy
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import attrs

from ..._api.endpoints import WireResponse, submit_endpoint, submit_request
from ..._api.models import LookRef
from ..._api.responses import read_accepted, refusal_is_the_items_own
from ..._core.intents.deliveries import will_be_delivered
from ..._core.intents.intent import Evidence, Intent, IntentState, Reason
from ..._core.intents.send_decision import SendDecision
from ..._core.intents.transitions import (
    IfUnchanged,
    IllegalTransition,
    LookTaken,
    MarkUnknown,
    Reject,
    Resend,
    Revert,
    Send,
    advance,
)
from ..._core.retry import Patience
from ..._core.settings import Timeouts
from ..._io.clock import Clock
from ..._io.hooks import Hooks
from ..._io.logs import failures_logged
from ..._io.protocols import Transport
from ..._io.tasks import cancelled_by_task_only
from ...errors import (
    ApiError,
    BudgetExceeded,
    HooxError,
    KeyConflict,
    NotSent,
    OutcomeUnknown,
    StoreError,
    TransportError,
)
from ...events import Answered, OutcomeLost, RequestSent
from ...webhooks.hub import WebhookHub
from ..api_answers import ApiAnswers
from ..deliveries import Deliveries
from ..intents import Intents, as_store_error, within
from ..jobs import JobRegistry
from ..rate_limiter import Permit
from .budgets import AttemptBudget
from .deferred_writes import DeferredWrite, DeferredWrites
from .submission_hold import SubmissionHold

_log = logging.getLogger("hoox_async")
_HELD_TOO_LONG = 10.0  # seconds that a permit may be held beyond the time for connecting
_ANSWER_MARGIN = 10.0  # seconds: the loop may be late, and clocks differ


class SendOptions(NamedTuple):
    """How a caller sends: a single submission or an item of a batch.

    ``acquire_permit`` waits for a permit of the quota, ``patience`` says how often a connection is tried,
    and ``budget`` is where the credits are reserved. ``since`` is the loop's time at which the caller began.
    After ``deadline``, the loop's time too, no key is waited for, nor the store before the POST (None: no
    deadline).
    """

    acquire_permit: Callable[[], Awaitable[Permit]]
    patience: Patience
    budget: AttemptBudget
    since: float
    deadline: float | None = None

    def seconds_left(self, now: float) -> float | None:
        """The seconds until the deadline, 0 when it has passed; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - now)


class SubmitAttempt:
    """One attempt: reserve credits, take a permit, write SENDING, POST, record.

    `run` is run once, in a task of the session's. It releases what it acquires.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        intents: Intents,
        transport: Transport,
        hooks: Hooks,
        api_answers: ApiAnswers,
        timeouts: Timeouts,
        hub: WebhookHub | None,
        registry: JobRegistry,
        deliveries: Deliveries,
        deferred: DeferredWrites,
        hold: SubmissionHold,
        decision: SendDecision,
        options: SendOptions,
    ) -> None:
        self._clock = clock
        self._intents = intents
        self._transport = transport
        self._hooks = hooks
        self._api_answers = api_answers
        self._timeouts = timeouts
        self._hub = hub
        self._registry = registry
        self._deliveries = deliveries
        self._deferred = deferred
        self._hold = hold
        self._decision = decision
        self._options = options
        self._intent = decision.intent
        self._id = secrets.token_urlsafe(18)
        self._was_answered = False
        self._sent_at = -math.inf
        self._may_have_cost = False
        self._was_written = self._is_charged = False
        # why it is not known whether SENDING was written, though nothing was sent
        self._sending_in_doubt: StoreError | None = None
        self._is_outdated = False
        self.is_waiting = True
        """Whether it still waits for credits or a permit: then it can be cancelled and sends nothing."""

    @property
    def intent(self) -> Intent:
        """The intent as it is while its POST is outstanding."""
        return attrs.evolve(self._intent, state=IntentState.SENDING)

    async def run(self) -> Intent | None:
        """The intent once it is accepted.

        None where the decision must be made again. Nothing was sent then, since the intent has changed or the
        permit has expired; or the look that was paid for is recorded as a double, beside the intent's own.

        Raises `OutcomeUnknown` for what may have been paid; `ApiError` for a refusal, `NotSent`,
        `BudgetExceeded` and `SessionClosed`, which cost nothing; and `StoreError` if the store failed before
        the POST, or failed to write its outcome (see ``charged``).
        """
        try:
            async with self._reserved_credits():
                permit = await self._options.acquire_permit()
                self.is_waiting = False
                with self._hold.sending(self._id):
                    return await self._send_and_record(permit)
        except asyncio.CancelledError:
            if self._is_outdated and self.is_waiting:
                return None
            raise

    async def _send_and_record(self, permit: Permit) -> Intent | None:
        try:
            with permit:
                response = await self._post(permit)
            self._emit_answered(response, permit)
            ref = read_accepted(response, self._intent.source)
        except Exception as error:
            return await self._record_failure(error)
        self._hold.answered(self._id)
        self._api_answers.paid_ended(self._sent_at, None)
        return await self._record_acceptance(ref)

    def is_outdated_by(self, stored: Intent) -> bool:
        """Whether it still waits, and another process has changed the intent that it was decided from."""
        known = self._decision.stored
        return self.is_waiting and (known is None or not stored.unchanged_since(known))

    def outdate(self) -> None:
        """Have `run` return None: the caller cancels the attempt's task for that."""
        self._is_outdated = True

    @property
    def was_written(self) -> bool:
        """Whether its SENDING was written, or may have been."""
        return self._was_written or self._sending_in_doubt is not None

    # --- before the POST

    @asynccontextmanager
    async def _reserved_credits(self) -> AsyncIterator[None]:
        budget, credits = self._options.budget, self._intent.credits
        await budget.reserve(credits)
        try:
            yield
        except BudgetExceeded:
            await budget.refresh()
            raise
        finally:
            budget.release(credits, spent=self._may_have_cost, charged=self._is_charged)

    # --- the POST

    async def _post(self, permit: Permit) -> WireResponse:
        """Send it once.

        While ``_may_have_cost`` is false, every exception means that nothing was sent.
        """
        intent = self._intent
        url = None
        if self._hub is not None and will_be_delivered(intent.request, has_webhooks=True):
            url = self._hub.url_for(self._id)
        wire = submit_request(intent.content, intent.source, url)
        try:
            response = await self._transport.send(wire, lambda: self._before_send(permit))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._may_have_cost or task is None or task.cancelling():
                raise  # nothing was sent, or the session ends without waiting for its POSTs
            raise TransportError("the transport was cancelled") from None
        except TransportError as error:
            if not self._may_have_cost:
                raise NotSent(str(error)) from error
            raise
        self._was_answered = True
        self._api_answers.process(permit, response)
        if response.status < 500:
            with failures_logged("noting that the API answers"):
                self._api_answers.answered()
        return response

    async def _before_send(self, permit: Permit) -> None:
        """Called by the transport when the connection is made, before any byte of the request leaves."""
        if self._may_have_cost:
            raise TransportError("a paid request is sent once")
        if not await self._commit_sending(permit):
            self._is_outdated = True
            raise NotSent(f"{self._intent.key}: it has changed, or its permit has expired")
        self._may_have_cost = self._is_charged = True
        self._sent_at = self._clock.now()
        self._options.budget.charge(self._intent.credits)
        endpoint = submit_endpoint(self._intent.content)
        self._hooks.emit(RequestSent(endpoint, self._clock.now(), self._intent.key))
        self._hold.sent(self._id, self._intent.key)
        permit.mark_sent()  # last: a hook may have taken its time, and the bytes leave now

    async def _commit_sending(self, permit: Permit) -> bool:
        """Write SENDING. Returns False where the intent has changed or the permit has expired."""
        max_hold = 2 * self._timeouts.connect + _HELD_TOO_LONG
        if permit.is_stale(max_hold):
            return False
        try:
            left = self._options.seconds_left(self._clock.now())
            await within(left, self._write_sending())
            self._was_written = True
            if not permit.is_stale(max_hold):
                return True
            await self._deliveries.after_sending(await self._undo_sending())
        except IllegalTransition:
            return False
        except (BudgetExceeded, KeyConflict):
            raise  # nothing was written
        except Exception as error:
            self._sending_in_doubt = as_store_error(error)
            raise self._sending_in_doubt from error
        return False

    async def _write_sending(self) -> None:
        """In one transaction: check that the intent is unchanged, apply the instruction, write SENDING."""
        intent, stored, instruction = self._decision
        now, timeouts = self._clock.utc(), self._timeouts
        answer_by = now + timedelta(seconds=timeouts.connect + timeouts.answer + _ANSWER_MARGIN)
        earlier = stored.budget if stored is not None and isinstance(instruction, Resend) else None
        budget = self._options.budget.name_to_charge(earlier)
        send = Send(self._id, now, intent.source, answer_by, budget)
        if stored is not None:
            steps = (send,) if instruction is None else (instruction, send)
            await self._intents.advance(intent.key, IfUnchanged(stored), *steps)
            return
        written = await self._intents.plan(advance(intent, send))
        if not written.was_last_sent_by(self._id):
            raise IllegalTransition(f"intent {intent.key!r} exists already: it is {written.state}")

    # --- recording the outcome

    async def _record_acceptance(self, ref: LookRef) -> Intent | None:
        """The API has accepted it, and it has cost credits. None for a double.

        Raises `StoreError`, with ``ref``, if that could not be written. If the answer names another intent's
        look, it is not known which look this intent has made: the POST counts as lost.
        """
        self._may_have_cost = True
        accept = partial(self._intents.accept_of, self._id, self._intent.key, ref, Evidence.ANSWER)
        try:
            accepted = await cancelled_by_task_only(accept(), "the store")
        except LookTaken as taken:
            return await self._record_failure(taken)
        except Exception as trouble:  # a store may raise anything; the caller must learn what was paid
            error = copy(as_store_error(trouble))
            error.charged, error.ref = "yes", ref
            self._defer(partial(self._accept_or_mark_unknown, accept), error, self._follow)
            raise error from trouble
        if accepted.ref != ref:
            return None
        return await self._follow(accepted)

    async def _accept_or_mark_unknown(self, accept: Callable[[], Awaitable[Intent]]) -> Intent:
        try:
            return await accept()
        except LookTaken as taken:
            after = await self._advance(self._end_after(taken))
            self._emit_lost(after, str(taken))
            return after

    async def _undo_sending(self) -> Intent:
        """SENDING may have been written, or may be written late, and nothing was sent: take it back.

        Only a second write that the store confirms rules out that the first one takes place after it.
        """
        if self._decision.stored is None:
            await self._intents.plan(self._intent)
        return await self._advance(Revert(self._id))

    async def _advance(self, end: Revert | Reject | MarkUnknown) -> Intent:
        return await self._intents.advance(self._intent.key, end)

    async def _follow(self, after: Intent) -> Intent:
        """Go on once the end of the sending is written. Returns the intent after that. Never raises."""
        self._registry.poll_accepted(after)
        return await self._deliveries.after_sending(after)

    async def _record_failure(self, error: Exception) -> Intent | None:
        """Record a refusal or a loss, and raise the error, unless a delivery has proved the look already.

        None where nothing was sent since the decision is outdated.
        """
        if not self._may_have_cost:
            if self._sending_in_doubt is not None:
                doubt = copy(self._sending_in_doubt)
                self._defer(self._undo_sending, doubt, self._follow)
            elif self._is_outdated:
                return None
            raise error
        intent, end = self._intent, self._end_after(error)
        self._may_have_cost = lost = isinstance(end, MarkUnknown)
        (self._hold.lost if lost else self._hold.answered)(self._id)
        self._api_answers.paid_ended(self._sent_at, error)
        result: Exception = error
        if isinstance(end, MarkUnknown):
            message = f"{intent.key}: {end.reason}; it may have been charged"
            result = OutcomeUnknown(message, key=intent.key)
            self._emit_lost(intent, end.reason)
        try:
            after = await cancelled_by_task_only(self._advance(end), "the store")
        except Exception as trouble:  # a store may raise anything; the caller must learn what may be paid
            deferred = result if isinstance(result, OutcomeUnknown) else as_store_error(trouble)
            self._defer(partial(self._advance, end), deferred, self._follow)
            raise deferred from trouble
        is_proved_by_look = lost or after.state is IntentState.UNKNOWN
        after = await self._follow(after)
        if is_proved_by_look and after.state.paid:
            return after
        raise result from None

    def _end_after(self, error: Exception) -> Revert | Reject | MarkUnknown:
        """The end of this sending for an error of a request that was sent: whether it may have been charged.

        Only a refusal that was read from an answer proves that it cost nothing. An exception of a transport
        proves nothing, whatever its class.
        """
        now = self._clock.utc()
        if isinstance(error, ApiError) and self._was_answered:
            if not refusal_is_the_items_own(error):
                return Revert(self._id)
            return Reject(Reason(error.status, error.code, error.message), now, self._id)
        if isinstance(error, HooxError | LookTaken):
            return MarkUnknown(str(error), self._id)
        # the message of such an error may hold the request's headers; the class alone is safe to log
        with suppress(Exception):
            _log.error("unexpected %s during the request of %s", type(error).__name__, self._intent.key)
        return MarkUnknown("the request failed with an error that was not expected", self._id)

    def _emit_answered(self, response: WireResponse, permit: Permit) -> None:
        now, endpoint = self._clock.now(), submit_endpoint(self._intent.content)
        seconds = 0.0 if permit.sent_at is None else now - permit.sent_at
        self._hooks.emit(Answered(endpoint, response.status, seconds, self._intent.key))

    def _emit_lost(self, intent: Intent, reason: str) -> None:
        self._hooks.emit(OutcomeLost(intent.key, reason, intent.credits, intent.request.metadata))

    def _defer(
        self,
        write: Callable[[], Awaitable[Intent]],
        error: HooxError,
        follow: Callable[[Intent], Awaitable[object]],
    ) -> None:
        """Have it written as soon as the store works again."""
        self._deferred.add(DeferredWrite(self._intent.key, write, error, follow))
