"""Calls the session's hooks with events. An exception of a hook is logged and has no other effect."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import ContextVar
from typing import Any, Literal

from .._api.models import LookRef
from .._checks import option
from ..events import DisplayOnly, Event, Hook, LookSettled
from .logs import LogLimit

MOST_WAITING = 10_000
"""How many events may wait for one async hook; newer ones are dropped, which is logged."""

_called_with: ContextVar[Event | None] = ContextVar("hoox_called_with", default=None)
_log = logging.getLogger("hoox_async")
_CANCEL_WITHIN = 1.0  # seconds; a hook that ignores its cancellation must not delay the closing


def is_called_with_end_of(ref: LookRef) -> bool:
    """Whether this runs in an async hook that is called with the end of this look, or in a task of its."""
    event = _called_with.get()
    return isinstance(event, LookSettled) and event.look.ref == ref


class Hooks:
    """Calls each hook with each event, in the order in which the hooks were given.

    A hook that returns a coroutine, as an ``async def`` does, is an async hook. Its coroutines run in a
    separate task, one after the other, in the order of the events: so a slow async hook delays neither the
    session nor the other hooks.
    """

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        kind: Any = Callable
        self._hooks: tuple[Hook, ...] = option.each("hooks", hooks, kind, "a list of functions")
        self._queues = tuple(_HookQueue() for _ in self._hooks)

    @property
    def kind(self) -> Literal["none", "display", "hooks"]:
        """What there is; ``"display"`` where all of them only show something (`DisplayOnly`)."""
        if not self._hooks:
            return "none"
        return "display" if all(isinstance(hook, DisplayOnly) for hook in self._hooks) else "hooks"

    def has_room(self) -> bool:
        """Whether every hook would be called with the next event: not too many wait for an async hook."""
        return all(queue.has_room for queue in self._queues)

    def emit(
        self,
        event: Event,
        on_done: Callable[[], None] | None = None,
        is_wanted: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Call every hook with this event. Never raises.

        ``on_done`` is called once all hooks, the async ones too, have been called with it and have ended. It
        is not called where closing the session or a full queue prevents that. An async hook is called only if
        ``is_wanted`` says so when its turn comes; where it does not, ``on_done`` is not called either.
        """
        calls = _Calls(on_done, is_wanted)
        for hook, queue in zip(self._hooks, self._queues, strict=True):
            try:
                result = hook(event)
                if result is not None and isinstance(result, Coroutine):
                    calls.left += 1
                    queue.put(event, result, calls)
            # nothing is awaited here, so our own task was not cancelled
            except (Exception, asyncio.CancelledError):
                _log.exception("a hook raised at %s", type(event).__name__)
        calls.end_one()

    async def aclose(self, seconds: float) -> None:
        """Wait until the async hooks have run, so many seconds at most; then cancel them."""
        running = [queue.task for queue in self._queues if queue.task is not None]
        if running:
            await asyncio.wait(running, timeout=max(0.0, seconds))
        self.stop()
        if running:
            await asyncio.wait(running, timeout=_CANCEL_WITHIN)

    def stop(self) -> None:
        """Cancel the async hooks now. Events that still wait for them are dropped, which is logged."""
        for queue in self._queues:
            queue.stop()


class _Calls:
    """Counts the calls of the hooks with one event that have not ended. Begins with one: the emitting."""

    __slots__ = ("_on_done", "is_wanted", "left")

    def __init__(
        self, on_done: Callable[[], None] | None, is_wanted: Callable[[], Awaitable[bool]] | None
    ) -> None:
        self._on_done = on_done
        self.is_wanted = is_wanted
        self.left = 1

    def end_one(self) -> None:
        self.left -= 1
        if not self.left and self._on_done is not None:
            self._on_done()


class _HookQueue:
    """Runs the coroutines of one async hook, in a task that lives as long as there are any."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Event, Coroutine[Any, Any, object], _Calls]] = deque()
        self._dropped = LogLimit(_log_dropped)
        self._stopped = False
        self.task: asyncio.Task[None] | None = None

    @property
    def has_room(self) -> bool:
        """Whether the next call would not be dropped."""
        return not self._stopped and len(self._waiting) < MOST_WAITING

    def put(self, event: Event, call: Coroutine[Any, Any, object], calls: _Calls) -> None:
        """Run this call after those before it; it is dropped, and never ends, if too many are waiting."""
        if not self.has_room:
            call.close()
            self._dropped.add(type(event).__name__)
            return
        self._waiting.append((event, call, calls))
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self._run(), name="hoox-hook")

    async def _run(self) -> None:
        while self._waiting:
            event, call, calls = self._waiting.popleft()
            try:
                if calls.is_wanted is not None and not await calls.is_wanted():
                    continue
                _called_with.set(event)
                await call
            except (Exception, asyncio.CancelledError):
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                _log.exception("an async hook raised at %s", type(event).__name__)
            finally:
                call.close()
            calls.end_one()

    def stop(self) -> None:
        """Cancel the call that is running, and drop those that wait."""
        if self._stopped:
            return
        self._stopped = True
        if self.task is not None and not self.task.done():
            self.task.cancel()
            _log.warning("an async hook was still running when the session was closed; it was cancelled")
        waiting, self._waiting = self._waiting, deque()
        for event, call, _ in waiting:
            call.close()
            self._dropped.add(type(event).__name__)
        self._dropped.close()


def _log_dropped(counts: Counter[str]) -> None:
    events = ", ".join(f"{count} {name}" for name, count in counts.items())
    _log.warning(
        "an async hook was not called with %s: too many events waited, or the session was closed", events
    )
