"""Helpers of the tests of the public door: a session for an address without a server, and what it sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aioresponses import aioresponses
from yarl import URL

from hoox_async import HooxSession, LookRef

BASE = "https://hoox.example/v1"
KEY = "hx_live_marked"
REF = LookRef("avtr_1", "look_2")
NEW = {"avatar_id": "avtr_1", "look_id": "look_2"}


@asynccontextmanager
async def session_on(**options: Any) -> AsyncIterator[HooxSession]:
    async with HooxSession(KEY, **{"base_url": BASE, "requests_per_minute": 6_000, **options}) as session:
        yield session


def sent(mocked: aioresponses, method: str, path: str, **query: str) -> dict[str, Any]:
    """The JSON of the last request to this path."""
    *_, call = mocked.requests[method, URL(f"{BASE}/{path}").with_query(query or None)]
    body: dict[str, Any] = call.kwargs.get("json") or {}
    return body
