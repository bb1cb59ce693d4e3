"""The looks that may be an unknown's own, as they are written down: for people, never adopted."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from .._core.ledger import IllegalStep, Intent, Suspect
from .._core.models import LookRef
from .._protocols import Store


async def suspect(store: Store, intent: Intent, refs: Iterable[LookRef]) -> tuple[LookRef, ...]:
    """Add these looks to those that are written, less what is another intent's since. Gives what stands.

    Raises `StoreError`.
    """
    found = dict.fromkeys((*intent.candidates, *refs))
    free = tuple([ref for ref in found if ref != intent.source and await store.by_ref(ref) is None])
    if free != intent.candidates:
        with suppress(IllegalStep):  # it was settled meanwhile
            await store.advance(intent.key, Suspect(free))
    return free
