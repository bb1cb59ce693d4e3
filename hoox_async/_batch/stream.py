"""The stream of outcomes: an object, whose tasks never refer to it, so that leaving it early ends them."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol, Self

from .._core.intents.outcomes import Outcome


class Running(Protocol):
    """A run of a batch, as its stream sees it."""

    def start(self) -> None: ...

    async def next(self) -> tuple[int, Outcome] | None: ...

    async def aclose(self) -> None: ...

    def cancel(self) -> None: ...


class OutcomeStream:
    """The outcomes of a batch, each as its item settles. ``async for`` it, or use it as ``async with`` too.

    Nothing is sent before the first outcome is asked for. Leaving early (``break``, an exception, a
    cancellation) ends the batch: what was accepted stays known to the session, what was not sent is not
    sent. ``aclose()`` does that at once, and otherwise it happens within a few turns of the loop.
    """

    def __init__(self, run: Running) -> None:
        self._run = run
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        """The next outcome. Raises `SessionClosed` if the session was closed under the batch."""
        if self._closed:
            raise StopAsyncIteration
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._run.start()
        found = await self._run.next()
        if found is None:
            self._closed = True
            raise StopAsyncIteration
        return found[1]

    async def aclose(self) -> None:
        """End the batch and wait until its tasks are gone. Can be called again."""
        self._closed = True
        await self._run.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        loop, run = getattr(self, "_loop", None), getattr(self, "_run", None)
        if loop is None or run is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(run.cancel)
        except RuntimeError:  # the loop was closed meanwhile, and took the tasks with it
            return
