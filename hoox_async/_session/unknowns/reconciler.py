"""Settles unknowns, by proof or by the user's decision, and wakes the tasks that wait for that."""

from __future__ import annotations

import asyncio

from ..._api.models import Look, LookRef
from ..._core.intents.intent import Evidence, Intent, IntentState
from ..._core.intents.transitions import Correct
from ..._core.polling import LookUpdate, is_complete
from ..jobs import JobRegistry
from ..reads import Reads
from ..services import SessionServices
from .avatars import ExclusiveAvatars, SharedAvatars
from .candidates import add_candidates_of_avatar


class Reconciler:
    """Settles unknowns and wakes the tasks that wait for that. ``avatars`` has the locks and the searches."""

    def __init__(
        self, services: SessionServices, reads: Reads, registry: JobRegistry, *, exclusive: bool
    ) -> None:
        self._services = services
        self._registry = registry
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self.avatars: ExclusiveAvatars | SharedAvatars = (
            ExclusiveAvatars(services, reads, self) if exclusive else SharedAvatars(services)
        )

    async def restore(self) -> None:
        """Load the unknowns of earlier sessions. Raises `StoreError`."""
        await self.avatars.restore(await self._services.store.in_states((IntentState.UNKNOWN,)))

    def close(self) -> None:
        """The session is being closed: every task that waits for an avatar gets `SessionClosed`."""
        self.avatars.close()

    async def confirm(
        self, intent: Intent, ref: LookRef, evidence: Evidence, look: Look | None = None
    ) -> Intent:
        """Record that this is the unknown's look.

        Raises `StoreError`, and `IllegalTransition` where the intent has changed meanwhile.
        """
        accepted = await self._services.accept_proof(intent, ref, evidence)
        if evidence is not Evidence.USER:  # that does not prove that the avatar has no other looks
            self.avatars.note_made(accepted)
        await self._follow(accepted, look)
        self.end_search(intent.key)
        return accepted

    async def correct(self, intent: Intent, ref: LookRef, look: Look | None = None) -> Intent:
        """Record that the user names another look for it than before.

        The look that was named before may be another unknown's. Raises `StoreError`; `IllegalTransition`
        where the intent has changed meanwhile, and `LookTaken`.
        """
        step = Correct(ref, self._services.clock.utc())
        corrected = await self._services.advance(intent.key, step)  # it checks its own preconditions
        if intent.ref is not None:
            self._registry.forget_payment(intent.ref)
            await add_candidates_of_avatar(self._services, intent.ref.avatar_id, [intent.ref])
        await self._follow(corrected, look)
        return corrected

    async def _follow(self, accepted: Intent, look: Look | None) -> None:
        self._registry.poll_until_settled(accepted)
        job = self._registry.job_of(accepted)  # referenced until it is recorded
        if look is not None and look.status.settled:
            await self._registry.publish([LookUpdate(look, is_complete(look))])
        del job

    def abandon(self, intent: Intent) -> None:
        """The user drops it or sends it again, though its look may still appear.

        Such a look would be attributed to the next lost edit. So nothing is inferred for this avatar any more
        in this session, nor in a later one before a day has passed.
        """
        if intent.source is not None:
            self.avatars.end_inference(intent.source.avatar_id)
        self.end_search(intent.key)

    def end_search(self, key: str) -> None:
        """End its search: its look is known, or was not found, or it was abandoned."""
        self.avatars.end_search(key)
        for future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_result(None)

    def changed_elsewhere(self, intent: Intent) -> None:
        """Another process has changed this intent: wake those who wait until it is no unknown."""
        if intent.state is not IntentState.UNKNOWN:
            self.end_search(intent.key)

    async def wait_settled(self, intent: Intent, seconds: float) -> None:
        """Wait until the unknown is settled or its search has ended, ``seconds`` at most."""
        if self.avatars.is_searched(intent) and intent.source is not None:
            self.avatars.search(intent.source.avatar_id)
        future: asyncio.Future[None] = self._services.clock.loop.create_future()
        waiting = self._waiting.setdefault(intent.key, [])
        waiting.append(future)
        try:
            now = (await self._services.store.get((intent.key,))).get(intent.key, intent)
            if now.state is not IntentState.UNKNOWN or now.search_ended:
                return
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return
        finally:
            waiting.remove(future)
            if not waiting and self._waiting.get(intent.key) is waiting:
                del self._waiting[intent.key]
