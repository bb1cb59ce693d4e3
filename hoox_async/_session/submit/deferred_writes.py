"""What became of paid requests and the store did not take: written as soon as it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..._core.intents.intent import Intent
from ..._core.intents.transitions import IllegalTransition
from ...errors import HooxError, SessionClosed
from ..services import SessionServices

_log = logging.getLogger("hoox_async")
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_LANE_PATIENCE = 30.0  # then who waits for the avatar's lock is told that the store is in trouble


class DeferredWrite:
    """What is to be written of one key.

    ``avatar_id``: whose avatar lock it holds; None: it holds none. ``error``: what its caller was told.
    ``written`` is called with the intent when it is written, ``unlock_avatar`` once: then, or when others
    have waited for that long enough.
    """

    def __init__(
        self,
        key: str,
        avatar_id: str | None,
        write: Callable[[], Awaitable[Intent]],
        error: HooxError,
        written: Callable[[Intent], Awaitable[object]],
        unlock_avatar: Callable[[], None],
    ) -> None:
        self.key = key
        self.avatar_id = avatar_id
        self.write = write
        self.error = error
        self.written = written
        self.unlock_avatar = unlock_avatar
        self.since = 0.0
        self.in_lane = True
        self.trying = asyncio.Lock()

    def leave(self) -> None:
        """Let the next edit of the avatar go, once."""
        if self.in_lane:
            self.in_lane = False
            self.unlock_avatar()


class DeferredWrites:
    """Keeps what the store did not take, and tries again: after 1, 2, 4 … 30 s, and once at the close.

    Until a step is written, its key is not sent again and nothing is sent for its avatar's lock, so that
    its look can't be taken for another's.
    """

    def __init__(self, services: SessionServices) -> None:
        self._services = services
        self._late: dict[str, DeferredWrite] = {}
        self._task: asyncio.Task[None] | None = None

    def __contains__(self, key: str) -> bool:
        return key in self._late

    def of_avatar(self, avatar_id: str) -> DeferredWrite | None:
        """What is not written yet of this avatar."""
        return next((late for late in self._late.values() if late.avatar_id == avatar_id), None)

    def keep(self, late: DeferredWrite) -> None:
        """Write it as soon as the store takes it."""
        late.since = self._services.clock.now()
        self._late[late.key] = late
        _log.warning("the store did not take what became of %s; it is tried again", late.key)
        if self._task is None or self._task.done():
            with suppress(SessionClosed):  # too late: the next session finds it as unknown
                self._task = self._services.tasks.supervise(self._run, "hoox-pending-writes")

    async def write(self, key: str) -> None:
        """Write what is pending of this key now. Raises what its caller was told, where that fails again.

        Who is cancelled here leaves a try behind that goes on: what follows from it must not be missed.
        """
        late = self._late.get(key)
        if late is None:
            return
        try:
            trying = self._services.tasks.spawn(self._try(late), "hoox-late-write")
        except SessionClosed:
            raise late.error from None
        await asyncio.wait((trying,))
        if trying.cancelled() or not trying.result():
            raise late.error

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        try:
            while self._late:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                await self._try_all()
        except asyncio.CancelledError:  # the session is being closed
            await self._try_all()
            raise

    async def _try_all(self) -> None:
        for late in tuple(self._late.values()):
            if not await self._try(late) and self._services.clock.now() - late.since >= _LANE_PATIENCE:
                late.leave()

    async def _try(self, late: DeferredWrite) -> bool:
        """Whether nothing of it is pending any more. One try at a time, with what follows from it."""
        async with late.trying:
            if self._late.get(late.key) is not late:
                return True
            try:
                after = await late.write()
            except IllegalTransition:  # it was settled otherwise, or written by a try whose end nobody saw
                _log.warning("what became of %s stands otherwise in the store: %s", late.key, late.error)
                after = None
            except Exception as error:  # whatever a user's own store raises
                _log.debug("what became of %s is not written yet: %s", late.key, error)
                return False
            try:
                if after is not None:
                    await late.written(after)
            except Exception as error:  # it is written all the same
                _log.warning("what became of %s was written late: %s", late.key, error)
            finally:
                del self._late[late.key]  # not before: until then nothing else goes out in its avatar's lock
                late.leave()
            return True
