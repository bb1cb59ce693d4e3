"""What is to be sent for a key, decided from what the store has of it in that moment. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import attrs

from ..._api.models import LookRef
from ...errors import HooxError, KeyConflict
from .intent import Intent, IntentState
from .outcomes import error_of
from .transitions import Replace, Resend, advance


class SendDecision(NamedTuple):
    """An intent that may be sent.

    ``intent`` is what is sent: planned, with its source. ``stored`` is what the store has under its key
    (None: nothing). ``renewal`` is the step by which the user has it paid anew; it is written together with
    the sending, and not before.
    """

    intent: Intent
    stored: Intent | None = None
    renewal: Replace | Resend | None = None


Decide = Callable[[Intent | None], SendDecision | Intent]
"""From what the store has: what to send, or the intent as it is where nothing is to be sent."""


def to_send(
    stored: Intent, renewal: Replace | Resend | None = None, source: LookRef | None = None
) -> SendDecision:
    """The decision to send what the store has: as it was planned, or renewed."""
    planned = stored if renewal is None else advance(stored, renewal)
    return SendDecision(attrs.evolve(planned, source=source or stored.source), stored, renewal)


def decide_single(wanted: Intent, at_begin: Intent | None, stored: Intent | None) -> SendDecision | Intent:
    """For a single submission. ``at_begin`` is what the store had under its key when it began.

    What had been refused by then is sent again: that cost nothing. What was refused since then, while this
    submission waited for its key, is its refusal too. Raises that refusal, `KeyConflict` for other content,
    and `OutcomeUnknown` for what may have been paid.
    """
    if stored is None:
        return SendDecision(wanted)
    if stored.digest != wanted.digest:
        if not stored.replaceable:
            raise KeyConflict(wanted.key)
        return to_send(stored, Replace(wanted.request, wanted.digest), wanted.source)
    if stored.state is IntentState.PLANNED:
        return to_send(stored)
    if stored.state is IntentState.REJECTED and at_begin is not None and stored.unmoved(at_begin):
        return to_send(stored, Replace(wanted.request, wanted.digest), wanted.source)
    return _paid(stored)


def decide_resend(unknown: Intent, stored: Intent | None) -> SendDecision | Intent:
    """For an unknown that the user wants to be sent again. Raises its error where it changed meanwhile."""
    if stored is not None and stored.unmoved(unknown):
        return to_send(stored, Resend())
    return _paid(stored or unknown)


def _paid(stored: Intent) -> Intent:
    if stored.state.paid:
        return stored
    raise error_of(stored) or HooxError(f"{stored.key}: {stored.state}")
