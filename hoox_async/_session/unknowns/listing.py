"""Unknowns for people: what may have been paid, and which looks may be theirs."""

from __future__ import annotations

from ..._api.models import Avatar, LookRef
from ..._core.intents.intent import Intent, IntentState, Unknown
from ..._core.reconciliation.elimination import candidates
from ..._io.protocols import Store
from ...errors import HooxError
from ..reads import Reads
from .candidates import suspect


async def list_unknowns(store: Store, reads: Reads) -> list[Unknown]:
    """All unknowns, with the looks that may be theirs: one request for each avatar concerned.

    They are looked for anew each time: a look can show up late, and become another's since. Raises
    `StoreError`. Of an avatar that can't be read there are the candidates that were written down earlier.
    """
    avatars: dict[str, Avatar | None] = {}
    found: list[Unknown] = []
    for intent in await store.in_states((IntentState.UNKNOWN,)):
        refs = await suspect(store, intent, await _shown(intent, avatars, store, reads))
        found.append(Unknown(intent.key, intent.request, intent.sent_at, refs))
    return found


async def _shown(
    intent: Intent, avatars: dict[str, Avatar | None], store: Store, reads: Reads
) -> tuple[LookRef, ...]:
    """The looks of its avatar that are nobody's, as the API shows them now.

    What a baseline took in that may have been its own was written down in that moment.
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
