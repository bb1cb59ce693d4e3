"""One POST of an intent: written down in the moment before it leaves, and what its end means."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable

from .._core.intents import Intent, Refusal
from .._core.ledger import IllegalStep, LookTaken, Lose, Refuse, Send, Stands, TakeBack, advance
from .._core.wire import refusal_is_the_items_own, submit_endpoint, submit_request
from .._gate import Slot
from .._parts import Parts
from .._protocols import WireResponse
from ..errors import ApiError, HooxError, NotSent, SessionClosed, StoreError, TransportError
from ..events import Answered, RequestSent
from .order import ToSend

_HELD_TOO_LONG = 10.0  # seconds; beyond those that connecting may take


class Superseded(Exception):
    """Nothing was sent, and it is decided anew: the intent was settled or changed, or its slot is stale."""


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
        self._answered = False
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
            parts.answered(self.slot, response)
        seconds = parts.clock.now() - self._sent_at
        parts.hooks.tell(Answered(wire.endpoint, response.status, seconds, intent.key))
        return response

    async def _before_send(self) -> None:
        if self.may_cost:
            raise TransportError("a paid request is sent once")
        if self.slot.is_stale(self._longest_hold()):
            self._held_back = Superseded(self.intent.key)
            raise self._held_back
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
        self._leaves()

    def _longest_hold(self) -> float:
        """For how long its slot may be in hand: as connecting may take, and some more.

        A transport that is not ours may connect for as long as it likes; anew each time, it would never send.
        """
        if not getattr(self._parts.transport, "announces", False):
            return math.inf
        return 2 * self._parts.timeouts.connect + _HELD_TOO_LONG

    def _has_surely_not_left(self, error: Exception) -> bool:
        """By the transport's word. Of one that announces, so has what others raise before it has begun.

        Its own losses may have left, as any other's; and once it has begun, no word counts any more.
        """
        if self.may_cost or isinstance(error, NotSent):
            return not self.may_cost
        announces = getattr(self._parts.transport, "announces", False)
        return announces and (isinstance(error, SessionClosed) or not isinstance(error, HooxError))

    def _never_said(self) -> None:
        """The transport has ended and never said when it begins: what may have left is not written down."""
        if not self.may_cost:
            self._unwritten = self._step()
            self._leaves()

    def _step(self) -> Send:
        return Send(self.id, self._parts.clock.utc(), self.intent.source, self._in_lane)

    def _leaves(self) -> None:
        parts = self._parts
        self.may_cost = True
        endpoint = submit_endpoint(self.intent.request)
        parts.hooks.tell(RequestSent(endpoint, parts.clock.now(), self.intent.key))
        self.slot.stamp()  # as late as can be: a hook may have taken its time, and the bytes go now
        self._sent_at = parts.clock.now()

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
        """What an error means for the money of a request that had left.

        Only a refusal that was read from an answer shows that it cost nothing. What a transport raises shows
        nothing any more, whatever its class: a `NotSent` may be of its second try.
        """
        if isinstance(error, ApiError) and self._answered:
            if not refusal_is_the_items_own(error):
                return TakeBack()
            return Refuse(Refusal(error.status, error.code, error.message), self._parts.clock.utc())
        told = isinstance(error, HooxError | LookTaken)
        reason = str(error) if told else f"{type(error).__name__} on the way"
        return Lose(reason, self._parts.clock.utc())


def as_store_error(error: Exception) -> StoreError:
    """Of whatever a store raised."""
    if isinstance(error, StoreError):
        return error
    return StoreError(f"the store failed: {type(error).__name__}: {error}")
