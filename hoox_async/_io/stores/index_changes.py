"""What a step of the ledger means for a store's indexes. Both stores read it here, so they cannot differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..._api.models import LookRef
from ..._api.requests import LookEdit
from ..._core.intents.intent import Attempt, Evidence, Intent, IntentState
from ..._core.intents.transitions import Accept, Correct, Transition, advance

OPEN_STATES = frozenset({IntentState.PLANNED, IntentState.SENDING, IntentState.UNKNOWN, IntentState.ACCEPTED})
"""States that something is still to come of."""

FORGETTABLE = frozenset({IntentState.PLANNED, IntentState.READY, IntentState.FAILED, IntentState.REJECTED})
"""States in which an intent's money is beyond doubt and its request is not under way."""

_FREE = frozenset({IntentState.PLANNED, IntentState.REJECTED})

# The user's word names a look. That the avatar has no looks of others does not follow from it.
_MADE_BY_US = frozenset({Evidence.ANSWER, Evidence.WEBHOOK})


class Effects(NamedTuple):
    """What is new in an intent: attempts, a look that it claims, an avatar that it made.

    ``exclusive``: the look must be no other intent's. A claim that is restored was never given up.
    """

    attempts: tuple[Attempt, ...]
    claimed: LookRef | None
    created: str | None
    exclusive: bool = False


def effects(before: Intent | None, after: Intent) -> Effects:
    """What ``after`` has that ``before`` (None: no such intent yet) had not."""
    known = len(before.attempts) if before is not None else 0
    claimed = after.ref if before is None or before.ref != after.ref else None
    created = None
    if claimed is not None and after.evidence in _MADE_BY_US and not isinstance(after.request, LookEdit):
        created = claimed.avatar_id
    return Effects(after.attempts[known:], claimed, created)


def may_have_been_paid(intent: Intent) -> bool:
    """Whether it was paid or may have been, in any of its rounds: then it is of the workspace of its key."""
    return intent.state not in _FREE or bool(intent.spent or intent.at_risk)


def take(intent: Intent, steps: Iterable[Transition]) -> tuple[Intent, Sequence[Effects]]:
    """The intent after all the steps, and the effects of each. Raises `IllegalTransition`."""
    found: list[Effects] = []
    for step in steps:
        after = advance(intent, step)
        found.append(effects(intent, after)._replace(exclusive=isinstance(step, Accept | Correct)))
        intent = after
    return intent, found
