"""One item in flight: sent, awaited, and what became of it as an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import attrs

from .._core.durations import kind_of
from .._core.ledger import IllegalStep, Intent, IntentState, Refusal, Renew, advance
from .._core.models import Look, LookStatus
from .._core.outcomes import Outcome, OutcomeState, outcome_of
from .._core.retry import Patience
from .._core.wire import refusal_is_the_items_own
from .._opened import Opened
from .._slot import Slot
from ..errors import (
    ApiError,
    HooxError,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    StoreError,
)
from .items import Item
from .options import Options
from .purse import BatchPurse, Stopped

# how long after its sending an unknown's own webhook is waited for, beyond the look's expected time
_PROOF_SECONDS = 120.0
_PAID = frozenset({IntentState.ACCEPTED, IntentState.READY, IntentState.FAILED})


class Flight(Protocol):
    """Who is told how far an item has come."""

    def left_gate(self) -> None:
        """It has its slot of the quota."""

    def landed(self, look: Look) -> None:
        """Its look is READY or FAILED."""


class Sender:
    """Carries items through the session's one paid way."""

    def __init__(self, opened: Opened, options: Options, purse: BatchPurse) -> None:
        self._opened = opened
        self._options = options
        self._purse = purse
        self._stop: HooxError | None = None
        self._stoppable: set[asyncio.Timeout] = set()

    def stop(self, reason: HooxError) -> None:
        """Whoever waits for the budget, a source or the gate is turned back, and whoever comes."""
        self._stop = reason
        self._purse.stop(reason)
        for scope in self._stoppable:
            scope.reschedule(self._opened.parts.clock.now())

    @asynccontextmanager
    async def _until_stopped(self) -> AsyncIterator[None]:
        """A stop ends the block with `Stopped`."""
        self._check()
        scope = asyncio.timeout(None)
        self._stoppable.add(scope)
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            self._check()
        finally:
            self._stoppable.discard(scope)

    def _check(self) -> None:
        if self._stop is not None:
            raise Stopped(self._stop)

    async def carry(self, item: Item, flight: Flight) -> Outcome:
        """From where the item stands to its outcome. Raises `Stopped`.

        Notes on the item how far it came.
        """
        try:
            intent = await self._to_its_fate(item, flight.left_gate)
        except StoreError as error:
            if error.charged != "yes" or error.ref is None:
                raise Stopped(error) from None
            look = Look(error.ref, LookStatus.PENDING)
            return Outcome(
                item.key, item.request, OutcomeState.PENDING, look, error, credits=item.request.credits
            )
        except ApiError as error:
            if not refusal_is_the_items_own(error):
                raise Stopped(error) from None
            return await self._standing(item, OutcomeState.REJECTED, error)
        except InvalidRequest as error:
            return await self._standing(item, OutcomeState.REJECTED, error)
        except HooxError as error:  # NotSent, BudgetExceeded …, or the avatar's baseline could not be read
            return await self._standing(item, OutcomeState.UNSENT, error)
        paid = intent.state in _PAID
        outcome = await self.wait(intent, flight.landed) if paid else outcome_of(intent)
        return attrs.evolve(outcome, request=item.request) if intent.digest == item.digest else outcome

    async def _to_its_fate(self, item: Item, left_gate: Callable[[], None]) -> Intent:
        intent = self._planned(item)
        if intent.state is IntentState.UNKNOWN:
            intent = item.intent = await self._settle_unknown(item, intent)
        if intent.state in (IntentState.PLANNED, IntentState.SENDING):
            intent = item.intent = await self._send(item, intent, left_gate)
        return intent

    def _planned(self, item: Item) -> Intent:
        intent = item.intent
        if intent is None:
            return self._opened.submitter.plan(item.request, item.key, True, item.source)
        if item.renew:  # as it will be: see `_renew`
            return advance(intent, Renew(item.request, item.digest))
        return intent

    async def _renew(self, item: Item) -> None:
        """Plan it anew in the moment in which it can be sent: until then the store keeps the old look."""
        if item.renew:
            item.intent = await self._opened.parts.store.advance(item.key, Renew(item.request, item.digest))
            item.renew = False

    async def _send(self, item: Item, intent: Intent, left_gate: Callable[[], None]) -> Intent:
        """Until it is accepted, or what became of it where it is lost."""
        try:
            return await self._submit(item, intent, left_gate)
        except OutcomeUnknown as error:
            lost = item.intent = await self._lost(intent, error)
        if lost.state is not IntentState.UNKNOWN:
            return lost
        again = item.intent = await self._settle_unknown(item, lost)
        if again.state is IntentState.PLANNED:
            try:
                return await self._submit(item, again, left_gate)
            except OutcomeUnknown as error:
                return await self._lost(again, error)
        return again

    async def _lost(self, intent: Intent, error: OutcomeUnknown) -> Intent:
        """As the store knows it; where that can't tell, it is unknown all the same."""
        stands = await self._known(intent.key)
        if stands is not None and stands.state is not IntentState.PLANNED:
            return stands
        return attrs.evolve(intent, state=IntentState.UNKNOWN, refusal=Refusal(None, None, str(error)))

    async def _submit(self, item: Item, intent: Intent, left_gate: Callable[[], None]) -> Intent:
        source = item.source or intent.source
        avatar_id = source.avatar_id if source else None
        submitter, gate, unknowns = self._opened.submitter, self._opened.parts.gate, self._opened.unknowns

        async def take_slot() -> Slot:
            slot = await gate.batch(lambda: avatar_id is None or unknowns.free(avatar_id))
            try:
                await self._renew(item)
            except BaseException:
                slot.give_back()
                raise
            left_gate()
            return slot

        intent = attrs.evolve(intent, source=source)
        try:
            async with self._until_stopped():
                return await submitter.send(intent, take_slot, Patience.BATCH, self._purse)
        except Stopped:
            return await self._in_spite_of_the_stop(item, intent)

    async def _in_spite_of_the_stop(self, item: Item, intent: Intent) -> Intent:
        """What was in the air in that moment still has its end. Raises `Stopped` for what was not."""
        running = self._opened.submitter.in_air_of(intent.key)
        if running is not None:
            try:
                return await asyncio.shield(running)
            except (NotSent, RateLimited):
                self._check()
        stands = await self._known(intent.key)
        if stands is None or stands.state is IntentState.PLANNED or item.renew:
            self._check()
        return stands or intent

    async def _settle_unknown(self, item: Item, intent: Intent) -> Intent:
        """Wait for proof; then, by the user's choice, hold it or plan it anew."""
        unknowns = self._opened.unknowns
        if unknowns.is_searched(intent):
            await unknowns.settled(intent, self._options.look_timeout)
        elif (patience := self._proof_patience(intent)) > 0:
            await unknowns.settled(intent, patience)
        now = await self._now(intent)
        if now.state is IntentState.UNKNOWN and self._resends(item):
            item.resent = True
            try:
                return await self._opened.resend(now)
            except IllegalStep:  # it was proved in this very moment
                return await self._now(intent)
        return now

    def _resends(self, item: Item) -> bool:
        """By the user's choice, and once a run: an API that loses every POST is not paid on and on."""
        chosen = self._options.on_unknown == "resend" and self._stop is None
        return chosen and not item.repeated and not item.resent

    def _proof_patience(self, intent: Intent) -> float:
        parts = self._opened.parts
        if parts.deliveries is None or intent.request.webhook_url is not None or intent.sent_at is None:
            return 0.0
        expected = self._opened.watchlist.expected(kind_of(intent.request))
        until = parts.clock.to_loop(intent.sent_at) + 3 * expected + _PROOF_SECONDS
        return min(self._options.look_timeout, until - parts.clock.now())

    async def source(self, intent: Intent) -> Outcome:
        """As `wait`, for an item that others depend on. Raises `Stopped`: then they are not sent anyway."""
        async with self._until_stopped():
            return await self.wait(intent, lambda _: None)

    async def wait(self, intent: Intent, landed: Callable[[Look], None]) -> Outcome:
        """The outcome of an accepted intent, once its look is done or the patience is over.

        ``landed`` is told when the look is READY or FAILED: the reason of a failure is asked for last.
        """
        book, patience = self._opened.book, self._options.look_timeout
        job = book.job_of(intent)
        error: HooxError | None = None
        try:
            landed(await book.settled(job, patience))
            await job.wait(patience)
        except HooxError as pending:
            error = pending
        last = job.last
        del job  # a settled job is held by nobody
        return self._told(await self._now(intent), last, error)

    def _told(self, intent: Intent, last: Look, error: HooxError | None) -> Outcome:
        if intent.state is IntentState.ACCEPTED and last.status.settled:
            # the store did not take it; what was heard is still true
            state = OutcomeState.READY if last.status is LookStatus.READY else OutcomeState.FAILED
            return outcome_of(intent, state=state, look=last, error=error)
        if intent.state is IntentState.ACCEPTED:
            return outcome_of(intent, look=last, error=error)
        return outcome_of(intent)

    async def _now(self, intent: Intent) -> Intent:
        return await self._known(intent.key) or intent

    async def _known(self, key: str) -> Intent | None:
        """As the store knows it; None also where it can't tell."""
        try:
            return (await self._opened.parts.store.get((key,))).get(key)
        except StoreError:
            return None

    async def _standing(self, item: Item, state: OutcomeState, error: HooxError) -> Outcome:
        intent = await self._known(item.key) or item.intent
        if intent is None:
            return Outcome(item.key, item.request, state, error=error)
        if intent.state not in (IntentState.PLANNED, IntentState.REJECTED) and not item.renew:
            return outcome_of(intent)  # what may have been paid is never told as unsent
        return outcome_of(intent, state=state, error=error, request=item.request, look=None)
