"""The search for the look of one lost edit, whose avatar stays locked meanwhile."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from ..._api.models import Avatar, Look, LookRef
from ..._api.requests import LookEdit
from ..._api.responses import look_from_details
from ..._core.intents.intent import Evidence, Intent, IntentState
from ..._core.intents.transitions import EndSearch, IllegalTransition
from ..._core.reconciliation.elimination import Found, LostEdit, SearchAgain, conclude, search_times
from ...errors import HooxError, StoreError
from ..reads import Reads
from ..services import SessionServices
from .baselines import Baselines

if TYPE_CHECKING:
    from .avatars import ExclusiveAvatars
    from .reconciler import Reconciler

_log = logging.getLogger("hoox_async")
_MORE_SEARCHES = 5
_LONGEST_PAUSE = 300.0
_UNSETTLED = frozenset({IntentState.SENDING, IntentState.UNKNOWN})


class Search:
    """Searches for the look of one lost edit until it is found, settled otherwise, or not found."""

    def __init__(
        self,
        services: SessionServices,
        reads: Reads,
        avatars: ExclusiveAvatars,
        baselines: Baselines,
        reconciler: Reconciler,
        intent: Intent,
    ) -> None:
        assert intent.source is not None
        self._services = services
        self._reads = reads
        self._avatars = avatars
        self._baselines = baselines
        self._reconciler = reconciler
        self._intent = intent
        self._avatar_id = intent.source.avatar_id

    async def run(self) -> None:
        """Search at each scheduled time. The avatar is unlocked in any case: no edit waits forever."""
        try:
            if await self._search_to_the_end():
                return
            with suppress(StoreError):  # the next POST meets the store's failure too, and reports it
                await self._services.advance(self._intent.key, EndSearch())
        except IllegalTransition:
            if await self._is_settled():  # by a delivery or the user's decision, meanwhile
                self._reconciler.end_search(self._intent.key)
                return
            # else the store still has it as SENDING, because writing UNKNOWN failed
        except Exception:
            _log.exception("the search for %r failed unexpectedly", self._intent.key)
        # its look may still show up: nothing more is inferred for this avatar
        self._avatars.end_inference(self._avatar_id)
        self._reconciler.end_search(self._intent.key)

    async def _search_to_the_end(self) -> bool:
        """Whether the intent is not searched for any more; False where the last search got no answer."""
        pause = max(self._services.timeouts.search)
        for at, last in self._times():
            await asyncio.sleep(max(0.0, at - self._services.clock.now()))
            if await self._search_once(last=last):
                return True
        for _ in range(_MORE_SEARCHES):  # the last one had no answer
            await asyncio.sleep(pause)
            if await self._search_once(last=True):
                return True
            pause = min(2 * pause, _LONGEST_PAUSE)
        return not self._avatars.is_searched(self._intent)

    async def _is_settled(self) -> bool:
        try:
            now = (await self._services.store.get((self._intent.key,))).get(self._intent.key)
        except HooxError:
            return False
        return now is not None and now.state not in _UNSETTLED

    async def _search_once(self, *, last: bool) -> bool:
        """Whether the intent is not searched for any more; False also where no answer came."""
        try:
            return not self._avatars.is_searched(self._intent) or await self._read_and_judge(last=last)
        except HooxError:
            return False

    def _times(self) -> list[tuple[float, bool]]:
        clock, timeouts, intent = self._services.clock, self._services.timeouts, self._intent
        now = clock.now()
        # times that an earlier process wrote lie in the future where the clock was set back since
        sent_at = min(clock.to_loop(intent.attempts[-1].sent_at), now)
        lost_at = sent_at if intent.lost_at is None else min(clock.to_loop(intent.lost_at), now)
        times = [lost_at + t for t in search_times(lost_at, sent_at, timeouts.answer, timeouts.search)]
        upcoming = [t for t in times if t > now] or [now]
        return [(t, t == upcoming[-1]) for t in upcoming]

    async def _read_and_judge(self, *, last: bool) -> bool:
        """By one request. Whether the intent is not searched for any more."""
        intent, avatar_id, avatar_locks = self._intent, self._avatar_id, self._avatars.locks
        mark = avatar_locks.snapshot(avatar_id)
        answer = await self._reads.avatar(avatar_id)
        seen = await self._services.store.seen_looks(avatar_id)
        request = intent.request
        verdict = conclude(
            LostEdit(avatar_id, request.format if isinstance(request, LookEdit) else None),
            seen or frozenset(),
            answer,
            no_edit_meanwhile=seen is not None and avatar_locks.unchanged_since(avatar_id, mark),
            last=last,
            competing_edits=avatar_locks.lost_edits(avatar_id) - 1 + (not self._avatars.infers(intent)),
        )
        if isinstance(verdict, SearchAgain) or not self._avatars.is_searched(intent):
            return not self._avatars.is_searched(intent)
        if isinstance(verdict, Found):
            await self._reconciler.confirm(
                intent, verdict.ref, Evidence.INFERRED, _look_in(answer, verdict.ref)
            )
            return True
        # the baseline comes first: these looks are then inferred to be no lost edit's
        await self._baselines.add(avatar_id, verdict.candidates)
        ended = await self._services.advance(intent.key, EndSearch())
        self._reconciler.end_search(intent.key)
        self._avatars.note_unsearched(ended)
        return True


def _look_in(avatar: Avatar, ref: LookRef) -> Look | None:
    for details in avatar.looks:
        if details.ref == ref:
            return look_from_details(details)
    return None
