"""Unknowns for people: what may have been paid, and which looks may be theirs."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from .._core.ledger import IllegalStep, Intent, IntentState, Suspect
from .._core.models import Avatar, LookRef
from .._core.orphans import candidates
from .._core.requests import Request
from .._protocols import Store
from .._reads import Reads
from ..errors import HooxError
from .baselines import read_of


class Unknown(NamedTuple):
    """A paid request whose fate is not known. ``candidates`` are looks that may be its own."""

    key: str
    request: Request
    sent_at: datetime | None
    candidates: tuple[LookRef, ...]


async def list_unknowns(store: Store, reads: Reads) -> list[Unknown]:
    """All unknowns, with the looks that may be theirs: one request for each avatar concerned.

    Raises `StoreError`. An avatar that can't be read gives no candidates.
    """
    avatars: dict[str, Avatar | None] = {}
    found: list[Unknown] = []
    for intent in await store.in_states((IntentState.UNKNOWN,)):
        refs = intent.candidates or await _candidates(intent, avatars, store, reads)
        if refs and refs != intent.candidates:
            with suppress(IllegalStep):  # it was settled meanwhile
                await store.advance(intent.key, Suspect(refs))
        found.append(Unknown(intent.key, intent.request, intent.sent_at, refs))
    return found


async def _candidates(
    intent: Intent, avatars: dict[str, Avatar | None], store: Store, reads: Reads
) -> tuple[LookRef, ...]:
    if intent.source is None:
        return ()
    avatar_id = intent.source.avatar_id
    if avatar_id not in avatars:
        try:
            avatars[avatar_id] = await read_of(reads, avatar_id)
        except HooxError:
            avatars[avatar_id] = None
    avatar = avatars[avatar_id]
    if avatar is None:
        return ()
    seen = await store.seen_looks(avatar_id) or frozenset()
    refs = [ref for ref in candidates(seen, avatar) if ref != intent.source]
    return tuple([ref for ref in refs if await store.by_ref(ref) is None])
