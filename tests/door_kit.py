"""Helper of the tests of the public door: a session for an address without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hoox_async import HooxSession, LookRef

BASE = "https://hoox.example/v1"
KEY = "hx_live_marked"
REF = LookRef("avtr_1", "look_2")
NEW = {"avatar_id": "avtr_1", "look_id": "look_2"}


@asynccontextmanager
async def session_on(**options: Any) -> AsyncIterator[HooxSession]:
    options.setdefault("base_url", BASE)
    async with HooxSession(KEY, **options) as session:
        yield session
