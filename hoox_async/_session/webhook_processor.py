"""Processes webhook deliveries whose token was valid.

A delivery is acknowledged after its attempt was found in the store and, if the delivery may be needed later,
after it was stored. It is applied to its intent afterwards, in a task of the session. If that fails it is
retried a few times, and once more when the store is opened again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import attrs

from .._api.models import Look, LookDetails, LookFailure, LookRef
from .._api.requests import LookEdit
from .._api.webhook_payloads import Delivery
from .._core.intents.candidates import avatars_of_edits
from .._core.intents.deliveries import can_be_needed
from .._core.intents.intent import Evidence, Intent, IntentState
from .._core.intents.transitions import IllegalTransition
from .._core.polling import LookUpdate, PollScheduler, is_complete
from .._io.clock import Clock
from .._io.error_words import words_of
from .._io.hooks import Hooks
from .._io.ledger.ledger import Ledger
from .._io.logs import LogLimit
from .._io.tasks import TaskSet, restarted
from ..errors import HooxError, SessionClosed, StoreError
from ..events import DeliveryReceived
from .intents import Intents
from .jobs import JobRegistry
from .rate_limiter import RateLimiter
from .reads import Reads
from .unknowns import Unknowns

_T = TypeVar("_T")
_log = logging.getLogger("hoox_async")
_MAX_CONCURRENT = 200
_TRIES = 8  # of applying a delivery: about two minutes
_LOOKUP_PAUSES = (5.0, 15.0, 40.0, 60.0)  # seconds: a look may be missing in the list for a while


class WebhookProcessor:
    """Accepts the deliveries for one session, and applies them to its intents and jobs."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Ledger,
        intents: Intents,
        rate_limiter: RateLimiter,
        hooks: Hooks,
        tasks: TaskSet,
        reads: Reads,
        registry: JobRegistry,
        scheduler: PollScheduler,
        unknowns: Unknowns,
        has_webhooks: bool,
    ) -> None:
        self._clock = clock
        self._store = store
        self._intents = intents
        self._rate_limiter = rate_limiter
        self._hooks = hooks
        self._tasks = tasks
        self._reads = reads
        self._registry = registry
        self._scheduler = scheduler
        self._unknowns = unknowns
        self._has_webhooks = has_webhooks
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._store_failures = LogLimit(_log_store_failures)
        self._without_avatar: dict[str, Delivery] = {}  # by attempt; their avatars are looked up in the list
        self._lookup_tries = 0
        self._lookup_task: asyncio.Task[None] | None = None

    async def accept(self, attempt_id: str, delivery: Delivery) -> bool:
        """Store the delivery if it can be needed later, and start to process it.

        False if the attempt is unknown here or the session is closed: then it must not be acknowledged.
        Raises what the store raises. It may be called on another event loop than the session's.
        """
        loop = self._clock.loop
        if asyncio.get_running_loop() is loop:
            return await self._accept_on_loop(attempt_id, delivery)
        future = asyncio.run_coroutine_threadsafe(self._accept_on_loop(attempt_id, delivery), loop)
        return await asyncio.wrap_future(future)

    async def _accept_on_loop(self, attempt_id: str, delivery: Delivery) -> bool:
        """It may be cancelled at any point: what was not acknowledged is delivered again."""
        self._scheduler.delivery_came()
        store = self._store
        intent = await store.by_attempt(attempt_id)
        if intent is None:
            return False
        kept = can_be_needed(intent, delivery) and await store.kept_delivery(attempt_id) is None
        if kept:
            with self._intents.writing():
                await store.keep_delivery(attempt_id, delivery)
        early = kept and intent.state is not IntentState.ACCEPTED
        await self._slots.acquire()
        try:
            self._tasks.background(self._process(attempt_id, delivery, early), "hoox-delivery")
        except SessionClosed:
            self._slots.release()
            return False
        return True

    async def _process(self, attempt_id: str, delivery: Delivery, early: bool) -> None:
        """Apply the delivery, with retries, and emit its event.

        ``early``: it was stored for later, so the event reports it as used, even if it changes nothing now.
        The caller has acquired a slot for the first try; no slot is held during a pause.
        """
        has_slot = True

        async def apply() -> tuple[str | None, bool]:
            nonlocal has_slot
            if not has_slot:
                await self._slots.acquire()
            has_slot = False
            try:
                return await self._apply(attempt_id, delivery)
            finally:
                self._slots.release()

        what = f"processing a delivery for look {delivery.look_id}"
        done = await self._retried(apply, what)
        if done is None:
            return
        key, used = done
        self._hooks.emit(DeliveryReceived(delivery.look_id, delivery.status, key, used or early))

    async def _apply(self, attempt_id: str, delivery: Delivery) -> tuple[str | None, bool]:
        """Apply a delivery to its intent. Returns the intent's key, and whether anything changed."""
        key = None
        for _ in range(2):  # again if another task changed the intent in the meantime
            intent = await self._store.by_attempt(attempt_id)
            if intent is None:
                break
            key = intent.key
            try:
                match intent.state:
                    case IntentState.UNKNOWN:
                        return key, await self._confirm_unknown(intent, attempt_id, delivery) is not None
                    case IntentState.ACCEPTED | IntentState.READY | IntentState.FAILED:
                        return key, await self._update_look(intent, attempt_id, delivery)
                    case _:
                        await self._claim_extra_look(intent, attempt_id, delivery)
                        break  # it is stored for the outstanding POST, or is not needed any more
            except IllegalTransition:
                continue
        return key, False

    async def _update_look(self, intent: Intent, attempt_id: str, delivery: Delivery) -> bool:
        """Publish what the delivery reports about an accepted intent's look. Returns whether it was new."""
        ref = intent.ref
        if ref is None or ref.look_id != delivery.look_id:
            await self._claim_extra_look(intent, attempt_id, delivery)
            return False
        look = _look_of(delivery, ref)
        if look.ref not in self._scheduler:
            self._scheduler.delivered_late(ref)
        known = intent.look
        if intent.state is not IntentState.ACCEPTED and (known is None or known.merged_with(look) is known):
            return False
        return await self._publish(look)

    async def _claim_extra_look(self, intent: Intent, attempt_id: str, delivery: Delivery) -> None:
        """Claim a second look of an intent that was sent again, paid again or dropped: no other may have it.

        Nothing is claimed if that attempt has its look already or is still outstanding: then the delivery
        contradicts what is known.
        """
        if _attempt_has_its_look(intent, attempt_id):
            return
        avatar_id = delivery.avatar_id or await self._certain_avatar(intent)
        if avatar_id is None:
            self._queue_avatar_lookup(attempt_id, delivery)
        else:
            await self._store.claim_look(LookRef(avatar_id, delivery.look_id))

    async def _certain_avatar(self, intent: Intent) -> str | None:
        """The avatar that each look of this intent is of; None where that is not known without its answer.

        A creation makes a new avatar, and an edit of a public avatar a copy of it.
        """
        if intent.source is None:
            return None
        known = await self._store.known_avatar(intent.source.avatar_id)
        return intent.source.avatar_id if known.created else None

    async def _publish(self, look: Look) -> bool:
        """Update the tracked look and its job. Returns whether that was new.

        No job is made for it: hooks are told of what is held here, and this process may only pass it on.
        """
        if look.ref in self._scheduler:
            update = self._scheduler.update(look, self._clock.now(), delivered=True)
            await self._registry.publish((update,) if update else ())
            self._rate_limiter.wake()
            return update is not None
        return await self._registry.publish([LookUpdate(look, is_complete(look))])

    async def _confirm_unknown(self, intent: Intent, attempt_id: str, delivery: Delivery) -> Intent | None:
        """Confirm the look of an unknown intent by a delivery on its own token. None if that is impossible.

        A delivery for any attempt of this round counts, since each may have been paid. The older payload form
        names no avatar: where that is not certain, it is looked up in the background.

        Raises `IllegalTransition` where it was confirmed since the intent was read.
        """
        if attempt_id in intent.past_attempts:
            await self._claim_extra_look(intent, attempt_id, delivery)
            return None
        avatar_id = delivery.avatar_id or await self._certain_avatar(intent)
        if avatar_id is None:
            self._queue_avatar_lookup(attempt_id, delivery)
            return None
        ref = LookRef(avatar_id, delivery.look_id)
        other = await self._store.by_ref(ref)
        if other is not None and other.key == intent.key:
            raise IllegalTransition(f"{intent.key}: another process has confirmed its look already")
        if other is not None or (isinstance(intent.request, LookEdit) and ref == intent.source):
            _log.warning("ignored a delivery that named %s, which is the look of another request", ref)
            return None
        await self._unknowns.confirm(intent, ref, Evidence.WEBHOOK, _look_of(delivery, ref))
        return await self._store.by_ref(ref)

    def _queue_avatar_lookup(self, attempt_id: str, delivery: Delivery) -> None:
        self._without_avatar[attempt_id] = delivery
        self._lookup_tries = 0
        if self._lookup_task is None or self._lookup_task.done():
            self._lookup_task = self._tasks.background(self._look_up_avatars(), "hoox-find-avatars")

    async def _look_up_avatars(self) -> None:
        """Search for the avatars of all queued deliveries, a few times.

        What is not found stays unknown, and its delivery stays stored.
        """
        while self._without_avatar:
            await self._look_up_avatars_once()
            if self._lookup_tries >= len(_LOOKUP_PAUSES):
                self._without_avatar.clear()
            elif self._without_avatar:
                self._lookup_tries += 1
                await asyncio.sleep(_LOOKUP_PAUSES[self._lookup_tries - 1])

    async def _look_up_avatars_once(self) -> None:
        """Search the avatars that were edited and their known copies, then the list."""
        try:
            for avatar_id in await self._edited_avatars():
                with suppress(HooxError):
                    self._apply_to((await self._reads.avatar(avatar_id)).looks)
            if self._without_avatar:
                self._apply_to(await self._reads.looks({}))
        except HooxError as error:
            _log.warning("could not look up the avatars of delivered looks: %s", error)
        except Exception:
            _log.exception("looking up the avatars of delivered looks failed; it is tried again")

    async def _edited_avatars(self) -> list[str]:
        """The avatars in which edits with queued deliveries may have made their looks."""
        store, found = self._store, dict[str, None]()
        for attempt_id in list(self._without_avatar):
            intent = await store.by_attempt(attempt_id)
            if intent is not None and intent.source is not None:
                avatar_id = intent.source.avatar_id
                found |= dict.fromkeys(avatars_of_edits(avatar_id, await store.known_avatar(avatar_id)))
        return list(found)

    def _apply_to(self, looks: Sequence[LookDetails]) -> None:
        """Apply the queued deliveries whose looks are among these."""
        wanted = {delivery.look_id: attempt_id for attempt_id, delivery in self._without_avatar.items()}
        for ref in [look.ref for look in looks if look.ref.look_id in wanted]:
            attempt_id = wanted[ref.look_id]
            delivery = self._without_avatar.pop(attempt_id, None)  # a list can contain a look twice
            if delivery is not None:
                named = attrs.evolve(delivery, avatar_id=ref.avatar_id)
                self._start_with_retries(partial(self._apply, attempt_id, named), f"a delivery for {ref}")

    async def apply_early_deliveries(self, accepted: Intent, attempt_id: str) -> Intent:
        """Apply the deliveries that came before the response to their POST. Returns the intent after that."""
        if not self._has_webhooks:
            return accepted
        try:
            delivery = None
            for attempt in accepted.attempts:  # an earlier attempt's delivery names one more look
                delivery = await self._store.kept_delivery(attempt.id)
                if delivery is not None:
                    await self._update_look(accepted, attempt.id, delivery)
            if delivery is None:
                return accepted
            return await self._store.by_attempt(attempt_id) or accepted
        except Exception as error:  # a store may raise anything; the POST was accepted
            _log.warning("an early delivery for %s could not be applied: %s", accepted.ref, words_of(error))
            self._retry_kept_deliveries([attempt.id for attempt in accepted.attempts])
            return accepted

    async def confirm_lost(self, attempt_id: str) -> Intent | None:
        """Confirm a lost POST by a delivery that was received earlier, for this or an earlier attempt.

        Returns the intent after that, None if there was no such delivery. If there were two, the latest
        attempt's look becomes the intent's.
        """
        if not self._has_webhooks:
            return None
        store, confirmed = self._store, None
        try:
            intent = await store.by_attempt(attempt_id)
            with suppress(IllegalTransition):  # another delivery changed it first
                for attempt in reversed(intent.attempts) if intent is not None else ():
                    confirmed = await self._confirm_by_kept_delivery(attempt.id) or confirmed
            now = confirmed or await store.by_attempt(attempt_id)
            return now if now is not None and now.state.paid else None
        except Exception as error:  # a store may raise anything; the POST is lost
            _log.warning("an early delivery for %s could not be applied: %s", attempt_id, words_of(error))
            self._retry_kept_deliveries([attempt_id])
            return confirmed

    async def _confirm_by_kept_delivery(self, attempt_id: str) -> Intent | None:
        delivery = await self._store.kept_delivery(attempt_id)
        intent = await self._store.by_attempt(attempt_id) if delivery is not None else None
        if delivery is None or intent is None:
            return None
        if intent.state is IntentState.UNKNOWN:
            return await self._confirm_unknown(intent, attempt_id, delivery)
        await self._update_look(intent, attempt_id, delivery)
        return None

    def changed_elsewhere(self, intent: Intent) -> None:
        """Another process has changed this intent: a lost one may have been delivered. Never raises."""
        if intent.state is IntentState.UNKNOWN and self._registry.polls_for_all:
            self._retry_kept_deliveries([attempt.id for attempt in intent.attempts])

    def kept_elsewhere(self, attempt_id: str) -> None:
        """Another process has kept a delivery for this attempt: apply it. Never raises."""
        self._retry_kept_deliveries([attempt_id])

    async def restore(self) -> None:
        """Apply the deliveries that were kept already, for intents that are ACCEPTED or UNKNOWN."""
        async for attempt_id in self._store.stream_delivered():
            try:
                await self._apply_kept_deliveries([attempt_id])
            except Exception as error:
                _log.warning("a stored delivery could not be applied: %s", words_of(error))
                self._retry_kept_deliveries([attempt_id])

    async def _apply_kept_deliveries(self, attempt_ids: list[str]) -> None:
        async with self._slots:  # a new leader may begin with thousands
            for attempt_id in attempt_ids:
                delivery = await self._store.kept_delivery(attempt_id)
                if delivery is not None:
                    await self._apply(attempt_id, delivery)

    def _retry_kept_deliveries(self, attempt_ids: list[str]) -> None:
        self._start_with_retries(partial(self._apply_kept_deliveries, attempt_ids), "a kept delivery")

    def _start_with_retries(self, work: Callable[[], Awaitable[object]], what: str) -> None:
        """Do the work in the background, again after a pause if it fails."""
        with suppress(SessionClosed):  # then it is applied when the store is opened again
            self._tasks.background(self._retried(work, f"processing {what}"), "hoox-delivery")

    async def _retried(self, work: Callable[[], Awaitable[_T]], what: str) -> _T | None:
        """Its result, after some tries. None where the store failed each time: it is kept for later."""
        try:
            return await restarted(work, what, tries=_TRIES, store_failures=self._store_failures)
        except StoreError as error:
            self._store_failures.add(f"{error} (given up until the store is opened again)")
            return None

    def close(self) -> None:
        """Log the failures of the store that have only been counted yet."""
        self._store_failures.close()


def _log_store_failures(counts: Counter[str]) -> None:
    reasons = "; ".join(f"{count} time(s), {why}" for why, count in counts.items())
    _log.warning("deliveries could not be processed yet: %s", reasons)


def _attempt_has_its_look(intent: Intent, attempt_id: str) -> bool:
    """Whether the intent's look was made by this attempt, or may still be: the attempt is outstanding."""
    if len(intent.attempts) == 1:
        return intent.ref is not None or intent.state is IntentState.SENDING
    answered = intent.evidence is Evidence.ANSWER or intent.state is IntentState.SENDING
    return answered and intent.attempts[-1].id == attempt_id


def _look_of(delivery: Delivery, ref: LookRef) -> Look:
    """The look as the delivery describes it."""
    error = None
    if delivery.error_message or delivery.error_code:
        error = LookFailure(delivery.error_code, delivery.error_message or "no reason given")
    return Look(ref, delivery.status, delivery.thumbnail_url, error)
