"""One item in flight: sent, awaited, and what became of it as an outcome."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import attrs

from .._api.models import Look, LookStatus
from .._api.responses import refusal_is_the_items_own
from .._core.intents.intent import Intent, IntentState, Refusal
from .._core.intents.outcomes import Outcome, OutcomeState, outcome_of
from .._core.intents.transitions import Replace, Resend, advance
from .._core.polling.durations import kind_of
from .._core.retry import Patience
from .._session.runtime import SessionRuntime
from .._session.submit import SendOptions
from ..errors import ApiError, HooxError, InvalidRequest, KeyConflict, NotFound, OutcomeUnknown, StoreError
from .admission import accepted_unwritten, cancelled_unclear, conflict, decide_turn, for_want_of
from .batch_budget import BatchBudget
from .breaker import BatchBreaker
from .items import Item
from .options import Options
from .stop import Stop, Stopped

# how long after its sending an unknown's own webhook is waited for, beyond the look's expected time
_PROOF_SECONDS = 120.0


class Flight(Protocol):
    """Who is told how far an item has come."""

    def got_permit(self) -> None:
        """It has its permit of the quota, or needs none."""

    def lost(self) -> None:
        """Its POST was lost in this run: it may have been paid."""

    def landed(self, look: Look) -> None:
        """Its look is READY or FAILED."""


class Sender:
    """Carries items through the session's one paid way."""

    def __init__(
        self, runtime: SessionRuntime, options: Options, purse: BatchBudget, stop: Stop, breaker: BatchBreaker
    ) -> None:
        self._runtime = runtime
        self._options = options
        self._purse = purse
        self._stop = stop
        self._breaker = breaker

    async def carry(self, item: Item, flight: Flight) -> Outcome:
        """From where the item stands to its outcome. Raises `Stopped`.

        Notes on the item how far it came.
        """
        try:
            intent = await self._to_its_fate(item, flight)
        except StoreError as error:
            if error.charged != "yes" or error.ref is None:
                raise Stopped(error) from None
            return accepted_unwritten(item, error.ref, error)
        except ApiError as error:
            if not refusal_is_the_items_own(error):
                raise Stopped(error) from None
            return await self._standing(item, OutcomeState.REJECTED, error)
        except KeyConflict:
            return conflict(item)
        except InvalidRequest as error:
            return await self._standing(item, OutcomeState.REJECTED, error)
        except HooxError as error:  # NotSent, BudgetExceeded …, or the avatar's baseline could not be read
            return await self._standing(item, OutcomeState.UNSENT, error)
        outcome = await self.wait(intent, flight.landed) if intent.state.paid else outcome_of(intent)
        return attrs.evolve(outcome, request=item.request) if intent.digest == item.digest else outcome

    async def _to_its_fate(self, item: Item, flight: Flight) -> Intent:
        """Until it is accepted, or as far as it comes without."""
        intent = item.intent
        pays_anew = item.renew and intent is not None and intent.state is IntentState.ACCEPTED
        if pays_anew and intent is not None and intent.digest == item.digest:  # the very look that is wanted
            await self._ask_first(item, intent)
            intent = item.intent
        if intent is None or item.needs_sending or intent.state is IntentState.SENDING:
            intent = await self._send(item, flight)
        else:
            flight.got_permit()
        if intent.state is IntentState.UNKNOWN:
            intent = await self._wait_for_proof(intent)
            if intent.state is IntentState.UNKNOWN and self._resends(item):
                item.intent, item.renew, item.resends = intent, False, True
                intent = await self._send(item, flight)
        return intent

    async def _ask_first(self, item: Item, pending: Intent) -> None:
        """Before a look that was not done is paid anew: is it done by now? That is asked free of charge.

        Notes on the item what it stands as, and whether it is still to be paid anew. Raises `Stopped`, and
        what the request raises: then nothing is paid.
        """
        job = self._runtime.registry.job_of(pending)  # held: so the answer is written down
        try:
            async with self._stop.turns_back():
                look = await self._runtime.ask(job.ref)
        except HooxError as error:
            if isinstance(error, NotFound) and refusal_is_the_items_own(error):
                return  # the API knows no such look: it will never be done
            item.renew = False
            raise
        if not look.status.settled:
            return
        now = await self._known(item.key)
        if now is None or now.unmoved(pending):  # the store did not take it; what was heard is still true
            state = IntentState.READY if look.status is LookStatus.READY else IntentState.FAILED
            now = attrs.evolve(pending, state=state, look=look)
        if now.digest == item.digest:
            item.intent = now
            item.renew = now.state is IntentState.FAILED and IntentState.FAILED in self._options.retry

    # --- sending

    async def _send(self, item: Item, flight: Flight) -> Intent:
        """Until it is accepted, or what became of it where it is lost or another has had its key."""
        free = self._runtime.unknowns.avatars.is_unlocked
        source = item.source or (item.intent.source if item.intent else None)
        wanted = self._runtime.submitter.plan(item.request, item.key, True, source)
        began = self._runtime.services.clock.now()
        posts = self._breaker.posts(
            lambda: source is None or free(source.avatar_id), flight.got_permit, began
        )
        how = SendOptions(posts.acquire_permit, Patience.BATCH, self._purse, began)
        try:
            async with self._stop.turns_back():
                with posts:
                    return await self._runtime.submitter.send(
                        wanted, lambda stands: decide_turn(item, wanted, stands, self._options), how
                    )
        except OutcomeUnknown as error:
            if posts.lost:
                flight.lost()
            return await self._lost(item, wanted, error)
        except Stopped:
            return await self._in_spite_of_the_stop(item, wanted)

    async def _in_spite_of_the_stop(self, item: Item, wanted: Intent) -> Intent:
        """What was outstanding in that moment still has its end. Raises `Stopped` for what was not."""
        try:
            landed = await self._runtime.submitter.join(item.key)
        except OutcomeUnknown as error:
            return await self._lost(item, wanted, error)
        if landed is not None:
            return landed
        stands = await self._known(item.key)
        if stands is None or stands.state is IntentState.PLANNED or item.stands_as_known(stands):
            self._stop.check()
        return stands or wanted

    async def _lost(self, item: Item, wanted: Intent, error: OutcomeUnknown) -> Intent:
        """As the store knows it; where that can't tell, it is unknown all the same."""
        stands = await self._known(item.key)
        told = stands is not None and stands.state not in (IntentState.PLANNED, IntentState.SENDING)
        if stands is not None and told and not (item.renew and item.stands_as_known(stands)):
            return stands
        sent = stands or item.intent or wanted
        if sent.state is not IntentState.SENDING and item.renew:
            sent = advance(sent, Replace(item.request, item.digest))
        elif sent.state is IntentState.UNKNOWN:
            sent = advance(sent, Resend())
        return attrs.evolve(sent, state=IntentState.UNKNOWN, refusal=Refusal(None, None, str(error)))

    # --- unknowns

    async def _wait_for_proof(self, intent: Intent) -> Intent:
        """As it stands once its look is proved, or nothing can be expected to prove it any more."""
        unknowns = self._runtime.unknowns
        searched = unknowns.avatars.is_searched(intent)
        patience = self._options.look_timeout if searched else self._proof_patience(intent)
        if patience > 0:
            with suppress(StoreError):
                await unknowns.wait_settled(intent, patience)
        now = await self._known(intent.key)
        if now is None or now.state is IntentState.SENDING:  # the store does not take it, or cannot tell
            return intent
        return now

    def _resends(self, item: Item) -> bool:
        """By the user's choice, and once a run: an API that loses every POST is not paid on and on."""
        chosen = self._options.on_unknown == "resend" and self._stop.reason is None
        return chosen and not item.repeated and not item.resends

    def _proof_patience(self, intent: Intent) -> float:
        services = self._runtime.services
        if services.deliveries is None or intent.request.webhook_url is not None or intent.sent_at is None:
            return 0.0
        expected = self._runtime.scheduler.expected(kind_of(intent.request))
        until = services.clock.to_loop(intent.sent_at) + 3 * expected + _PROOF_SECONDS
        return min(self._options.look_timeout, until - services.clock.now())

    # --- waiting

    async def source(self, intent: Intent) -> Outcome:
        """As `wait`, for an item that others depend on. Raises `Stopped`: then they are not sent anyway."""
        async with self._stop.turns_back():
            return await self.wait(intent, lambda _: None)

    async def wait(self, intent: Intent, landed: Callable[[Look], None]) -> Outcome:
        """The outcome of an accepted intent, once its look is done or the patience is over.

        ``landed`` is told when the look is READY or FAILED: the reason of a failure is asked for last.
        """
        registry, patience = self._runtime.registry, self._options.look_timeout
        job = registry.job_of(intent)
        error: HooxError | None = None
        try:
            landed(await registry.settled(job, patience))
            await job.wait(patience)
        except HooxError as pending:
            error = pending
        last = job.last
        del job  # a settled job is held by nobody
        return self._told(await self._known(intent.key) or intent, last, error)

    def _told(self, intent: Intent, last: Look, error: HooxError | None) -> Outcome:
        if intent.state is IntentState.ACCEPTED and last.status.settled:
            # the store did not take it; what was heard is still true
            state = OutcomeState.READY if last.status is LookStatus.READY else OutcomeState.FAILED
            return outcome_of(intent, state=state, look=last, error=error)
        if intent.state is IntentState.ACCEPTED:
            return outcome_of(intent, look=last, error=error)
        return outcome_of(intent)

    # --- where its task was cancelled

    async def after_cancel(self, item: Item, error: HooxError) -> Outcome:
        """The outcome of an item whose task was cancelled from outside, by what the store knows of it.

        What is outstanding in that moment still has its end.
        """
        with suppress(HooxError):
            await self._runtime.submitter.join(item.key)
        try:
            stands = (await self._runtime.services.store.get((item.key,))).get(item.key)
        except StoreError:
            return cancelled_unclear(item, error)
        return for_want_of(item, stands, error, OutcomeState.UNSENT)

    async def _known(self, key: str) -> Intent | None:
        """As the store knows it; None also where it can't tell."""
        try:
            return (await self._runtime.services.store.get((key,))).get(key)
        except StoreError:
            return None

    async def _standing(self, item: Item, state: OutcomeState, error: HooxError) -> Outcome:
        return for_want_of(item, await self._known(item.key) or item.intent, error, state)
