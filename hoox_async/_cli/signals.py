"""Ctrl-C, as the user means it: once to stop well, twice to leave at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Set by the first signal; the second one cancels the task that made this."""

    def __init__(self, on_first: Callable[[], None]) -> None:
        self.requested = asyncio.Event()
        self.at_once = False
        self._on_first = on_first
        self._task = asyncio.current_task()

    def signal(self) -> None:
        """One signal came."""
        if not self.requested.is_set():
            self.requested.set()
            self._on_first()
        elif self._task is not None:
            self.at_once = True
            self._task.cancel()


@contextmanager
def stopping(on_first: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """Ctrl-C and SIGTERM go to the `Stop` that this gives. Enter it on the loop's own task."""
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
