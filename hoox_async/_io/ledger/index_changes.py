"""The changes to a store's indexes by the transitions of an intent, shared by all stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..._api.models import LookRef
from ..._core.intents.intent import Attempt, Intent, IntentState
from ..._core.intents.transitions import Accept, Correct, Transition, advance

OPEN_STATES = frozenset({IntentState.PLANNED, IntentState.SENDING, IntentState.UNKNOWN, IntentState.ACCEPTED})
"""The states that are not final: an intent leaves them sooner or later."""

FORGETTABLE = frozenset({IntentState.PLANNED, IntentState.READY, IntentState.FAILED, IntentState.REJECTED})
"""The states in which it is certain what an intent has cost, and its POST is not outstanding."""


class IndexChanges(NamedTuple):
    """The changes to an intent by a transition.

    ``attempts`` are new attempts, and ``claimed`` is a look that the intent has from now on. ``checked`` says
    that the store must check that no other intent has that look; a claim that is restored needs no check,
    since no other intent could take it meanwhile. ``paid_besides`` are new `Intent.past_looks`.
    """

    attempts: tuple[Attempt, ...]
    claimed: LookRef | None
    checked: bool = False
    paid_besides: tuple[LookRef, ...] = ()


def changes_between(before: Intent | None, after: Intent) -> IndexChanges:
    """The changes from ``before`` (None: there was no such intent) to ``after``."""
    known = len(before.attempts) if before is not None else 0
    claimed = after.ref if before is None or before.ref != after.ref else None
    paid_before = before.past_looks if before is not None else ()
    paid_besides = tuple(ref for ref in after.past_looks if ref not in paid_before)
    return IndexChanges(after.attempts[known:], claimed, paid_besides=paid_besides)


def apply_transitions(
    intent: Intent, transitions: Iterable[Transition]
) -> tuple[Intent, Sequence[IndexChanges]]:
    """The intent after all the transitions, and the changes of each. Raises `IllegalTransition`."""
    changes: list[IndexChanges] = []
    for transition in transitions:
        after = advance(intent, transition)
        checked = isinstance(transition, Accept | Correct)
        changes.append(changes_between(intent, after)._replace(checked=checked))
        intent = after
    return intent, changes
