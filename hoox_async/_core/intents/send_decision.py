"""Decides what is to be sent for a key, from the intent that the store has under that key now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs

from ..._api.models import LookRef
from ..._api.requests import KnownRequest, LookEdit, PrunedRequest, Request, content_of
from ...errors import HooxError, InvalidRequest, KeyConflict
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


def key_conflict(key: str, stored: KnownRequest, wanted: Request) -> KeyConflict:
    """The error for a key that belongs to another request already: it says what differs.

    Of lists and mappings it gives the name only, since their URLs may hold secrets.
    """
    if isinstance(stored, PrunedRequest):
        return KeyConflict(key)
    if stored.KIND != wanted.KIND:
        return KeyConflict(key, f"it belongs to a request of another kind ({stored.KIND}, now {wanted.KIND})")
    before, after = _compared(stored), _compared(wanted)
    differing = [
        _difference(name, before[name], after[name]) for name in before if before[name] != after[name]
    ]
    detail = f": {'; '.join(differing)}" if differing else ""
    return KeyConflict(key, f"it belongs to a request with other content{detail}")


def _compared(request: Request) -> dict[str, Any]:
    source = {"source": str(request.source)} if isinstance(request, LookEdit) else {}
    return {**source, **content_of(request), "extra": dict(request.extra)}


def _difference(name: str, before: Any, after: Any) -> str:
    if isinstance(before, list | dict):
        return f"another {name}"
    if isinstance(before, str) and isinstance(after, str):
        ends = (n for n, (one, other) in enumerate(zip(before, after, strict=False)) if one != other)
        same = next(ends, min(len(before), len(after)))
        before, after = _excerpt(before, same), _excerpt(after, same)
    return f"the {name} is {before!r}, now {after!r}"


def _excerpt(text: str, at: int) -> str:
    """A part of the text around this place, so that what differs is seen."""
    start = max(0, at - 20) if len(text) > 60 else 0
    end = start + 60
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


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
            raise key_conflict(wanted.key, stored.request, wanted.content)
        return send_stored(stored, Replace(wanted.content, wanted.digest), wanted.source)
    if stored.state is IntentState.PLANNED:
        return send_stored(stored)
    if stored.state is IntentState.REJECTED and at_begin is not None and stored.unchanged_since(at_begin):
        return send_stored(stored, Replace(wanted.content, wanted.digest), wanted.source)
    return _require_paid(stored)


def decide_resend(unknown: Intent, attempt: str | None, stored: Intent | None) -> Decision:
    """Decide for an unknown that the user wants to be sent again. ``attempt`` is the one that the user named.

    If it was changed meanwhile: returns it if it is paid for, and raises its error otherwise. Raises
    `InvalidRequest` where it was surely paid and the user has named no attempt.
    """
    if stored is not None and stored.unchanged_since(unknown):
        if stored.delivered is not None and attempt is None:
            paid = f"as a delivery shows that it was paid (it made {stored.delivered})"
            raise InvalidRequest("attempt", None, f"{stored.last_attempt!r}, {paid}")
        return send_stored(stored, Resend())
    return _require_paid(stored or unknown)


def _require_paid(stored: Intent) -> Intent | Outstanding:
    if stored.state.paid:
        return stored
    if stored.state is IntentState.SENDING:
        return Outstanding(stored)
    raise error_of(stored) or HooxError(f"{stored.key}: {stored.state}")
