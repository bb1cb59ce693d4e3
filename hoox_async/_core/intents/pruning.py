"""What pruning erases of an intent, and what it keeps: all that is needed to pay for nothing twice."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import attrs

from ..._api.requests import PrunedRequest
from .intent import Intent, IntentState

PRUNABLE = frozenset({IntentState.READY, IntentState.FAILED, IntentState.REJECTED})
"""Settled for good. DROPPED is not: it is not known whether it was paid, and it may still be sent again."""

_ERASED = "erased when the store was pruned"


class PruneResult(NamedTuple):
    """What `prune_store` has erased, or with ``dry_run`` would erase.

    ``pruned`` requests lost their content now, and ``already`` had lost it earlier. The sizes are in bytes:
    of the file, or in PostgreSQL of the workspace's records. ``size_after`` of a dry run is an estimate.
    """

    pruned: int
    already: int
    size_before: int
    size_after: int


def may_be_pruned(intent: Intent, before: datetime) -> bool:
    """Whether the intent was settled before this moment, for good, and is not pruned yet."""
    if intent.state not in PRUNABLE or intent.previous is not None:
        return False
    return not isinstance(intent.request, PrunedRequest) and settled_at(intent) < before


def settled_at(intent: Intent) -> datetime:
    """When the intent was settled. Where no record says so: when it was last sent, or planned."""
    return intent.settled_at or intent.sent_at or intent.planned_at


def prune(intent: Intent) -> Intent:
    """The intent without the request's content, the metadata and the API's answers.

    Kept are key, digest, state, refs, attempts and times, the request's kind and price, and the costs of all
    rounds. So the key is known as before: the same content is the same look, other content a conflict.
    """
    if intent.state not in PRUNABLE:
        raise ValueError(f"{intent.key!r} is {intent.state}: it is not settled")
    look, reason = intent.look, intent.reason
    if look is not None:
        error = attrs.evolve(look.error, message=_ERASED) if look.error is not None else None
        look = attrs.evolve(look, thumbnail_url=None, error=error, raw={})
    return attrs.evolve(
        intent,
        request=PrunedRequest(intent.request.KIND, intent.credits),
        look=look,
        reason=attrs.evolve(reason, message=_ERASED) if reason is not None else None,
    )
