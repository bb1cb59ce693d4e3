"""The changes to a store's indexes by the transitions of an intent, shared by all stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..._api.models import LookRef
from ..._api.requests import LookEdit
from ..._core.intents.intent import Attempt, Evidence, Intent, IntentState
from ..._core.intents.transitions import Accept, Correct, Transition, advance

OPEN_STATES = frozenset({IntentState.PLANNED, IntentState.SENDING, IntentState.UNKNOWN, IntentState.ACCEPTED})
"""The states that are not final: an intent leaves them sooner or later."""

FORGETTABLE = frozenset({IntentState.PLANNED, IntentState.READY, IntentState.FAILED, IntentState.REJECTED})
"""The states in which it is certain what an intent has cost, and its POST is not outstanding."""

# A look that the user named does not prove that we made its avatar, or that the avatar has no other looks.
_MADE_BY_US = frozenset({Evidence.ANSWER, Evidence.WEBHOOK})


class IndexChanges(NamedTuple):
    """The changes to an intent by a transition.

    ``attempts`` are new attempts, ``claimed`` is a look that the intent has from now on, and ``created`` is
    the id of an avatar that the intent has made. ``paid_besides`` are new `Intent.past_looks`:
    no other intent is inferred to have made them. ``exclusive`` says that the store must check that no
    other intent has the claimed look; a claim that is restored needs no check, since no other intent could
    take it meanwhile.
    """

    attempts: tuple[Attempt, ...]
    claimed: LookRef | None
    created: str | None
    exclusive: bool = False
    paid_besides: tuple[LookRef, ...] = ()


def changes_between(before: Intent | None, after: Intent) -> IndexChanges:
    """The changes from ``before`` (None: there was no such intent) to ``after``."""
    known = len(before.attempts) if before is not None else 0
    claimed = after.ref if before is None or before.ref != after.ref else None
    created = None
    if claimed is not None and after.evidence in _MADE_BY_US and not isinstance(after.request, LookEdit):
        created = claimed.avatar_id
    paid_before = before.past_looks if before is not None else ()
    paid_besides = tuple(ref for ref in after.past_looks if ref not in paid_before)
    return IndexChanges(after.attempts[known:], claimed, created, paid_besides=paid_besides)


def apply_transitions(
    intent: Intent, transitions: Iterable[Transition]
) -> tuple[Intent, Sequence[IndexChanges]]:
    """The intent after all the transitions, and the changes of each. Raises `IllegalTransition`."""
    changes: list[IndexChanges] = []
    for transition in transitions:
        after = advance(intent, transition)
        exclusive = isinstance(transition, Accept | Correct)
        changes.append(changes_between(intent, after)._replace(exclusive=exclusive))
        intent = after
    return intent, changes
