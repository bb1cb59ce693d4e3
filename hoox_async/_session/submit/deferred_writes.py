"""Outcomes of paid requests that the store failed to write: written as soon as the store works again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..._core.intents.intent import Intent
from ..._core.intents.transitions import IllegalTransition
from ..._io.tasks import TaskSet, cancelled_by_task_only
from ...errors import HooxError, SessionClosed

_log = logging.getLogger("hoox_async")
_FIRST_PAUSE = 1.0  # seconds
_LONGEST_PAUSE = 30.0


class DeferredWrite:
    """One write for one key that the store failed to write.

    ``error`` is what the caller got, and ``follow`` is called with the intent once it is written.
    """

    def __init__(
        self,
        key: str,
        write: Callable[[], Awaitable[Intent]],
        error: HooxError,
        follow: Callable[[Intent], Awaitable[object]],
    ) -> None:
        self.key = key
        self.write = write
        self.error = error
        self.follow = follow
        self.one_try_at_a_time: asyncio.Lock = asyncio.Lock()


class DeferredWrites:
    """Keeps failed writes, and retries them after 1, 2, 4 … 30 s.

    Until a write succeeds, its key is not sent again.
    """

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._writes: dict[str, DeferredWrite] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, deferred: DeferredWrite) -> None:
        """Write it as soon as the store works again."""
        self._writes[deferred.key] = deferred
        _log.warning("the store could not write the outcome of %s; trying again", deferred.key)
        if self._task is None or self._task.done():
            with suppress(SessionClosed):  # too late: the next session finds it as unknown
                self._task = self._tasks.supervise(self._run, "hoox-deferred-writes")

    async def write(self, key: str) -> bool:
        """Retry the deferred write of this key now. Raises the error that its caller got if that fails again.

        Returns whether there was one. If the caller is cancelled, the retry goes on, together with what
        follows from it.
        """
        deferred = self._writes.get(key)
        if deferred is None:
            return False
        try:
            trying = self._tasks.spawn(self._try(deferred), "hoox-deferred-write")
        except SessionClosed:
            raise deferred.error from None
        await asyncio.wait((trying,))
        if trying.cancelled() or not trying.result():
            raise deferred.error
        return True

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while self._writes:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            await self.try_all()

    async def try_all(self) -> None:
        """Retry all of them now. Never raises."""
        await asyncio.gather(*map(self._try, tuple(self._writes.values())))

    async def _try(self, deferred: DeferredWrite) -> bool:
        """Try to write it, then call ``follow``. Returns whether it is done."""
        async with deferred.one_try_at_a_time:
            if self._writes.get(deferred.key) is not deferred:
                return True
            try:
                after = await cancelled_by_task_only(deferred.write(), "the store")
            except IllegalTransition:  # it was settled otherwise
                _log.warning("the store has another outcome of %s than: %s", deferred.key, deferred.error)
                after = None
            except Exception as error:  # a store may raise anything
                _log.debug("the outcome of %s is not written yet: %s", deferred.key, error)
                return False
            try:
                if after is not None:
                    await cancelled_by_task_only(deferred.follow(after), "what follows")
            except Exception as error:  # it is written nevertheless
                _log.warning(
                    "the outcome of %s was written, but its follow-up failed: %s", deferred.key, error
                )
            finally:
                del self._writes[deferred.key]
            return True
