"""One POST of an intent: written down in the moment before it leaves, and what its end means."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from .._core.intents import Intent, Refusal
from .._core.ledger import IllegalStep, Lose, Refuse, Send, Stands, TakeBack, advance
from .._core.wire import refusal_is_the_items_own, submit_endpoint, submit_request
from .._gate import Slot
from .._logs import failures_logged
from .._parts import Parts
from .._protocols import WireResponse
from ..errors import ApiError, HooxError, NotSent, SessionClosed, StoreError
from ..events import Answered, RequestSent
from .order import ToSend


class Superseded(Exception):
    """The intent was settled or changed since it was decided to send it: nothing was sent."""


class Sending:
    """One POST of an intent. ``in_lane``: a look that it leaves behind could be told by elimination."""

    def __init__(self, parts: Parts, order: ToSend, slot: Slot, *, in_lane: bool) -> None:
        self._parts = parts
        self._order = order
        self._in_lane = in_lane
        self._sent_at = 0.0
        self._held_back: Exception | None = None
        self._unwritten: Send | None = None
        self.intent = order.intent
        self.slot = slot
        self.id = secrets.token_urlsafe(18)
        self.may_cost = False
        """Whether it left and nothing has shown yet that it cost nothing."""

    async def post(self) -> WireResponse:
        """Send it, once. As long as ``may_cost`` is false, whatever is raised means that nothing left.

        Raises `Superseded`, `StoreError`, `NotSent` and what else a transport raises.
        """
        parts, intent = self._parts, self.intent
        with self.slot:
            url = None
            if parts.deliveries is not None and intent.request.webhook_url is None:
                url = parts.deliveries.url_for(self.id)
            wire = submit_request(intent.request, intent.source, url)
            try:
                response = await parts.transport.send(wire, self._before_send)
            except (NotSent, SessionClosed, StoreError, Superseded):
                raise
            except Exception as error:
                if self._held_back is not None and not self.may_cost:
                    raise self._held_back from None
                if not self._has_surely_not_left(error):
                    self._never_said()
                raise
            self._never_said()
        seconds = parts.clock.now() - self._sent_at
        parts.hooks.tell(Answered(wire.endpoint, response.status, seconds, intent.key))
        return response

    async def _before_send(self) -> None:
        step = self._step()
        try:
            await self._write_down(step)
        except IllegalStep:
            self._held_back = Superseded(self.intent.key)
            raise self._held_back from None
        except HooxError as error:
            self._held_back = error
            raise
        except Exception as error:
            self._held_back = as_store_error(error)
            raise self._held_back from error
        self._leaves(step)

    def _has_surely_not_left(self, error: Exception) -> bool:
        """By the word of a transport that announces. Its own losses may have left, as any other's."""
        announces = getattr(self._parts.transport, "announces", False)
        return announces and not self.may_cost and not isinstance(error, HooxError)

    def _never_said(self) -> None:
        """The transport has ended and never said when it begins: what may have left is not written down."""
        if not self.may_cost:
            self._unwritten = self._step()
            self._leaves(self._unwritten)

    def _step(self) -> Send:
        return Send(self.id, self._parts.clock.utc(), self.intent.source, self._in_lane)

    def _leaves(self, step: Send) -> None:
        parts = self._parts
        self.may_cost = True
        self._sent_at = parts.clock.now()
        self.slot.stamp()
        with failures_logged("noting a send time"):
            parts.store.note_sends((step.at,))
        parts.hooks.tell(RequestSent(submit_endpoint(self.intent.request), self._sent_at, self.intent.key))

    async def _write_down(self, step: Send) -> None:
        """In one transaction: that it stands as was decided upon, the user's word, and that it is sent."""
        (intent, stands, word), store = self._order, self._parts.store
        if stands is not None:
            await store.advance(intent.key, Stands(stands), *(() if word is None else (word,)), step)
            return
        written = await store.plan(advance(intent, step))
        if not written.attempts or written.attempts[-1].id != self.id:
            raise IllegalStep(f"intent {intent.key!r} was planned by another: it is {written.state}")

    async def then(self, write: Callable[[], Awaitable[Intent]]) -> Intent:
        """Write what became of it; before that its sending, where that is not written yet."""
        if self._unwritten is not None:
            try:
                await self._write_down(self._unwritten)
            except IllegalStep:
                if not await self._is_written():  # as by a write that said it had failed
                    raise
            self._unwritten = None
        return await write()

    async def _is_written(self) -> bool:
        known = (await self._parts.store.get((self.intent.key,))).get(self.intent.key)
        return known is not None and any(attempt.id == self.id for attempt in known.attempts)

    def end_by(self, error: Exception) -> TakeBack | Refuse | Lose:
        """What an error means for the money of a request that had left."""
        if isinstance(error, NotSent):
            return TakeBack()
        if isinstance(error, ApiError):
            if not refusal_is_the_items_own(error):
                return TakeBack()
            return Refuse(Refusal(error.status, error.code, error.message), self._parts.clock.utc())
        reason = str(error) if isinstance(error, HooxError) else f"{type(error).__name__} on the way"
        return Lose(reason, self._parts.clock.utc())


def as_store_error(error: Exception) -> StoreError:
    """Of whatever a store raised."""
    if isinstance(error, StoreError):
        return error
    return StoreError(f"the store failed: {type(error).__name__}: {error}")
