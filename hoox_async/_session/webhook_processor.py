"""What becomes of a webhook delivery whose token was good.

A delivery is looked up and, where something is to follow from it, written down; only then is it
acknowledged. The rest is done afterwards, in a task of the session's. Where that fails it is done again, a
few times, and once more when the store is opened again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import attrs

from .._api.models import Look, LookFailure, LookRef
from .._api.requests import LookEdit
from .._api.webhook_payloads import Delivery
from .._core.intents.intent import Evidence, Intent, IntentState
from .._core.intents.transitions import IllegalTransition
from .._core.polling import LookUpdate, PollScheduler, is_complete
from .._io.tasks import restarted
from ..errors import HooxError, SessionClosed
from ..events import DeliveryReceived
from .jobs import JobRegistry
from .reads import Reads
from .services import SessionServices
from .unknowns import Reconciler

_log = logging.getLogger("hoox_async")
_AT_ONCE = 200
_WITHOUT_LOOK = frozenset(
    {IntentState.PLANNED, IntentState.UNKNOWN, IntentState.DROPPED, IntentState.REJECTED}
)
_TRIES = 8  # of working on a delivery: some two minutes
_LOOK_UPS = (5.0, 15.0, 40.0, 60.0)  # seconds: a look may be missing in the list for a while


class Receiver:
    """Takes deliveries for one session."""

    def __init__(
        self,
        services: SessionServices,
        reads: Reads,
        registry: JobRegistry,
        scheduler: PollScheduler,
        reconciler: Reconciler,
    ) -> None:
        self._services = services
        self._reads = reads
        self._registry = registry
        self._scheduler = scheduler
        self._reconciler = reconciler
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._nameless: dict[str, Delivery] = {}  # by attempt; their avatars are looked for in the list
        self._lookups = 0
        self._finder: asyncio.Task[None] | None = None

    async def receive(self, attempt_id: str, delivery: Delivery) -> bool:
        """Whether the attempt is known here. Then the delivery will be worked on."""
        loop = self._services.clock.loop
        if asyncio.get_running_loop() is loop:
            return await self._receive(attempt_id, delivery)
        future = asyncio.run_coroutine_threadsafe(self._receive(attempt_id, delivery), loop)
        return await asyncio.wrap_future(future)

    async def _receive(self, attempt_id: str, delivery: Delivery) -> bool:
        """Safe to be cancelled at any point: what was not acknowledged is delivered again."""
        store = self._services.store
        intent = await store.by_attempt(attempt_id)
        if intent is None:
            return False
        kept = _to_keep(intent, delivery) and await store.kept_delivery(attempt_id) is None
        if kept:
            await store.keep_delivery(attempt_id, delivery)
        early = kept and intent.state is not IntentState.ACCEPTED
        await self._room.acquire()
        try:
            self._services.tasks.background(self._work(attempt_id, delivery, early), "hoox-delivery")
        except SessionClosed:
            self._room.release()
            return False
        return True

    async def _work(self, attempt_id: str, delivery: Delivery, early: bool) -> None:
        """``early``: it is of use later, whatever follows from it now. Its first try has its room already."""
        has_room = True

        async def apply() -> tuple[str | None, bool]:
            nonlocal has_room
            if not has_room:
                await self._room.acquire()
            has_room = False  # no room is held through a pause
            try:
                return await self._apply(attempt_id, delivery)
            finally:
                self._room.release()

        what = f"working on a delivery for look {delivery.look_id}"
        key, used = await restarted(apply, what, tries=_TRIES)
        self._services.hooks.emit(DeliveryReceived(delivery.look_id, delivery.status, key, used or early))

    async def _apply(self, attempt_id: str, delivery: Delivery) -> tuple[str | None, bool]:
        """The intent's key, and whether the delivery changed anything."""
        key = None
        for _ in range(2):  # once more where something else was faster
            intent = await self._services.store.by_attempt(attempt_id)
            if intent is None:
                break
            key = intent.key
            try:
                match intent.state:
                    case IntentState.UNKNOWN:
                        return key, await self.prove(intent, attempt_id, delivery) is not None
                    case IntentState.ACCEPTED | IntentState.READY | IntentState.FAILED:
                        return key, await self._settle(intent, attempt_id, delivery)
                    case _:
                        await self._claim_double(intent, attempt_id, delivery)
                        break  # kept for the answer that is on its way, or of no use any more
            except IllegalTransition:
                continue
        return key, False

    async def _settle(self, intent: Intent, attempt_id: str, delivery: Delivery) -> bool:
        ref = intent.ref
        if ref is None or ref.look_id != delivery.look_id:
            await self._claim_double(intent, attempt_id, delivery)
            return False
        look = look_of(delivery, ref)
        if look.ref not in self._scheduler:
            self._scheduler.delivered_late(ref)
        if intent.state is not IntentState.ACCEPTED and not _adds_to(intent, look):
            return False
        return await self._hear(intent, look)

    async def _claim_double(self, intent: Intent, attempt_id: str, delivery: Delivery) -> None:
        """One more look of an intent that was sent again or paid anew, or dropped: nobody else's.

        Not so where that very attempt has its look, or is still to get it.
        """
        avatar_id = delivery.avatar_id or intent.avatar_id
        if avatar_id is not None and not _has_its_own(intent, attempt_id):
            await self._services.store.add_seen(avatar_id, (delivery.look_id,))

    async def _hear(self, intent: Intent, look: Look) -> bool:
        """Whether it was news."""
        if look.ref in self._scheduler:
            news = self._scheduler.heard(look, self._services.clock.now(), delivered=True)
            await self._registry.tell((news,) if news else ())
            self._services.rate_limiter.wake()
            return news is not None
        job = self._registry.job_of(intent)  # held until it is written down
        await self._registry.tell([LookUpdate(look, is_complete(look))])
        return job.last is look

    async def prove(self, intent: Intent, attempt_id: str, delivery: Delivery) -> Intent | None:
        """Settle an unknown by a delivery on its own token. None where that proves nothing, or not yet.

        Any attempt of this round counts: each may have been paid. The older payload form names no avatar:
        that of a new avatar is then looked for in the list.
        """
        if attempt_id in intent.past_attempts:
            await self._claim_double(intent, attempt_id, delivery)
            return None
        avatar_id = delivery.avatar_id or (intent.source.avatar_id if intent.source else None)
        if avatar_id is None:
            self._look_up(attempt_id, delivery)
            return None
        ref = LookRef(avatar_id, delivery.look_id)
        other = await self._services.store.by_ref(ref)
        if other is not None or (isinstance(intent.request, LookEdit) and ref == intent.source):
            _log.warning("a delivery named %s, which is another request's look", ref)
            return None
        await self._reconciler.confirm(intent, ref, Evidence.WEBHOOK, look_of(delivery, ref))
        return await self._services.store.by_ref(ref)

    def _look_up(self, attempt_id: str, delivery: Delivery) -> None:
        self._nameless[attempt_id] = delivery
        self._lookups = 0
        if self._finder is None or self._finder.done():
            self._finder = self._services.tasks.background(self._find(), "hoox-find-avatars")

    async def _find(self) -> None:
        """Look for all of them at once, a few times. What is not found stays unknown, and kept."""
        while self._nameless:
            await self._find_once()
            if self._lookups >= len(_LOOK_UPS):
                self._nameless.clear()
            elif self._nameless:
                self._lookups += 1
                await asyncio.sleep(_LOOK_UPS[self._lookups - 1])

    async def _find_once(self) -> None:
        wanted = {delivery.look_id: attempt_id for attempt_id, delivery in self._nameless.items()}
        try:
            looks = await self._reads.looks({})
        except HooxError as error:
            _log.warning("looking for the avatars of delivered looks: %s", error)
            return
        except Exception:
            _log.exception("looking for the avatars of delivered looks failed; it is tried again")
            return
        for ref in [look.ref for look in looks if look.ref.look_id in wanted]:
            attempt_id = wanted[ref.look_id]
            delivery = self._nameless.pop(attempt_id, None)  # one look can stand in the list twice
            if delivery is not None:
                named = attrs.evolve(delivery, avatar_id=ref.avatar_id)
                self._again(partial(self._apply, attempt_id, named), f"a delivery for {ref}")

    async def apply_kept(self, accepted: Intent, attempt_id: str) -> Intent:
        """Work on a delivery that overtook the answer to its POST. Gives the intent as it stands then."""
        if self._services.deliveries is None:
            return accepted
        try:
            delivery = None
            for attempt in accepted.attempts:  # those of earlier ones name looks that nobody else made
                delivery = await self._services.store.kept_delivery(attempt.id)
                if delivery is not None:
                    await self._settle(accepted, attempt.id, delivery)
            if delivery is None:
                return accepted
            return await self._services.store.by_attempt(attempt_id) or accepted
        except Exception as error:  # whatever a store raises, it is accepted all the same
            _log.warning("an early delivery for %s could not be worked on: %r", accepted.ref, error)
            self._apply_kept_again([attempt.id for attempt in accepted.attempts])
            return accepted

    async def settle_lost(self, attempt_id: str) -> Intent | None:
        """A POST was lost. Its look, or that of an earlier sending, may have been delivered already.

        Gives the intent as that proves it. Two such looks are both its own: the latest attempt's counts.
        """
        if self._services.deliveries is None:
            return None
        store, proved = self._services.store, None
        try:
            intent = await store.by_attempt(attempt_id)
            with suppress(IllegalTransition):  # a delivery that came in this moment was faster
                for attempt in reversed(intent.attempts) if intent is not None else ():
                    proved = await self._prove_by_kept(attempt.id) or proved
            now = proved or await store.by_attempt(attempt_id)
            return now if now is not None and now.state.paid else None
        except Exception as error:  # as above: it is lost all the same
            _log.warning("an early delivery for %s could not be worked on: %r", attempt_id, error)
            self._apply_kept_again([attempt_id])
            return proved

    async def _prove_by_kept(self, attempt_id: str) -> Intent | None:
        delivery = await self._services.store.kept_delivery(attempt_id)
        intent = await self._services.store.by_attempt(attempt_id) if delivery is not None else None
        if delivery is None or intent is None:
            return None
        if intent.state is IntentState.UNKNOWN:
            return await self.prove(intent, attempt_id, delivery)
        await self._settle(intent, attempt_id, delivery)
        return None

    async def recall(self) -> None:
        """Work on deliveries that an earlier run kept, for looks that are not known to be done."""
        for intent in await self._services.store.in_states((IntentState.UNKNOWN, IntentState.ACCEPTED)):
            attempt_ids = [attempt.id for attempt in intent.attempts]
            try:
                await self._apply_kept(attempt_ids)
            except Exception as error:
                _log.warning("a delivery of an earlier run could not be worked on: %r", error)
                self._apply_kept_again(attempt_ids)

    async def _apply_kept(self, attempt_ids: list[str]) -> None:
        for attempt_id in attempt_ids:
            delivery = await self._services.store.kept_delivery(attempt_id)
            if delivery is not None:
                await self._apply(attempt_id, delivery)

    def _apply_kept_again(self, attempt_ids: list[str]) -> None:
        """After a failure."""
        self._again(partial(self._apply_kept, attempt_ids), "a kept delivery")

    def _again(self, work: Callable[[], Awaitable[object]], what: str) -> None:
        """Work on it in the background, again after a pause where that fails."""
        with suppress(SessionClosed):  # then it is worked on when the store is opened again
            again = restarted(work, f"working on {what}", tries=_TRIES)
            self._services.tasks.background(again, "hoox-delivery")


def _to_keep(intent: Intent, delivery: Delivery) -> bool:
    """Whether it is of use later. The first that is kept stands.

    So of a POST outstanding only a look's last word is kept; of one that was lost, and be it before it was
    sent again, any delivery names the look. Of one that was accepted its own look's last word is kept, for
    the case that it cannot be worked on at once.
    """
    if intent.state is IntentState.ACCEPTED and intent.ref is not None:
        return delivery.status.settled and delivery.look_id == intent.ref.look_id
    if intent.state is IntentState.SENDING:
        return delivery.status.settled
    return intent.state in _WITHOUT_LOOK


def _has_its_own(intent: Intent, attempt_id: str) -> bool:
    """Whether the intent's look is this attempt's, or will be; another is then a contradiction."""
    if len(intent.attempts) == 1:
        return intent.ref is not None or intent.state is IntentState.SENDING
    answered = intent.evidence is Evidence.ANSWER or intent.state is IntentState.SENDING
    return answered and intent.attempts[-1].id == attempt_id


def look_of(delivery: Delivery, ref: LookRef) -> Look:
    """The look as the delivery tells of it."""
    error = None
    if delivery.error_message or delivery.error_code:
        error = LookFailure(delivery.error_code, delivery.error_message or "no reason given")
    return Look(ref, delivery.status, delivery.thumbnail_url, error)


def _adds_to(intent: Intent, look: Look) -> bool:
    known = intent.look
    if known is None or known.status is not look.status:
        return False
    return bool((look.thumbnail_url and not known.thumbnail_url) or (look.error and not known.error))
