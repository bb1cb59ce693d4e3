"""What is to be sent for a key, decided from what the store knows of it in that very moment. Pure."""

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

    ``intent`` is as it will be: planned, with its source. ``stands`` is what the store has under its key
    (None: nothing), and ``word`` the user's word that lets it be paid anew, which is not written down
    before the request leaves.
    """

    intent: Intent
    stands: Intent | None = None
    word: Replace | Resend | None = None


Decide = Callable[[Intent | None], SendDecision | Intent]
"""From what the store knows: what to send, or the intent as it stands where nothing is to be sent."""


def to_send(
    stands: Intent, word: Replace | Resend | None = None, source: LookRef | None = None
) -> SendDecision:
    """To send what the store knows: as it was planned, or anew by the user's word."""
    planned = stands if word is None else advance(stands, word)
    return SendDecision(attrs.evolve(planned, source=source or stands.source), stands, word)


def decide_single(wanted: Intent, at_begin: Intent | None, stands: Intent | None) -> SendDecision | Intent:
    """For a single submission. ``at_begin`` is what the store knew of its key when it began.

    What had been refused by then is sent again: that cost nothing. What was refused since then, while it
    waited for its key, is its refusal too. Raises that, `KeyConflict`, and the error of what was lost.
    """
    if stands is None:
        return SendDecision(wanted)
    if stands.digest != wanted.digest:
        if not stands.replaceable:
            raise KeyConflict(wanted.key)
        return to_send(stands, Replace(wanted.request, wanted.digest), wanted.source)
    if stands.state is IntentState.PLANNED:
        return to_send(stands)
    if stands.state is IntentState.REJECTED and at_begin is not None and stands.unmoved(at_begin):
        return to_send(stands, Replace(wanted.request, wanted.digest), wanted.source)
    return _paid(stands)


def decide_resend(doubtful: Intent, stands: Intent | None) -> SendDecision | Intent:
    """For an unknown that the user wants to be sent again. Raises its error where it changed meanwhile."""
    if stands is not None and stands.unmoved(doubtful):
        return to_send(stands, Resend())
    return _paid(stands or doubtful)


def _paid(stands: Intent) -> Intent:
    if stands.state.paid:
        return stands
    raise error_of(stands) or HooxError(f"{stands.key}: {stands.state}")
