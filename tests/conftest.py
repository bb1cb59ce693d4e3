"""Fixtures of all tests: virtual time by a marker, and mocked responses of aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses
from rate_limiter_kit import Crowd

from hoox_async.testing import VirtualTimeLoop

try:
    import uvloop
except ImportError:  # there is none for Windows
    uvloop = None  # type: ignore[assignment]

pytest_plugins = ["pytester"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: run the test on a VirtualTimeLoop, whose clock jumps")
    config.addinivalue_line(
        "markers",
        "both_loops: run the test on asyncio's own loop and on uvloop, unless it needs virtual time",
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    if item.get_closest_marker("both_loops") and uvloop is not None:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"real": asyncio.new_event_loop}


class _MockedResponse(aiohttp.ClientResponse):
    """aiohttp 3.14 wants a stream_writer; aioresponses 0.7.9 gives none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def mocked_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answers that aiohttp gives without a connection; an URL that is not mocked is refused."""
    if tuple(int(part) for part in aiohttp.__version__.split(".")[:2]) >= (3, 14):
        monkeypatch.setattr("aioresponses.core.ClientResponse", _MockedResponse)
    with aioresponses() as mocked:
        yield mocked


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    """Those who wait at a rate limiter whose burst is used up."""
    crowd = Crowd()
    await crowd.use_up()
    yield crowd
    await crowd.leave()
