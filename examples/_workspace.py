"""Where the examples run: on the real API with a key, else on a sandbox, where nothing costs anything."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hoox_async import HooxSession
from hoox_async.sandbox import Sandbox


def is_real() -> bool:
    """Whether credits are spent: when HOOX_API_KEY is set."""
    return "HOOX_API_KEY" in os.environ


@asynccontextmanager
async def workspace(
    *, store: str | None = None, speed: float = 100.0, **options: Any
) -> AsyncIterator[HooxSession]:
    """A session; ``options`` are `HooxSession`'s.

    ``store`` counts on the real API alone: a sandbox forgets its looks. At ``speed`` 100, a look of the
    sandbox takes about half a second.
    """
    if is_real():
        async with HooxSession(store=store, **options) as session:
            yield session
    else:
        async with Sandbox(speed=speed) as sandbox, sandbox.session(**options) as session:
            yield session
