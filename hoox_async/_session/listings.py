"""Records which looks full answers about avatars have listed: those are older than the POSTs that follow."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict

from .._api.models import Avatar
from .._io.clock import Clock
from .._io.ledger.ledger import Ledger
from .._io.tasks import TaskSet
from ..errors import StoreError

_log = logging.getLogger("hoox_async")
_MOST = 1000  # avatars whose last answer is remembered, so that the store is not asked about it again
_PAUSE = 60.0  # seconds in which nothing is written after a write failed


class Listings:
    """Writes what an answer lists, where that is new to this session. In the background: nobody waits for it.

    What is not written is shown as a look of unknown age.
    """

    def __init__(self, clock: Clock, store: Ledger, tasks: TaskSet) -> None:
        self._clock = clock
        self._store = store
        self._tasks = tasks
        self._noted: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._paused_until = -math.inf

    def note(self, avatar: Avatar) -> None:
        """Write the looks of this answer soon. Never raises."""
        look_ids = frozenset(details.ref.look_id for details in avatar.looks)
        noted = self._noted.get(avatar.id)
        is_known = noted is not None and look_ids <= noted
        if is_known or self._tasks.closed or self._clock.now() < self._paused_until:
            return
        self._noted[avatar.id] = look_ids
        self._noted.move_to_end(avatar.id)
        if len(self._noted) > _MOST:
            self._noted.popitem(last=False)
        self._tasks.background(self._write(avatar.id, look_ids), "hoox-listing")

    async def _write(self, avatar_id: str, look_ids: frozenset[str]) -> None:
        try:
            await self._store.note_listed(avatar_id, look_ids)
        except StoreError as error:
            self._noted.pop(avatar_id, None)
            if self._clock.now() >= self._paused_until:
                self._paused_until = self._clock.now() + _PAUSE
                _log.warning("the looks of %s could not be recorded as listed: %s", avatar_id, error)
