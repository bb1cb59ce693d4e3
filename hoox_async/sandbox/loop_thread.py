"""Runs an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future


class LoopThread:
    """Runs ``opening`` and, when stopped, ``closing`` on a loop in a new thread."""

    def __init__(
        self, opening: Callable[[], Awaitable[None]], closing: Callable[[], Awaitable[None]]
    ) -> None:
        self._opening = opening
        self._closing = closing
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="hoox sandbox", daemon=True)

    def start(self) -> None:
        """Start, and return when ``opening`` is done. Raises what it raised."""
        self._thread.start()
        try:
            self._ready.result()
        except BaseException:
            self._thread.join()
            raise

    def stop(self) -> None:
        """Run ``closing``, end the loop and wait for the thread."""
        self._ready.result().call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _main(self) -> None:
        await self._opening()
        self._ready.set_result(asyncio.get_running_loop())
        try:
            await self._stop.wait()
        finally:
            await self._closing()
