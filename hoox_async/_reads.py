"""Requests that cost nothing: through the gate, sent, read, and sent again where that may help."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, TypeVar

from ._core.models import Avatar, Look, LookDetails, LookRef
from ._core.retry import GiveUp, decide_read
from ._core.wire import (
    avatar_request,
    list_request,
    look_request,
    read_avatar,
    read_look,
    read_looks,
    read_status,
    server_quota,
    status_request,
)
from ._gate import Slot
from ._logs import failures_logged
from ._parts import Parts
from ._protocols import WireRequest, WireResponse
from .errors import HooxError, NotSent, RateLimited, SessionClosed
from .events import Answered, RequestSent, Retried

_T = TypeVar("_T")
_REFUSED = 429


class Reads:
    """The one way in which a read goes out."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def status(self, ref: LookRef) -> Look:
        """The state of one look."""
        return await self.read(status_request(ref), lambda answer: read_status(answer, ref))

    async def avatar(self, avatar_id: str) -> Avatar:
        """An avatar and all its looks."""
        return await self.read(avatar_request(avatar_id), lambda answer: read_avatar(answer, avatar_id))

    async def look(self, ref: LookRef) -> LookDetails:
        """All that the API tells of one look."""
        return await self.read(look_request(ref), lambda answer: read_look(answer, ref))

    async def looks(self, filters: Mapping[str, Any]) -> tuple[LookDetails, ...]:
        """The workspace's looks and the public catalogue, as far as the filters let them through."""
        return await self.read(list_request(filters), read_looks)

    async def read(self, request: WireRequest, parse: Callable[[WireResponse], _T]) -> _T:
        """Send it for a caller, again where that may help. Raises what ``parse`` or the transport raise."""
        began = self._parts.clock.now()
        for attempt in count(1):
            slot = self._parts.gate.free_slot() or await self._parts.gate.own()
            try:
                return await self.once(slot, request, parse)
            except HooxError as error:
                if self._parts.tasks.closed:
                    raise SessionClosed("the session was closed") from None
                elapsed = self._parts.clock.now() - began
                decision = decide_read(attempt, error, elapsed, random.random())  # noqa: S311 - no secret
                if isinstance(decision, GiveUp):
                    raise
                self._parts.hooks.tell(Retried(request.endpoint, type(error).__name__, decision.delay))
                await asyncio.sleep(decision.delay)
        raise AssertionError("count() does not end")

    async def once(self, slot: Slot, request: WireRequest, parse: Callable[[WireResponse], _T]) -> _T:
        """Send it once in this slot of the quota."""
        parts = self._parts
        with slot.read():
            sent_at = slot.sent_at or parts.clock.now()
            parts.store.note_sends((parts.clock.to_utc(sent_at),))
            if parts.hooks.given:
                parts.hooks.tell(RequestSent(request.endpoint, sent_at))
            try:
                response = await parts.transport.send(request)
            except NotSent:
                slot.give_back()  # no connection was made: nothing counts it
                raise
        if parts.hooks.given:
            parts.hooks.tell(Answered(request.endpoint, response.status, parts.clock.now() - sent_at))
        return self.heard(response, slot, parse)

    def heard(self, response: WireResponse, slot: Slot, parse: Callable[[WireResponse], _T]) -> _T:
        """Take from an answer what it says of the quota, then read it.

        What goes wrong with the quota is logged: the answer counts all the same, a paid one above all.
        """
        with failures_logged("reading the quota from an answer"):
            self._observe(response, slot)
        try:
            return parse(response)
        except RateLimited as error:
            with failures_logged("pausing after a 429"):
                self._parts.gate.pause(error.retry_after, "the API answered 429")
            raise

    def _observe(self, response: WireResponse, slot: Slot) -> None:
        quota = server_quota(response.headers)
        if quota is None or quota.resets_in is None:  # without a Date, the reset counts against our clock
            quota = server_quota(response.headers, self._parts.clock.utc())
        if quota is not None:
            if response.status == _REFUSED:
                # "none left" is over when the pause is, and must not slow the minute after it
                quota = quota._replace(remaining=None)
            self._parts.gate.observe(quota, slot)
