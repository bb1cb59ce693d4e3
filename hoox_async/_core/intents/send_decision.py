"""Decides what is to be sent for a key, from the intent that the store has under that key now."""

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
    """The decision to send an intent.

    ``intent`` is the intent as it will be sent: planned, with its source. ``stored`` is what the store has
    under its key (None: nothing). ``instruction`` is the user's instruction to pay again, if there is one. It
    is written together with SENDING, not before.
    """

    intent: Intent
    stored: Intent | None = None
    instruction: Replace | Resend | None = None


class Outstanding(NamedTuple):
    """The stored intent is being sent: its end is to be awaited, then it is decided again."""

    intent: Intent


Decision = SendDecision | Outstanding | Intent
Decide = Callable[[Intent | None], Decision]
"""Takes the stored intent of a key. Returns what to send, or the stored intent if nothing is to be sent."""


def send_stored(
    stored: Intent, instruction: Replace | Resend | None = None, source: LookRef | None = None
) -> SendDecision:
    """The decision to send a stored intent: as it was planned, or again on the user's instruction."""
    planned = stored if instruction is None else advance(stored, instruction)
    return SendDecision(attrs.evolve(planned, source=source or stored.source), stored, instruction)


def decide_single(wanted: Intent, at_begin: Intent | None, stored: Intent | None) -> Decision:
    """Decide for a single submission. ``at_begin`` is what the store had under the key when it began.

    An intent that was REJECTED by then is sent again, since that cost nothing. A rejection that came while
    the submission waited for its key is its own result. Raises the error of that rejection, `KeyConflict`,
    and `OutcomeUnknown` for an unknown.
    """
    if stored is None:
        return SendDecision(wanted)
    if stored.digest != wanted.digest:
        if not stored.never_charged:
            raise KeyConflict(wanted.key)
        return send_stored(stored, Replace(wanted.content, wanted.digest), wanted.source)
    if stored.state is IntentState.PLANNED:
        return send_stored(stored)
    if stored.state is IntentState.REJECTED and at_begin is not None and stored.unchanged_since(at_begin):
        return send_stored(stored, Replace(wanted.content, wanted.digest), wanted.source)
    return _require_paid(stored)


def decide_resend(unknown: Intent, stored: Intent | None) -> Decision:
    """Decide for an unknown that the user wants to be sent again.

    If it was changed meanwhile: returns it if it is paid for, and raises its error otherwise.
    """
    if stored is not None and stored.unchanged_since(unknown):
        return send_stored(stored, Resend())
    return _require_paid(stored or unknown)


def _require_paid(stored: Intent) -> Intent | Outstanding:
    if stored.state.paid:
        return stored
    if stored.state is IntentState.SENDING:
        return Outstanding(stored)
    raise error_of(stored) or HooxError(f"{stored.key}: {stored.state}")
