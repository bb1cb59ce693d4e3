"""Helpers of the webhook tests: a hub without signatures, and a session that subscribes to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from session_kit import on_space, store_of, turns

from hoox_async import HooxSession, LookRef, LookStatus
from hoox_async._api.webhook_payloads import Delivery, parse_delivery
from hoox_async._session import runtime_of
from hoox_async.errors import OutcomeUnknown
from hoox_async.events import DeliveryReceived, Event
from hoox_async.sandbox import DeliveryOptions, Fault, InProcessTransport, Space

Receive = Callable[[str, Delivery], Any]
PICTURE = "https://media.example/look.jpg"


class Hub:
    """A hub in place of WebhookHub: the last part of its URLs is the plain attempt id."""

    def __init__(self) -> None:
        self.receivers: list[Receive] = []
        self.attempts: list[str] = []

    def url_for(self, attempt_id: str) -> str:
        self.attempts.append(attempt_id)
        return f"https://hooks.example/{attempt_id}"

    def subscribe(self, receiver: Receive) -> Callable[[], None]:
        self.receivers.append(receiver)
        return lambda: self.receivers.remove(receiver)

    async def post(self, url: str, body: dict[str, Any]) -> int:
        """Deliver the JSON of a webhook, as the sandbox's `WebhookSender` does over HTTP."""
        delivery = parse_delivery(json.dumps(body).encode())
        assert isinstance(delivery, Delivery)
        return 200 if await self(url.rpartition("/")[2], delivery) else 503

    async def __call__(self, attempt_id: str, delivery: Delivery) -> bool:
        return any([await receiver(attempt_id, delivery) for receiver in self.receivers])


class Stage:
    """A session with a hub on a fake workspace, and the events that its hooks received."""

    def __init__(self, session: HooxSession, space: Space, hub: Hub, events: list[Event]) -> None:
        self.session = session
        self.space = space
        self.hub = hub
        self.events = events

    async def lose(self, request: Any, key: str) -> str:
        """Submit a request whose response is lost although it is charged. Returns the attempt id."""
        self.space.faults.fail_next("edit" if hasattr(request, "source") else "create", Fault.DROP_AFTER)
        with pytest.raises(OutcomeUnknown):
            await self.session.submit(request, key=key)
        return self.hub.attempts[-1]

    async def deliver(self, attempt_id: str, ref: LookRef, status: LookStatus, **fields: Any) -> bool:
        fields.setdefault("avatar_id", ref.avatar_id)
        if status is LookStatus.READY:
            fields.setdefault("thumbnail_url", PICTURE)
        if status is LookStatus.FAILED:
            fields.setdefault("error_message", "no luck")
        taken = await self.hub(attempt_id, Delivery(ref.look_id, status, **fields))
        await turns()
        return taken

    def slow_down(self) -> None:
        """Let each request take ten seconds from now on."""
        transport = runtime_of(self.session).transport
        assert isinstance(transport, InProcessTransport)
        transport._latency = 10.0

    @property
    def last(self) -> LookRef:
        """The look that was charged last."""
        return self.space.ledger[-1].ref

    @property
    def used(self) -> list[bool]:
        return [event.used for event in self.events if isinstance(event, DeliveryReceived)]


@asynccontextmanager
async def stage(
    space: Space | None = None,
    *,
    sends_webhooks: DeliveryOptions | None = None,
    hub: Hub | None = None,
    **options: Any,
) -> AsyncIterator[Stage]:
    """A session with a hub; without ``sends_webhooks`` looks stay as they are until the test settles them."""
    hub = hub or Hub()
    events: list[Event] = []
    transport = {"deliver": hub.post, "deliveries": sends_webhooks} if sends_webhooks else {}
    if sends_webhooks is None:
        space = space or Space(rng=Random(1), requests_per_minute=None)
        space.hold(0.0)
    async with on_space(space, transport=transport, webhooks=hub, hooks=[events.append], **options) as (
        session,
        opened,
    ):
        yield Stage(session, opened, hub, events)


async def claimed(on: Stage, avatar_id: str) -> frozenset[str]:
    """The looks of this avatar that belong to the session's intents."""
    return await store_of(on.session).claimed_looks(avatar_id)
