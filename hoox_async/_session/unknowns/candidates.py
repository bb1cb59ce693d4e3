"""Candidates, the looks that an unknown may have made: recorded and listed for people, never assigned."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress

from ..._api.models import Avatar, LookRef
from ..._core.intents.intent import Intent, IntentState, Unknown
from ..._core.intents.transitions import AddCandidates, IllegalTransition
from ..._core.reconciliation.elimination import candidates
from ..._io.protocols import Store
from ...errors import HooxError
from ..reads import Reads
from ..services import SessionServices


async def add_candidates(
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


async def add_candidates_of_avatar(
    services: SessionServices, avatar_id: str, refs: Collection[LookRef]
) -> None:
    """Add looks to the candidates of every unknown edit of this avatar. Raises `StoreError`."""
    for intent in await services.store.in_states((IntentState.UNKNOWN,)) if refs else ():
        if intent.source is not None and intent.source.avatar_id == avatar_id:
            await add_candidates(services, intent, refs)


async def list_unknowns(services: SessionServices, reads: Reads) -> list[Unknown]:
    """All unknowns with their candidates, by one request for each avatar concerned.

    The avatars are read again each time: a look can appear late, or be claimed by another intent. For an
    avatar that can't be read, the candidates are those that were recorded earlier. Raises `StoreError`.
    """
    avatars: dict[str, Avatar | None] = {}
    found: list[Unknown] = []
    for intent in await services.store.in_states((IntentState.UNKNOWN,)):
        refs = await add_candidates(
            services, intent, await _unclaimed(intent, avatars, services.store, reads)
        )
        found.append(Unknown(intent.key, intent.content, intent.sent_at, refs))
    return found


async def _unclaimed(
    intent: Intent, avatars: dict[str, Avatar | None], store: Store, reads: Reads
) -> tuple[LookRef, ...]:
    """The looks of the edited avatar that no intent has claimed and that are not in its baseline, read now.

    A look that it may have made and that was added to the baseline is among its stored candidates already.
    """
    if intent.source is None:
        return ()
    avatar_id = intent.source.avatar_id
    if avatar_id not in avatars:
        try:
            avatars[avatar_id] = await reads.avatar(avatar_id)
        except HooxError:
            avatars[avatar_id] = None
    avatar = avatars[avatar_id]
    return () if avatar is None else candidates(await store.seen_looks(avatar_id) or frozenset(), avatar)
