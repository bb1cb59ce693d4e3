"""Server-sent events: each change is sent to all pages of its customer."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, NamedTuple

PING_EVERY = 15.0  # seconds: proxies drop a connection that is silent for long
_MOST_WAITING = 2000


class Event(NamedTuple):
    """One event for the page."""

    name: str
    data: Any

    def encoded(self) -> bytes:
        """The event in the format of server-sent events."""
        return f"event: {self.name}\ndata: {json.dumps(self.data)}\n\n".encode()


class Feed:
    """Sends events to pages. The stream of a page that is too slow ends, so that it reconnects."""

    def __init__(self) -> None:
        self._pages: dict[str, set[asyncio.Queue[Event | None]]] = defaultdict(set)
        self._closed = False

    def publish(self, customer: str, name: str, data: Any) -> None:
        """Send an event to every page of a customer."""
        self._put(self._pages.get(customer, ()), Event(name, data))

    def publish_all(self, name: str, data: Any) -> None:
        """Send an event to every page."""
        for pages in self._pages.values():
            self._put(pages, Event(name, data))

    def _put(self, pages: Iterable[asyncio.Queue[Event | None]], event: Event) -> None:
        for page in tuple(pages):
            if page.qsize() < _MOST_WAITING:
                page.put_nowait(event)
            else:
                _end(page)

    async def stream(self, customer: str, state: Callable[[], Any]) -> AsyncIterator[bytes]:
        """The whole state, then each change, until the page disconnects or the app stops."""
        page: asyncio.Queue[Event | None] = asyncio.Queue()
        self._pages[customer].add(page)
        try:
            yield b"retry: 1000\n\n" + Event("state", state()).encoded()
            while not self._closed:
                try:
                    async with asyncio.timeout(PING_EVERY):
                        event = await page.get()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if event is None:
                    return
                yield event.encoded()
        finally:
            self._pages[customer].discard(page)

    def close(self) -> None:
        """End all streams, since a server that shuts down waits for them."""
        self._closed = True
        for pages in self._pages.values():
            for page in pages:
                _end(page)


def _end(page: asyncio.Queue[Event | None]) -> None:
    while not page.empty():
        page.get_nowait()
    page.put_nowait(None)
