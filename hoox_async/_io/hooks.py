"""Tells the session's hooks what happens. A hook that raises is logged and harms nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Coroutine, Iterable
from typing import Any

from ..errors import ConfigurationError
from ..events import Event, Hook
from .logs import LogLimit

MOST_WAITING = 10_000
"""Events that may wait for one async hook; newer ones are not told to it, which is logged."""
CLOSE_WITHIN = 10.0
"""Seconds that closing a session waits for its async hooks."""

_log = logging.getLogger("hoox_async")
_CANCELLED_WITHIN = 1.0  # a hook that takes no cancellation must not hold up the closing


class Hooks:
    """Calls each hook with each event, in the order in which the hooks were given.

    A hook that returns a coroutine, as an ``async def`` does, is an async hook: its coroutines are run one
    after the other, in the order of the events, in a task of its own. So an async hook that takes its time
    delays neither the session nor the other hooks.
    """

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        try:
            self.given: tuple[Hook, ...] = tuple(hooks)
            """The hooks. Where there are none, an event of the busiest paths need not even be made."""
        except TypeError:
            raise ConfigurationError("hooks: expected a list of callables") from None
        for hook in self.given:
            if not callable(hook):
                raise ConfigurationError(f"hooks: {type(hook).__name__} is not callable")
        self._queues = tuple(_HookQueue() for _ in self.given)

    def emit(self, event: Event) -> None:
        """Tell every hook."""
        for hook, queue in zip(self.given, self._queues, strict=True):
            try:
                result = hook(event)
                if result is not None and isinstance(result, Coroutine):
                    queue.put(event, result)
            except (Exception, asyncio.CancelledError):  # nothing is awaited: it is no cancellation of ours
                _log.exception("a hook raised at %s", type(event).__name__)

    async def aclose(self) -> None:
        """Wait until the async hooks have run, `CLOSE_WITHIN` seconds at most; then cancel them."""
        running = [queue.task for queue in self._queues if queue.task is not None]
        if running:
            await asyncio.wait(running, timeout=CLOSE_WITHIN)
        self.stop()
        if running:
            await asyncio.wait(running, timeout=_CANCELLED_WITHIN)

    def stop(self) -> None:
        """Cancel the async hooks now. What still waited for them is not told, which is logged."""
        for queue in self._queues:
            queue.stop()


class _HookQueue:
    """Runs the coroutines of one async hook. Its task lives as long as there are any."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Event, Coroutine[Any, Any, object]]] = deque()
        self._not_told = LogLimit(_log_not_told)
        self._stopped = False
        self.task: asyncio.Task[None] | None = None

    def put(self, event: Event, call: Coroutine[Any, Any, object]) -> None:
        """Run this call after those before it; the newest one is left out where too many wait."""
        if self._stopped or len(self._waiting) >= MOST_WAITING:
            call.close()
            self._not_told.add(type(event).__name__)
            return
        self._waiting.append((event, call))
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self._run(), name="hoox-hook")

    async def _run(self) -> None:
        while self._waiting:
            event, call = self._waiting.popleft()
            try:
                await call
            except (Exception, asyncio.CancelledError):
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                _log.exception("an async hook raised at %s", type(event).__name__)

    def stop(self) -> None:
        """Cancel the call that runs, and leave out those that wait."""
        if self._stopped:
            return
        self._stopped = True
        if self.task is not None and not self.task.done():
            self.task.cancel()
            _log.warning("an async hook was still running when the session was closed; it was cancelled")
        waiting, self._waiting = self._waiting, deque()
        for event, call in waiting:
            call.close()
            self._not_told.add(type(event).__name__)
        self._not_told.close()


def _log_not_told(counts: Counter[str]) -> None:
    events = ", ".join(f"{count} {name}" for name, count in counts.items())
    _log.warning(
        "an async hook was not told of %s: too many events waited, or the session was closed", events
    )
