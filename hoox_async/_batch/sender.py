"""One item in flight: sent, awaited, and what became of it as an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from .._core.ledger import Intent, IntentState, Renew
from .._core.models import Look, LookStatus
from .._core.outcomes import Outcome, OutcomeState, outcome_of
from .._core.retry import Patience
from .._core.wire import refusal_is_the_items_own
from .._opened import Opened
from .._slot import Slot
from ..errors import (
    ApiError,
    BudgetExceeded,
    HooxError,
    InvalidRequest,
    NotSent,
    OutcomeUnknown,
    SessionClosed,
    StoreError,
)
from .items import Item
from .options import Options
from .purse import BatchPurse, Stopped

# how long after its sending an unknown's own webhook is waited for, beyond the look's expected time
_PROOF_SECONDS = 120.0
_PAID = frozenset({IntentState.ACCEPTED, IntentState.READY, IntentState.FAILED})


class Sender:
    """Carries items through the session's one paid way."""

    def __init__(self, opened: Opened, options: Options, purse: BatchPurse) -> None:
        self._opened = opened
        self._options = options
        self._purse = purse
        self._stop: HooxError | None = None
        self._before_sending: set[asyncio.Timeout] = set()

    def stop(self, reason: HooxError) -> None:
        """Whoever waits for the budget or at the gate is turned back, and whoever comes."""
        self._stop = reason
        self._purse.stop(reason)
        for scope in self._before_sending:
            scope.reschedule(self._opened.parts.clock.now())

    async def carry(self, item: Item, left_gate: Callable[[], None]) -> Outcome:
        """From where the item stands to its outcome. Raises `Stopped`."""
        try:
            intent = await self._planned(item)
            if intent.state is IntentState.UNKNOWN:
                intent = await self._settle_unknown(intent)
            if intent.state in (IntentState.PLANNED, IntentState.SENDING):
                intent = await self._send(item, intent, left_gate)
        except StoreError as error:
            if error.charged != "yes" or error.ref is None:
                raise Stopped(error) from None
            look = Look(error.ref, LookStatus.PENDING)
            return Outcome(
                item.key, item.request, OutcomeState.PENDING, look, error, credits=item.request.credits
            )
        except (BudgetExceeded, NotSent, SessionClosed) as error:
            return await self._standing(item, OutcomeState.UNSENT, error)
        except ApiError as error:
            if not refusal_is_the_items_own(error):
                raise Stopped(error) from None
            return await self._standing(item, OutcomeState.REJECTED, error)
        except InvalidRequest as error:
            return await self._standing(item, OutcomeState.REJECTED, error)
        outcome = await self.wait(intent) if intent.state in _PAID else outcome_of(intent)
        return attrs.evolve(outcome, request=item.request) if intent.digest == item.digest else outcome

    async def _planned(self, item: Item) -> Intent:
        intent = item.intent
        if intent is None:
            return self._opened.submitter.plan(item.request, item.key, True, item.source)
        if item.renew:
            return await self._opened.parts.store.advance(item.key, Renew(item.request, item.digest))
        return intent

    async def _send(self, item: Item, intent: Intent, left_gate: Callable[[], None]) -> Intent:
        """Until it is accepted, or what became of it where it is lost."""
        try:
            return await self._submit(item, intent, left_gate)
        except OutcomeUnknown:
            lost = await self._now(intent)
        if lost.state is not IntentState.UNKNOWN:
            return lost
        again = await self._settle_unknown(lost)
        if again.state is IntentState.PLANNED:
            try:
                return await self._submit(item, again, left_gate)
            except OutcomeUnknown:
                return await self._now(intent)  # once a run is enough
        return again

    async def _submit(self, item: Item, intent: Intent, left_gate: Callable[[], None]) -> Intent:
        gate = self._opened.parts.gate
        source = item.source or intent.source
        avatar_id = source.avatar_id if source else None

        def ready() -> bool:
            return avatar_id is None or self._opened.unknowns.free(avatar_id)

        async def take_slot() -> Slot:
            if self._stop is not None:
                raise Stopped(self._stop)
            slot = await gate.batch(ready)
            self._before_sending.discard(scope)  # from here on a stop no longer turns it back
            left_gate()
            return slot

        intent = attrs.evolve(intent, source=source)
        try:
            async with asyncio.timeout(None) as scope:
                self._before_sending.add(scope)
                return await self._opened.submitter.send(intent, take_slot, Patience.BATCH, self._purse)
        except TimeoutError:
            raise Stopped(self._stop or HooxError("stopped")) from None
        finally:
            self._before_sending.discard(scope)

    async def _settle_unknown(self, intent: Intent) -> Intent:
        """Wait for proof; then, by the user's choice, hold it or plan it anew."""
        unknowns = self._opened.unknowns
        if unknowns.is_searched(intent):
            await unknowns.settled(intent, self._options.look_timeout)
        elif (patience := self._proof_patience(intent)) > 0:
            await unknowns.settled(intent, patience)
        now = await self._now(intent)
        if now.state is IntentState.UNKNOWN and self._options.on_unknown == "resend":
            return await self._opened.resend(now)
        return now

    def _proof_patience(self, intent: Intent) -> float:
        parts = self._opened.parts
        if parts.deliveries is None or intent.request.webhook_url is not None or intent.sent_at is None:
            return 0.0
        expected = self._opened.watchlist.expected(_kind(intent))
        until = parts.clock.to_loop(intent.sent_at) + 3 * expected + _PROOF_SECONDS
        return min(self._options.look_timeout, until - parts.clock.now())

    async def wait(self, intent: Intent) -> Outcome:
        """The outcome of an accepted intent, once its look is done or the patience is over."""
        job = self._opened.book.job_of(intent)
        error: HooxError | None = None
        try:
            await job.wait(self._options.look_timeout)
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
        try:
            found = await self._opened.parts.store.get((intent.key,))
        except StoreError:
            return intent
        return found.get(intent.key, intent)

    async def _standing(self, item: Item, state: OutcomeState, error: HooxError) -> Outcome:
        found = await self._opened.parts.store.get((item.key,))
        intent = found.get(item.key)
        if intent is None:
            return Outcome(item.key, item.request, state, error=error)
        return outcome_of(intent, state=state, error=error, request=item.request)


def _kind(intent: Intent) -> tuple[str, str]:
    return intent.request.KIND, str(getattr(intent.request, "resolution", ""))
