"""One POST from the slot in hand to what became of it in the store: in a task of the session's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from functools import partial

from .._core.intents import Evidence, Intent, IntentState
from .._core.ledger import LookTaken, Lose
from .._core.models import LookRef
from .._core.wire import read_accepted
from .._gate import Slot
from .._jobs.book import JobBook
from .._parts import Parts
from .._receiver import Receiver
from .._unknowns import Unknowns
from ..errors import HooxError, OutcomeUnknown
from ..events import OutcomeLost
from .order import ToSend
from .pending import Late, PendingWrites
from .purse import Purse
from .sending import Sending, as_store_error


class Posting:
    """Carries POSTs out and writes down what became of them; what the store does not take is `pending`."""

    def __init__(self, parts: Parts, book: JobBook, unknowns: Unknowns, receiver: Receiver) -> None:
        self._parts = parts
        self._book = book
        self._unknowns = unknowns
        self._receiver = receiver
        self.pending = PendingWrites(parts)

    async def post(self, order: ToSend, slot: Slot, purse: Purse) -> Intent:
        """The intent once it is accepted. Leaves its lane and ends its reservation, whatever happens.

        Raises what `Sending.post` raises where nothing left, `OutcomeUnknown`, `ApiError`, `NotSent`, and
        `StoreError` where what became of it is not written down yet.
        """
        intent = order.intent
        sending = Sending(self._parts, order, slot, in_lane=self._unknowns.proves(intent))
        try:
            try:
                response = await sending.post()
                ref = read_accepted(response, intent.source)
            except Exception as error:
                return await self._ended(sending, error)
            return await self._accepted(sending, ref)
        finally:
            if intent.key not in self.pending:
                self._unknowns.leave_lane(intent)
            purse.release(intent.credits, spent=sending.may_cost)

    async def _accepted(self, sending: Sending, ref: LookRef) -> Intent:
        """It has cost credits. Raises `StoreError`, with ``.ref``, when that could not be written down.

        An answer that names another request's look proves nothing of this one's: it is lost.
        """
        accept = partial(self._parts.accept, sending.intent.key, ref, Evidence.ANSWER)

        async def write_late() -> Intent:
            try:
                return await sending.then(accept)
            except LookTaken as taken:
                after = await self._parts.store.advance(sending.intent.key, sending.end_by(taken))
                self._tell_lost(after, str(taken))
                return after

        async def follow(after: Intent) -> Intent | None:
            if after.state is IntentState.UNKNOWN:
                return await self._settle_unknown(after, lost=True)
            self._unknowns.made(after)
            self._book.follow(after)
            return await self._receiver.apply_kept(after, sending.id)

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
        self._book.follow(accepted)
        return await self._receiver.apply_kept(accepted, sending.id)

    async def _ended(self, sending: Sending, error: Exception) -> Intent:
        """It was refused or lost, or never left: raises that, unless a delivery has proved its look."""
        if not sending.may_cost:
            raise error
        intent, step = sending.intent, sending.end_by(error)
        sending.may_cost = lost = isinstance(step, Lose)
        told: Exception = error
        if isinstance(step, Lose):
            told = OutcomeUnknown(f"{intent.key}: {step.reason}; it may have been charged", key=intent.key)
            self._tell_lost(intent, step.reason)
        write = partial(sending.then, partial(self._parts.store.advance, intent.key, step))
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
        self._parts.hooks.tell(OutcomeLost(intent.key, reason, intent.credits, intent.request.metadata))

    async def _settle_unknown(self, after: Intent, *, lost: bool) -> Intent | None:
        """A delivery may have named the look already; else it is searched for, where that can prove it."""
        if after.state is not IntentState.UNKNOWN:
            return None
        proved = await self._receiver.settle_lost(after.attempts[-1].id)
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
        leave = partial(self._unknowns.leave_lane, intent)
        self.pending.keep(Late(intent.key, self._unknowns.lane_of(intent), write, told, follow, leave))
