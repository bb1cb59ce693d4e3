"""What becomes of a webhook delivery whose token was good.

A delivery is looked up and, where it came before the answer to its POST, written down; only then is it
acknowledged. The rest is done afterwards, in a task of the session's.
"""

from __future__ import annotations

import asyncio
import logging

from ._core.ledger import Evidence, Intent, IntentState
from ._core.models import Look, LookFailure, LookRef
from ._core.watchlist import News, Watchlist
from ._core.wire import list_request, read_looks
from ._jobs import JobBook
from ._parts import Parts
from ._protocols import Delivery
from ._reads import Reads
from ._unknowns import Unknowns
from .errors import HooxError
from .events import DeliveryReceived

_log = logging.getLogger("hoox_async")
_AT_ONCE = 200
_EARLY = frozenset({IntentState.SENDING, IntentState.UNKNOWN, IntentState.DROPPED})


class Receiver:
    """Takes deliveries for one session."""

    def __init__(
        self, parts: Parts, reads: Reads, book: JobBook, watchlist: Watchlist, unknowns: Unknowns
    ) -> None:
        self._parts = parts
        self._reads = reads
        self._book = book
        self._watchlist = watchlist
        self._unknowns = unknowns
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def receive(self, attempt_id: str, delivery: Delivery) -> bool:
        """Whether the attempt is known here. Then the delivery will be worked on."""
        loop = self._parts.clock.loop
        if asyncio.get_running_loop() is loop:
            return await self._receive(attempt_id, delivery)
        future = asyncio.run_coroutine_threadsafe(self._receive(attempt_id, delivery), loop)
        return await asyncio.wrap_future(future)

    async def _receive(self, attempt_id: str, delivery: Delivery) -> bool:
        store = self._parts.store
        intent = await store.by_attempt(attempt_id)
        if intent is None:
            return False
        if intent.state in _EARLY:
            await store.keep_delivery(attempt_id, delivery)
            # the answer may have come while it was written down
            intent = await store.by_attempt(attempt_id) or intent
        await self._room.acquire()
        self._parts.tasks.spawn(self._work(intent, attempt_id, delivery), "hoox-delivery")
        return True

    async def _work(self, intent: Intent, attempt_id: str, delivery: Delivery) -> None:
        try:
            used = await self._apply(intent, attempt_id, delivery)
        except HooxError as error:
            _log.warning("a delivery for look %s could not be worked on: %s", delivery.look_id, error)
        else:
            self._parts.hooks.tell(DeliveryReceived(delivery.look_id, delivery.status, intent.key, used))
        finally:
            self._room.release()

    async def _apply(self, intent: Intent, attempt_id: str, delivery: Delivery) -> bool:
        """Whether the delivery changed anything."""
        match intent.state:
            case IntentState.UNKNOWN:
                return await self.prove(intent, delivery)
            case IntentState.ACCEPTED | IntentState.READY | IntentState.FAILED:
                return await self._settle(intent, attempt_id, delivery)
            case _:
                return False  # kept for the answer that is on its way, or of no use any more

    async def _settle(self, intent: Intent, attempt_id: str, delivery: Delivery) -> bool:
        ref = intent.ref
        if ref is None or ref.look_id != delivery.look_id:
            await self._claim_double(intent, attempt_id, delivery)
            return False
        look = look_of(delivery, ref)
        if intent.state is not IntentState.ACCEPTED and not _adds_to(intent, look):
            return False
        await self._hear(intent, look)
        return True

    async def _claim_double(self, intent: Intent, attempt_id: str, delivery: Delivery) -> None:
        """The look of an earlier attempt, that was sent again by the user's word: it is nobody else's."""
        avatar_id = delivery.avatar_id or intent.avatar_id
        earlier = attempt_id in [attempt.id for attempt in intent.attempts[:-1]]
        if avatar_id is not None and earlier:
            await self._parts.store.add_seen(avatar_id, (delivery.look_id,))

    async def _hear(self, intent: Intent, look: Look) -> None:
        now = self._parts.clock.now()
        if look.ref in self._watchlist:
            news = self._watchlist.heard(look, now)
            await self._book.tell((news,) if news else ())
            self._parts.gate.kick()
        elif self._book.known(look.ref) is not None:
            await self._book.tell([News(look, bool(look.thumbnail_url or look.error))])
        elif look.status.settled:
            await self._book.write_settled(intent.key, look)

    async def prove(self, intent: Intent, delivery: Delivery) -> bool:
        """Settle an unknown by a delivery on its own token. False where its avatar cannot be found yet."""
        avatar_id = delivery.avatar_id or (intent.source.avatar_id if intent.source else None)
        if avatar_id is None:
            avatar_id = await self._avatar_of(delivery.look_id)
        if avatar_id is None:
            return False
        ref = LookRef(avatar_id, delivery.look_id)
        await self._unknowns.prove(intent, ref, Evidence.WEBHOOK, look_of(delivery, ref))
        return True

    async def _avatar_of(self, look_id: str) -> str | None:
        """The older payload form names no avatar: it stands in the list of all looks."""
        for look in await self._reads.read(list_request({}), read_looks):
            if look.ref.look_id == look_id:
                return look.ref.avatar_id
        return None

    async def apply_kept(self, accepted: Intent, attempt_id: str) -> None:
        """Work on a delivery that overtook the answer to its POST."""
        if self._parts.deliveries is None:
            return
        delivery = await self._parts.store.kept_delivery(attempt_id)
        if delivery is not None:
            await self._settle(accepted, attempt_id, delivery)

    async def recall(self, unknowns: list[Intent]) -> None:
        """Work on deliveries that were kept for intents which became unknown since."""
        for intent in unknowns:
            for attempt in intent.attempts:
                delivery = await self._parts.store.kept_delivery(attempt.id)
                if delivery is not None and await self.prove(intent, delivery):
                    break


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
