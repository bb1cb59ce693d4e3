"""One item in flight: it is sent, its look is awaited, and it gets its outcome."""

from __future__ import annotations

from contextlib import suppress

import attrs

from .._api.models import Look, LookStatus
from .._api.requests import FREE
from .._api.responses import refusal_is_the_items_own
from .._core.intents.intent import Intent, IntentState, Reason
from .._core.intents.outcomes import Outcome, OutcomeState, outcome_of
from .._core.intents.send_decision import Decision, SendDecision
from .._core.intents.transitions import Replace, Resend, advance
from .._core.retry import Patience
from .._session.runtime import SessionRuntime
from .._session.submit import AttemptBudget, SendOptions
from ..errors import (
    ApiError,
    BudgetExceeded,
    HooxError,
    InvalidRequest,
    KeyConflict,
    NotFound,
    OutcomeUnknown,
    StoreError,
)
from .admission import decide_sending
from .batch_hold import BatchHold
from .item_outcomes import conflicting, unreadable, unrecorded, unsent_beside
from .items import Item
from .options import BatchOptions
from .stop_signal import Stopped, StopSignal
from .window import BatchWindow


class ItemSender:
    """Runs the items of one batch, each in a separate task, from their start to their outcomes."""

    def __init__(
        self,
        session: SessionRuntime,
        options: BatchOptions,
        budget: AttemptBudget,
        stop: StopSignal,
        hold: BatchHold,
        window: BatchWindow,
    ) -> None:
        self._clock = session.clock
        self._intents = session.intents
        self._unknowns = session.unknowns
        self._registry = session.registry
        self._scheduler = session.scheduler
        self._submitter = session.submitter
        self._options = options
        self._budget = budget
        self._stop = stop
        self._hold = hold
        self._window = window

    async def run(self, item: Item) -> Outcome:
        """Run an item to its outcome, and count it in the window on the way. Raises `Stopped`.

        Sets ``item.stored`` to the intent under its key.
        """
        try:
            intent = await self._send_until_known(item)
            self._window.count_paid(item, intent)
        except StoreError as error:
            if error.charged != "yes" or error.ref is None:
                raise Stopped(error) from None
            return unrecorded(item, error.ref, error)
        except ApiError as error:
            if not refusal_is_the_items_own(error):
                raise Stopped(error) from None
            return await self._unsent(item, OutcomeState.REJECTED, error)
        except KeyConflict as error:
            return conflicting(item, error, await self._stored(item.key))
        except InvalidRequest as error:
            return await self._unsent(item, OutcomeState.REJECTED, error)
        except HooxError as error:  # NotSent, BudgetExceeded …
            return await self._unsent(item, OutcomeState.UNSENT, error)
        outcome = await self._await_look(intent, item) if intent.state.paid else outcome_of(intent)
        return attrs.evolve(outcome, request=item.request) if intent.digest == item.digest else outcome

    async def _send_until_known(self, item: Item) -> Intent:
        """Send an item if it needs sending, and find out as far as possible whether it was paid."""
        stored = item.stored
        pays_again = item.pay_again and stored is not None and stored.state is IntentState.ACCEPTED
        if pays_again and stored is not None and stored.digest == item.digest:
            await self._check_pending_look(item, stored)
        intent = item.stored
        if intent is None or item.needs_sending or intent.state is IntentState.SENDING:
            intent = await self._send(item)
        else:
            self._window.got_permit(item)
        if intent.state is IntentState.UNKNOWN:
            self._window.count_paid(item, intent)
            intent = await self._wait_for_proof(intent)
            if intent.state is IntentState.SENDING:  # another process sends it again
                intent = await self._send(item)
            if intent.state is IntentState.UNKNOWN and self._may_resend(item, intent):
                item.stored, item.pay_again, item.resend = intent, False, True
                intent = await self._send(item)
        return intent

    async def _check_pending_look(self, item: Item, pending: Intent) -> None:
        """Ask for the status of a pending look, free of charge, before it is paid again.

        If it is done by now, updates the item with the result, and with whether it is still to be paid again.
        Raises `Stopped`, and what the request raises: then nothing is paid.
        """
        job = self._registry.job_of(pending)  # keep a reference, so that the answer is recorded
        try:
            async with self._stop.interruptible():
                look = await job.status()
        except HooxError as error:
            if isinstance(error, NotFound) and refusal_is_the_items_own(error):
                return  # the API has no such look: it will never be done
            item.pay_again = False
            raise
        if not look.status.settled:
            return
        now = await self._stored(item.key)
        if now is None or now.unchanged_since(pending):
            # the store failed to record it; the answer is valid nevertheless
            state = IntentState.READY if look.status is LookStatus.READY else IntentState.FAILED
            now = attrs.evolve(pending, state=state, look=look)
        if now.digest == item.digest:
            item.stored = now
            item.pay_again = now.state is IntentState.FAILED and IntentState.FAILED in self._options.retry

    # --- sending

    async def _send(self, item: Item) -> Intent:
        """Send an item until it is accepted or its outcome is unknown, or until others have used its key."""
        source = item.source or (item.stored.source if item.stored else None)
        planned_at = self._clock.utc()
        wanted = Intent(item.key, True, item.request, item.digest, planned_at, source=source)
        began = self._clock.now()
        sending = self._hold.sending(item, began)

        def decide(stored: Intent | None) -> Decision:
            sending.end_last()
            decision = decide_sending(item, wanted, stored, self._options)
            if not isinstance(decision, SendDecision):
                self._window.got_permit(item)
            return decision

        async def send() -> Intent:
            options = SendOptions(sending.acquire_permit, Patience.BATCH, self._budget, began)
            with sending:
                return await self._submitter.send(wanted, decide, options)

        try:
            async with self._stop.interruptible(item.request):
                while True:
                    try:
                        return await send()
                    except BudgetExceeded:
                        # if another process sends it with the last credits, its result is the item's
                        is_unsent = isinstance(decide(await self._stored(item.key)), SendDecision)
                        if is_unsent and not self._budget.may_fit_later(item.request.credits):
                            raise
        except OutcomeUnknown as error:
            if sending.lost:
                item.lost = True
                self._window.count_failure(item)
            return await self._unknown(item, wanted, error)
        except Stopped:
            return await self._outstanding_at_stop(item, wanted)

    async def _outstanding_at_stop(self, item: Item, wanted: Intent) -> Intent:
        """The outcome of the POST that was outstanding when the run was stopped.

        Raises `Stopped` if there was none.
        """
        try:
            joined = await self._submitter.join(item.key)
        except OutcomeUnknown as error:
            return await self._unknown(item, wanted, error)
        if joined is not None:
            return joined
        stored = await self._stored(item.key)
        if stored is None or stored.state is IntentState.PLANNED or item.is_unchanged(stored):
            self._stop.check(item.request)
        return stored or wanted

    async def _unknown(self, item: Item, wanted: Intent, error: OutcomeUnknown) -> Intent:
        """The stored intent of an item whose POST was lost.

        Where the store fails or has an older state, an UNKNOWN intent.
        """
        stored = await self._stored(item.key)
        recorded = stored is not None and stored.state not in (IntentState.PLANNED, IntentState.SENDING)
        if stored is not None and recorded and not (item.pay_again and item.is_unchanged(stored)):
            return stored
        sent = stored or item.stored or wanted
        if sent.state is not IntentState.SENDING and item.pay_again:
            sent = advance(sent, Replace(item.request, item.digest))
        elif sent.state is IntentState.UNKNOWN:
            sent = advance(sent, Resend())
        return attrs.evolve(sent, state=IntentState.UNKNOWN, reason=Reason(None, None, str(error)))

    # --- unknowns

    async def _wait_for_proof(self, unknown: Intent) -> Intent:
        """The intent once its look is proved, or once no proof can come any more."""
        await self._unknowns.wait_for_delivery(unknown, self._options.look_timeout)
        now = await self._stored(unknown.key)
        return unknown if now is None else now

    def _may_resend(self, item: Item, unknown: Intent) -> bool:
        """Whether to send an unknown again: if the user chose so, and once per run.

        Otherwise an API that loses every POST would be paid without end. What another process has lost since
        this run began is left to that process, and to later runs.
        """
        is_ours = item.lost or self._options.is_earlier(unknown)
        chosen = self._options.resends(unknown) and is_ours
        may_send = self._stop.reason_for(item.request) is None
        return chosen and may_send and not item.repeated and not item.resend

    # --- waiting

    async def await_source(self, intent: Intent) -> Outcome:
        """The outcome of an accepted intent whose look other items wait for. Raises `Stopped`."""
        async with self._stop.interruptible():
            return await self._await_look(intent)

    async def _await_look(self, intent: Intent, item: Item | None = None) -> Outcome:
        """The outcome of an accepted intent, once its look is done or ``look_timeout`` is over."""
        job, timeout = self._registry.job_of(intent), self._options.look_timeout
        error: HooxError | None = None
        try:
            look = await self._registry.settled(job, timeout)
            if item is not None:  # counted now, since the reason of a failure is requested last
                self._window.look_settled(item, look)
            await job.wait(timeout)
        except HooxError as pending:
            error = pending
        last = job.last
        del job  # so that the session can forget it
        is_unwritten = self._registry.is_unwritten(last.ref)  # then the store may not answer
        now = None if is_unwritten else await self._stored(intent.key)
        if now is None or now.last_attempt != intent.last_attempt:  # another run pays its key again
            now = intent
        return self._outcome(now, last, error)

    def _outcome(self, intent: Intent, last: Look, error: HooxError | None) -> Outcome:
        if intent.state is IntentState.ACCEPTED and last.status.settled:
            # the store failed to record it; the answer is valid nevertheless
            state = OutcomeState.READY if last.status is LookStatus.READY else OutcomeState.FAILED
            failed = intent.failed + (intent.credits if state is OutcomeState.FAILED else FREE)
            return outcome_of(intent, state=state, look=last, error=error, credits_failed=failed)
        if intent.state is IntentState.ACCEPTED:
            return outcome_of(intent, look=last, error=error)
        return outcome_of(intent)

    # --- cancelled from outside

    async def outcome_after_cancel(self, item: Item, error: HooxError) -> Outcome:
        """The outcome of an item whose task was cancelled from outside, from its stored intent.

        If its POST was outstanding, its end is awaited.
        """
        with suppress(HooxError):
            await self._submitter.join(item.key)
        try:
            stored = await self._intents.stored(item.key)
        except StoreError:
            return unreadable(item, error)
        return unsent_beside(item, stored, error, OutcomeState.UNSENT)

    async def _stored(self, key: str) -> Intent | None:
        """The stored intent of a key; None also if the store cannot be read."""
        try:
            return await self._intents.stored(key)
        except StoreError:
            return None

    async def _unsent(self, item: Item, state: OutcomeState, error: HooxError) -> Outcome:
        return unsent_beside(item, await self._stored(item.key) or item.stored, error, state)
