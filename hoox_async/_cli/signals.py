"""Ctrl-C, as the user means it: once to stop well, twice to leave at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .exit_codes import Exit

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """What the user asked for: ``requested`` by the first signal, ``at_once`` by the second.

    A third one ends the process as it stands: nothing may keep a user from leaving.
    """

    def __init__(self, on_first: Callable[[], None]) -> None:
        self.requested = asyncio.Event()
        self.at_once = asyncio.Event()
        self._on_first = on_first

    def signal(self) -> None:
        """One signal came."""
        if not self.requested.is_set():
            self.requested.set()
            self._on_first()
        elif not self.at_once.is_set():
            self.at_once.set()
        else:
            os._exit(Exit.UNFINISHED)


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and cancel it when the event is set. Raises what the work raises."""
    doing = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([doing, waiting], return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
    finally:
        waiting.cancel()
        doing.cancel()
        await asyncio.gather(doing, waiting, return_exceptions=True)


@contextmanager
def stopping(on_first: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """Ctrl-C and SIGTERM go to the `Stop` that this gives. Enter it while the loop runs."""
    stop = Stop(on_first)
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number in _SIGNALS:
            _listen(loop, number, stop.signal)
        yield stop
    finally:
        for number in _SIGNALS:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            with suppress(ValueError):  # not the main thread: nothing was changed
                signal.signal(number, before[number])


def _listen(loop: asyncio.AbstractEventLoop, number: signal.Signals, called: Callable[[], None]) -> None:
    try:
        loop.add_signal_handler(number, called)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(called))
    except (RuntimeError, ValueError):
        return  # not the main thread: signals go elsewhere
