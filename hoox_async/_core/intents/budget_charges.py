"""What an intent has charged to named budgets: a pure function of the intent, so that a store can keep sums.

A store keeps for each budget the sum of what all intents charge to it. With each write of an intent it adds
`charge_changes`, in the same transaction. So the sums are right after any crash, without a reservation that
somebody has to give back.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import attrs

from ..._api.requests import FREE
from .intent import Intent, IntentState


def charges(intent: Intent) -> dict[str, Decimal]:
    """The credits that the intent charges to each budget, in all its rounds. None of them are zero.

    The present round counts where it is paid or in doubt. So SENDING charges; what certainly cost nothing
    gives back; UNKNOWN, FAILED and DROPPED stay charged.
    """
    charged = dict(intent.past_charges)
    if intent.budget is not None and (intent.state.paid or intent.state.in_doubt):
        credits = intent.credits_of(intent.attempts[-1].id) if intent.attempts else intent.credits
        charged[intent.budget] = charged.get(intent.budget, FREE) + credits
    return {name: credits for name, credits in charged.items() if credits}


def undecided_charge(intent: Intent, budget: str) -> Decimal:
    """What the intent charges to this budget, and gives back if its outstanding POST has cost nothing."""
    is_outstanding = intent.state is IntentState.SENDING and intent.budget == budget
    return intent.credits_of(intent.attempts[-1].id) if is_outstanding else FREE


def past_charges_beside(intent: Intent, all_charges: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The `Intent.past_charges` with which the intent charges this much in all."""
    own = charges(attrs.evolve(intent, past_charges={}))
    return {name: credits - own.get(name, FREE) for name, credits in all_charges.items()}


def charge_changes(before: Intent | None, after: Intent) -> dict[str, Decimal]:
    """By how much each budget's sum changes from ``before`` (None: there was no such intent) to ``after``.

    Only a `Send` makes a change above zero.
    """
    old, new = {} if before is None else charges(before), charges(after)
    changes = {name: new.get(name, FREE) - old.get(name, FREE) for name in sorted({*old, *new})}
    return {name: change for name, change in changes.items() if change}
