"""The looks that may be an unknown's own, as they are written down: for people, never adopted."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from ..._api.models import LookRef
from ..._core.intents.intent import Intent
from ..._core.intents.transitions import AddCandidates, IllegalTransition
from ..._io.protocols import Store


async def suspect(store: Store, intent: Intent, refs: Iterable[LookRef]) -> tuple[LookRef, ...]:
    """Add these looks to those that are written, less what is another intent's since. Gives what stands.

    Raises `StoreError`.
    """
    found = [ref for ref in dict.fromkeys((*intent.candidates, *refs)) if ref != intent.source]
    others = tuple([ref for ref in found if await store.by_ref(ref) is not None])
    free = tuple(ref for ref in found if ref not in others)
    if free != intent.candidates:
        with suppress(IllegalTransition):  # it was settled meanwhile
            return (await store.advance(intent.key, AddCandidates(free, others))).candidates
    return free
