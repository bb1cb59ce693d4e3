"""Unknowns, paid requests whose outcome is not known: settled by proof or by the user, never by a guess.

Their candidates, the looks that they may have made, are listed for people and never assigned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress

from .._api.models import Avatar, Look, LookRef
from .._core.intents.intent import Evidence, Intent, IntentState, Unknown
from .._core.intents.transitions import AddCandidates, Correct, IllegalTransition
from .._core.polling import LookUpdate, PollScheduler, is_complete
from .._core.polling.durations import kind_of
from ..errors import HooxError, StoreError
from .jobs import JobRegistry
from .reads import Reads
from .services import SessionServices

# seconds to wait for the delivery of a lost POST beyond the expected duration of its look
_DELIVERY_SECONDS = 120.0


class Reconciler:
    """Records which look is an unknown's."""

    def __init__(self, services: SessionServices, registry: JobRegistry) -> None:
        self._services = services
        self._registry = registry

    async def confirm(
        self, intent: Intent, ref: LookRef, evidence: Evidence, look: Look | None = None
    ) -> Intent:
        """Record that this is the unknown's look.

        Raises `StoreError`, and `IllegalTransition` where the intent has changed meanwhile.
        """
        accepted = await self._services.accept_proof(intent, ref, evidence)
        await self._follow(accepted, look)
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
            await _add_candidates_of_avatar(self._services, intent.ref.avatar_id, [intent.ref])
        await self._follow(corrected, look)
        return corrected

    async def _follow(self, accepted: Intent, look: Look | None) -> None:
        self._registry.poll_until_settled(accepted)
        job = self._registry.job_of(accepted)  # referenced until it is recorded
        if look is not None and look.status.settled:
            await self._registry.publish([LookUpdate(look, is_complete(look))])
        del job


async def wait_for_delivery(
    services: SessionServices, scheduler: PollScheduler, unknown: Intent, seconds: float
) -> None:
    """Wait until a delivery on the attempt's own URL has proved which look a lost POST made.

    ``seconds`` at most, and no longer than a delivery may still come, or than the intent is unchanged.
    """
    until = services.clock.now() + min(seconds, _delivery_expected_for(services, scheduler, unknown))
    with suppress(StoreError):
        while (left := until - services.clock.now()) > 0 and not services.changes.is_closed:
            await services.changes.wait_changed(unknown, left, services.stored)
            now = await services.stored(unknown.key)
            if now is None or not now.unchanged_since(unknown):
                return


def _delivery_expected_for(services: SessionServices, scheduler: PollScheduler, unknown: Intent) -> float:
    """For how many seconds from now a delivery may still come; 0 or less: none will."""
    has_own_url = services.hub is not None and unknown.request.webhook_url is None
    if not has_own_url or unknown.sent_at is None:
        return 0.0
    expected = scheduler.expected(kind_of(unknown.request))
    until = services.clock.to_loop(unknown.sent_at) + 3 * expected + _DELIVERY_SECONDS
    return until - services.clock.now()


async def list_unknowns(services: SessionServices, reads: Reads) -> list[Unknown]:
    """All unknowns with their candidates, by one request for each avatar concerned.

    An edit's candidates are the looks of its avatar that no intent has claimed. The avatars are read again
    each time: a look can appear late, or be claimed by another intent. For an avatar that can't be read, the
    candidates are those that were recorded earlier. Raises `StoreError`.
    """
    avatars: dict[str, Avatar | None] = {}
    found: list[Unknown] = []
    for intent in await services.store.in_states((IntentState.UNKNOWN,)):
        looks = await _unclaimed_looks(services, intent, avatars, reads)
        refs = await _add_candidates(services, intent, looks)
        found.append(Unknown(intent.key, intent.content, intent.attempts[-1].id, intent.sent_at, refs))
    return found


async def _unclaimed_looks(
    services: SessionServices, intent: Intent, avatars: dict[str, Avatar | None], reads: Reads
) -> list[LookRef]:
    """The looks of the edited avatar that no intent has claimed, read now. ``avatars`` were read before."""
    if intent.source is None:
        return []
    avatar_id = intent.source.avatar_id
    if avatar_id not in avatars:
        try:
            avatars[avatar_id] = await reads.avatar(avatar_id)
        except HooxError:
            avatars[avatar_id] = None
    avatar = avatars[avatar_id]
    claimed = await services.store.claimed_looks(avatar_id)
    return [look.ref for look in avatar.looks if look.ref.look_id not in claimed] if avatar else []


async def _add_candidates(
    services: SessionServices, intent: Intent, refs: Iterable[LookRef]
) -> tuple[LookRef, ...]:
    """Add looks to the unknown's candidates, and remove those that another intent has claimed since.

    Returns the resulting candidates. Raises `StoreError`.
    """
    found = [ref for ref in dict.fromkeys((*intent.candidates, *refs)) if ref != intent.source]
    others = tuple([ref for ref in found if await services.store.by_ref(ref) is not None])
    free = tuple(ref for ref in found if ref not in others)
    if free != intent.candidates:
        with suppress(IllegalTransition):  # it was settled meanwhile
            return (await services.advance(intent.key, AddCandidates(free, others))).candidates
    return free


async def _add_candidates_of_avatar(
    services: SessionServices, avatar_id: str, refs: Collection[LookRef]
) -> None:
    """Add looks to the candidates of every unknown edit of this avatar. Raises `StoreError`."""
    for intent in await services.store.in_states((IntentState.UNKNOWN,)):
        if intent.source is not None and intent.source.avatar_id == avatar_id:
            await _add_candidates(services, intent, refs)
