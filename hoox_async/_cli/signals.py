"""Stopping on signals: the first one stops in good order, the second one leaves at once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from .exit_codes import Exit

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class StopRequest:
    """Set by signals: ``requested`` by the first one, ``at_once`` by the second one.

    A third signal ends the process immediately, so that nothing can keep a user from leaving.
    """

    def __init__(self, on_first: Callable[[], None]) -> None:
        self.requested = asyncio.Event()
        self.at_once = asyncio.Event()
        self._on_first = on_first

    def on_signal(self) -> None:
        """Handle one signal."""
        if not self.requested.is_set():
            self.requested.set()
            self._on_first()
        elif not self.at_once.is_set():
            self.at_once.set()
        else:
            os._exit(Exit.UNFINISHED)


async def run_until(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Await ``work``, but cancel it when the event is set. Raises what the work raises."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        waiting.cancel()
        working.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


@contextmanager
def stop_on_signals(on_first: Callable[[], None] = lambda: None) -> Iterator[StopRequest]:
    """While the block runs, signals go to the `StopRequest` that it is given. Needs a running loop.

    Handled are Ctrl-C, SIGTERM, and SIGHUP (a terminal that was closed) where the system has it.
    """
    stop = StopRequest(on_first)
    loop = asyncio.get_running_loop()
    # only the main thread can handle signals; and nohup has SIGHUP ignored, so that the run survives the end
    # of its terminal
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _SIGNALS if is_main}
    handled = [n for n, old in before.items() if n.name != "SIGHUP" or old is not signal.SIG_IGN]
    try:
        for number in handled:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.on_signal))
        yield stop
    finally:
        for number in handled:
            signal.signal(number, before[number])
