"""What a webhook delivery does: it is kept in the store, then applied to its intent's row.

The way of a delivery whose token was valid:

1. `Deliveries.accept` has the store keep it for its attempt, if it tells more than what is known.
2. It is acknowledged. From here on it is never lost. What it adds to a settled row is written before: no
   later session looks for that.
3. `Deliveries.apply` reads the row again, and writes what the kept delivery changes there: it settles the
   look, proves what a lost POST has made, or shows that a look was paid for besides (`Effect`).
4. While the POST is outstanding it changes nothing. Each write that ends a sending is followed by
   `Deliveries.after_sending`, which applies what was kept for all attempts of the row.
5. What fails is tried again. Deliveries that were kept by other processes, or before the store was opened,
   are applied in the same way.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import attrs

from .._api.models import LookDetails, LookRef
from .._api.webhook_payloads import Delivery
from .._core.intents.candidates import avatars_of_edits
from .._core.intents.deliveries import Effect, effect_of, look_of
from .._core.intents.intent import Evidence, Intent, IntentState
from .._core.intents.transitions import IfUnchanged, IllegalTransition, LookTaken, NoteDelivered, advance
from .._core.polling import PollScheduler
from .._io.clock import Clock
from .._io.error_words import words_of
from .._io.hooks import Hooks
from .._io.ledger.ledger import Delivered, Ledger
from .._io.logs import LogLimit
from .._io.tasks import TaskSet, restarted
from ..errors import HooxError, SessionClosed, StoreError
from ..events import DeliveryReceived
from .intents import Intents
from .jobs import JobRegistry
from .reads import Reads
from .unknowns import Unknowns

_T = TypeVar("_T")
_log = logging.getLogger("hoox_async")
_MAX_CONCURRENT = 200
_TRIES = 8  # of applying a delivery: about two minutes
_READINGS = 5  # of a row that others change at the same time
_FIRST_LOOKUP_PAUSE, _LONGEST_LOOKUP_PAUSE = 1.0, 86_400.0  # seconds


class Deliveries:
    """Keeps the deliveries for one session, and applies them to its intents and jobs."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Ledger,
        intents: Intents,
        hooks: Hooks,
        tasks: TaskSet,
        reads: Reads,
        registry: JobRegistry,
        scheduler: PollScheduler,
        unknowns: Unknowns,
    ) -> None:
        self._clock = clock
        self._store = store
        self._intents = intents
        self._hooks = hooks
        self._tasks = tasks
        self._reads = reads
        self._registry = registry
        self._scheduler = scheduler
        self._unknowns = unknowns
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._store_failures = LogLimit(_log_store_failures)
        self._without_avatar: dict[str, None] = {}  # attempts whose deliveries name no avatar
        self._lookup_pause = _FIRST_LOOKUP_PAUSE
        self._lookup_task: asyncio.Task[None] | None = None

    async def accept(self, attempt_id: str, delivery: Delivery) -> bool:
        """Keep the delivery if it tells more than what is known, and start to apply it.

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
        with self._intents.writing():
            delivered = await self._store.keep_delivery(attempt_id, delivery)
        if delivered is None:
            return False
        if delivered.intent.look is not None:  # `restore` reads no settled rows: they are nearly all
            await self.apply(attempt_id)
        await self._slots.acquire()
        try:
            self._tasks.background(self._process(attempt_id, delivery, delivered), "hoox-delivery")
        except SessionClosed:
            self._slots.release()
            return False
        return True

    async def _process(self, attempt_id: str, delivery: Delivery, delivered: Delivered) -> None:
        """Apply the delivery, with retries, and emit its event.

        The caller has acquired a slot for the first try; no slot is held during a pause.
        """
        has_slot = True

        async def apply() -> bool:
            nonlocal has_slot
            if not has_slot:
                await self._slots.acquire()
            has_slot = False
            try:
                applied = delivered.delivery is not None and await self.apply(attempt_id)
                return applied or delivered.is_new or await self._report(delivered.intent, delivery)
            finally:
                self._slots.release()

        used = await self._retried(apply, f"processing a delivery for look {delivery.look_id}")
        if used is not None:
            key = delivered.intent.key
            self._hooks.emit(DeliveryReceived(delivery.look_id, delivery.status, key, used))

    async def _report(self, intent: Intent, delivery: Delivery) -> bool:
        """Publish what a delivery that is not kept reports about the intent's own look, such as PROCESSING.

        Returns whether that was new.
        """
        ref = intent.ref
        if ref is None or ref.look_id != delivery.look_id:
            return False
        self._note_lateness(ref)
        return intent.state is IntentState.ACCEPTED and await self._registry.report(
            look_of(delivery, ref), delivered=True
        )

    def _note_lateness(self, ref: LookRef) -> None:
        if ref not in self._scheduler:
            self._scheduler.delivered_late(ref)

    # --- applying what is kept

    async def apply(self, attempt_id: str) -> bool:
        """Carry out what the kept delivery of this attempt says, as the row stands now.

        It can be called at any time, and again. While the POST is outstanding it does nothing: the write that
        ends the sending is followed by `after_sending`. Returns whether anything changed.
        """
        for left in reversed(range(_READINGS)):
            delivered = await self._store.delivered(attempt_id)
            if delivered is None or delivered.delivery is None:
                return False
            try:
                return await self._carry_out(delivered.intent, attempt_id, delivered.delivery)
            except IllegalTransition:  # it was changed since it was read
                if not left:
                    raise
        return False

    async def _carry_out(self, intent: Intent, attempt_id: str, delivery: Delivery) -> bool:
        effect = effect_of(intent, attempt_id, delivery)
        if effect is Effect.NONE:
            return False
        if effect is Effect.SETTLES and intent.ref is not None:
            self._note_lateness(intent.ref)
            return await self._registry.report(look_of(delivery, intent.ref), delivered=True)
        avatar_id = delivery.avatar_id or await self._certain_avatar(intent)
        if avatar_id is None:
            return await self._look_up_later(intent, attempt_id, delivery)
        ref = LookRef(avatar_id, delivery.look_id)
        try:
            if effect is Effect.DOUBLE:
                await self._intents.accept_of(attempt_id, intent.key, ref, Evidence.WEBHOOK)
            else:
                await self._unknowns.confirm(intent, ref, Evidence.WEBHOOK, look_of(delivery, ref))
        except LookTaken as taken:
            _log.warning("ignored a delivery for %s: %s", intent.key, taken)
            return False
        return True

    async def after_sending(self, intent: Intent) -> Intent:
        """Apply what came for an intent while it was being sent. Returns the intent after that. Never raises.

        It is called after each write that ends a sending has committed. If two attempts were delivered, the
        look of the latest one becomes the intent's.
        """
        if not self._registry.has_webhooks and len(intent.attempts) < 2:
            return intent  # no URL of ours was sent with it
        try:
            if await self._apply_all(intent):  # here, or by the delivery's own task
                return await self._intents.stored(intent.key) or intent
        except Exception as error:  # a store may raise anything; the POST has ended
            _log.warning("early deliveries for %s could not be applied: %s", intent.key, words_of(error))
            self._start_with_retries(partial(self._apply_all, intent), f"early deliveries for {intent.key}")
        return intent

    async def _apply_all(self, intent: Intent) -> bool:
        """Returns whether anything was kept for its attempts."""
        kept = await self._store.delivered_attempts(intent.key)
        ids = [attempt.id for attempt in reversed(intent.attempts) if attempt.id in kept]
        for attempt_id in ids:
            await self.apply(attempt_id)
        return bool(ids)

    def changed_elsewhere(self, intent: Intent) -> None:
        """Another process has ended this intent's sending, and may have died before it looked. Never raises.

        The process that polls for all looks, too; where none does, each one looks at what was lost.
        """
        registry, is_lost = self._registry, intent.state is IntentState.UNKNOWN
        if registry.polls_for_all:
            applies = is_lost or intent.state is IntentState.ACCEPTED
        else:
            applies = is_lost and not registry.polls_all
        if applies:
            self._start_with_retries(partial(self._apply_all, intent), f"deliveries for {intent.key}")

    def kept_elsewhere(self, attempt_id: str) -> None:
        """Another process has kept a delivery for this attempt: apply it. Never raises."""
        self._start_with_retries(partial(self._apply_in_turn, attempt_id), "a kept delivery")

    async def restore(self) -> None:
        """Apply the deliveries that were kept already, for intents that are ACCEPTED or UNKNOWN."""
        async for attempt_id in self._store.stream_delivered():
            await self._apply_or_retry(attempt_id)

    async def _apply_or_retry(self, attempt_id: str) -> None:
        try:
            await self._apply_in_turn(attempt_id)
        except Exception as error:
            _log.warning("a stored delivery could not be applied: %s", words_of(error))
            self.kept_elsewhere(attempt_id)

    async def _apply_in_turn(self, attempt_id: str) -> None:
        async with self._slots:  # a new leader may begin with thousands
            await self.apply(attempt_id)

    async def _certain_avatar(self, intent: Intent) -> str | None:
        """The avatar that each look of this intent is of; None where that is not known without its answer.

        A creation makes a new avatar, and an edit of a public avatar a copy of it.
        """
        if intent.source is None:
            return None
        known = await self._store.known_avatar(intent.source.avatar_id)
        return intent.source.avatar_id if known.created else None

    # --- the avatars of looks whose deliveries name none

    async def _look_up_later(self, intent: Intent, attempt_id: str, delivery: Delivery) -> bool:
        """Note that an unknown was surely paid, and look for its look's avatar in the background."""
        note = NoteDelivered(delivery.look_id, attempt_id)
        is_new = intent.state is IntentState.UNKNOWN and advance(intent, note) != intent
        if is_new:
            await self._intents.advance(intent.key, IfUnchanged(intent), note)
        self._without_avatar[attempt_id] = None
        self._lookup_pause = _FIRST_LOOKUP_PAUSE
        if self._lookup_task is None or self._lookup_task.done():
            self._lookup_task = self._tasks.background(self._keep_looking_up(), "hoox-find-avatars")
        return is_new

    async def _keep_looking_up(self) -> None:
        """Search at growing intervals: a look may be missing in the list for a while."""
        while self._without_avatar:
            pause = self._lookup_pause
            self._lookup_pause = min(2 * pause, _LONGEST_LOOKUP_PAUSE)
            await asyncio.sleep(pause)
            try:
                await self._look_up()
            except HooxError as error:
                _log.warning("could not look up the avatars of delivered looks: %s", error)
            except Exception:
                _log.exception("looking up the avatars of delivered looks failed; it is tried again")

    async def look_up_unknowns(self) -> None:
        """Apply what is kept, and search now for the avatars that are wanted. What can't be read is left out.

        Raises `StoreError`.
        """
        await self.restore()
        try:
            await self._look_up()
        except HooxError as error:
            _log.warning("could not look up the avatars of delivered looks: %s", error)

    async def _look_up(self) -> None:
        """Search the avatars that were edited and their known copies, then the list. Raises `HooxError`.

        A look that two avatars have proves nothing.
        """
        wanted, avatars = await self._wanted()
        found: dict[str, set[LookRef]] = {look_id: set() for look_id in wanted}

        def note(looks: Iterable[LookDetails]) -> None:
            for look in looks:
                if look.ref.look_id in found:
                    found[look.ref.look_id].add(look.ref)

        for avatar_id in avatars:
            with suppress(HooxError):
                note((await self._reads.avatar(avatar_id)).looks)
        if not all(found.values()):
            note(await self._reads.looks({}))
        for look_id, refs in found.items():
            if len(refs) == 1:
                attempt_id, delivery = wanted[look_id]
                named = attrs.evolve(delivery, avatar_id=refs.pop().avatar_id)
                await self._store.keep_delivery(attempt_id, named)
                await self._apply_or_retry(attempt_id)

    async def _wanted(self) -> tuple[dict[str, tuple[str, Delivery]], list[str]]:
        """The deliveries whose avatars are wanted, by their looks, and the avatars that were edited."""
        wanted: dict[str, tuple[str, Delivery]] = {}
        avatars: dict[str, None] = {}
        for attempt_id in list(self._without_avatar):
            delivered = await self._store.delivered(attempt_id)
            intent, delivery, _ = delivered if delivered is not None else (None, None, None)
            if intent is None or delivery is None or not _is_without_avatar(intent, attempt_id, delivery):
                self._without_avatar.pop(attempt_id, None)
                continue
            wanted[delivery.look_id] = attempt_id, delivery
            if intent.source is not None:
                avatar_id = intent.source.avatar_id
                known = await self._store.known_avatar(avatar_id)
                avatars |= dict.fromkeys(avatars_of_edits(avatar_id, known))
        return wanted, list(avatars)

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


def _is_without_avatar(intent: Intent, attempt_id: str, delivery: Delivery) -> bool:
    is_needed = effect_of(intent, attempt_id, delivery) in (Effect.PROVES, Effect.DOUBLE)
    return is_needed and delivery.avatar_id is None
