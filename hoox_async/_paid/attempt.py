"""One sending of an intent, and the ways in which it ends in the store."""

from __future__ import annotations

import secrets

from .._core.ledger import Accept, Evidence, Intent, Lose, Refusal, Refuse, Send, TakeBack, advance
from .._core.models import LookRef
from .._core.requests import LookEdit
from .._core.wire import refusal_is_the_items_own, submit_request
from .._gate import Slot
from .._parts import Parts
from .._protocols import WireResponse
from ..errors import ApiError, HooxError, NotSent, OutcomeUnknown, SessionClosed, StoreError
from ..events import Answered, LookAccepted, OutcomeLost, RequestSent


class Attempt:
    """One sending of an intent, and the ways in which it ends in the store."""

    def __init__(self, parts: Parts, intent: Intent, slot: Slot, *, in_lane: bool) -> None:
        self._parts = parts
        self._intent = intent
        self.slot = slot
        self._in_lane = in_lane
        self._sent_at = 0.0
        self.id = secrets.token_urlsafe(18)
        self.source = intent.source
        self.may_cost = False
        """Whether it left and nothing has shown yet that it cost nothing."""

    async def send(self) -> WireResponse:
        """Send it. Raises `NotSent` where nothing left, `TransportError` and others where it may have."""
        parts, intent = self._parts, self._intent
        url = None
        if parts.deliveries is not None and intent.request.webhook_url is None:
            url = parts.deliveries.url_for(self.id)
        wire = submit_request(intent.request, self.source, url)
        with self.slot:
            try:
                response = await parts.transport.send(wire, self._before_send)
            except (NotSent, SessionClosed, StoreError):
                raise
            except HooxError:
                if not self.may_cost:
                    await self._before_send()  # a transport that failed without saying whether it had begun
                raise
        seconds = parts.clock.now() - self._sent_at
        parts.hooks.tell(Answered(wire.endpoint, response.status, seconds, intent.key))
        return response

    async def _before_send(self) -> None:
        parts, intent = self._parts, self._intent
        step = Send(self.id, parts.clock.utc(), self.source, self._in_lane)
        stands = await parts.store.plan(advance(intent, step))
        if not stands.attempts or stands.attempts[-1].id != self.id:
            await parts.store.advance(intent.key, step)
        self.may_cost = True
        self._sent_at = parts.clock.now()
        self.slot.stamp()
        parts.store.note_sends((step.at,))
        endpoint = "edit" if isinstance(intent.request, LookEdit) else "create"
        parts.hooks.tell(RequestSent(endpoint, self._sent_at, intent.key))

    async def accept(self, ref: LookRef) -> Intent:
        """It has cost credits now. Raises `StoreError` (with ``.ref``) when that could not be written."""
        parts = self._parts
        try:
            accepted = await parts.store.advance(
                self._intent.key, Accept(ref, parts.clock.utc(), Evidence.ANSWER)
            )
        except StoreError as error:
            error.charged = "yes"
            error.ref = ref
            raise
        parts.hooks.tell(
            LookAccepted(
                accepted.key, ref, accepted.credits, Evidence.ANSWER, metadata=accepted.request.metadata
            )
        )
        return accepted

    async def take_back(self) -> None:
        """It surely cost nothing: back to the plan, before any pause."""
        left, self.may_cost = self.may_cost, False
        if left:
            await self._parts.store.advance(self._intent.key, TakeBack())

    async def refused(self, error: ApiError) -> None:
        """The API said no: to this request for good, or for a reason that is not the request's own."""
        if not refusal_is_the_items_own(error):
            await self.take_back()
            return
        self.may_cost = False
        refusal = Refusal(error.status, error.code, error.message)
        await self._parts.store.advance(self._intent.key, Refuse(refusal, self._parts.clock.utc()))

    async def lose(self, reason: str) -> OutcomeUnknown:
        """It may have been paid. Gives the error to raise."""
        parts, intent = self._parts, self._intent
        error = OutcomeUnknown(f"{intent.key}: {reason}; it may have been charged", key=intent.key)
        try:
            await parts.store.advance(intent.key, Lose(reason, parts.clock.utc()))
        except StoreError as trouble:
            error.add_note(
                f"the store did not take it either ({trouble}); it recovers this when opened again"
            )
        parts.hooks.tell(OutcomeLost(intent.key, reason, intent.credits))
        return error
