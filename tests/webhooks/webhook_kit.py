"""Helpers of the webhook tests: a hub, a receiver that records its calls, and payloads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from hoox_async._api.webhook_payloads import Delivery
from hoox_async.webhooks import WebhookHub

SECRET = "a secret that is long enough"
READY = b'{"job_id": "look_1", "status": "completed", "result": {"thumbnail_url": "https://m.example/1"}}'
FOREIGN = b'{"task": "video_generate", "video_id": "v1", "status": "completed"}'


class Session:
    """A receiver that knows some attempts and records its calls."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.calls: list[tuple[str, Delivery]] = []

    async def __call__(self, attempt_id: str, delivery: Delivery) -> bool:
        self.calls.append((attempt_id, delivery))
        return attempt_id in self.known


def hub(**options: Any) -> WebhookHub:
    return WebhookHub("https://example.com/hooks/hoox", SECRET, **options)


def token_of(a_hub: WebhookHub, attempt_id: str) -> str:
    return a_hub.url_for(attempt_id).rpartition("/")[2]


async def chunked(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk
