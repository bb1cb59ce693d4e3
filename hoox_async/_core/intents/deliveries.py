"""Deliveries: which are expected, which one is kept for an attempt, and what the kept one changes."""

from __future__ import annotations

from enum import Enum

import attrs

from ..._api.models import Look, LookFailure, LookRef
from ..._api.requests import KnownRequest
from ..._api.webhook_payloads import Delivery
from .intent import Evidence, Intent, IntentState


def will_be_delivered(request: KnownRequest, *, has_webhooks: bool) -> bool:
    """Whether the end of the request's look is reported to this session: not if the user has named a URL."""
    return has_webhooks and request.webhook_url is None


def kept_after(kept: Delivery | None, delivery: Delivery) -> Delivery:
    """What is kept for an attempt once ``delivery`` has come: the most telling one of its first look.

    The first final status stays. A later delivery that agrees with it adds what was missing.
    """
    if kept is None:
        return delivery
    if delivery.look_id != kept.look_id:
        return kept
    avatar_id = kept.avatar_id or delivery.avatar_id
    if delivery.status is kept.status:
        return attrs.evolve(
            kept,
            avatar_id=avatar_id,
            thumbnail_url=kept.thumbnail_url or delivery.thumbnail_url,
            error_code=kept.error_code or delivery.error_code,
            error_message=kept.error_message or delivery.error_message,
        )
    is_more = delivery.status.settled and not kept.status.settled
    return attrs.evolve(delivery if is_more else kept, avatar_id=avatar_id)


class Effect(Enum):
    """What a delivery changes in its intent.

    SETTLES: the intent's own look is done, or has a picture or a reason that was missing. PROVES: it names
    the look of an unknown. DOUBLE: it names a look that was paid for besides the intent's own. NONE: nothing
    now. It may be needed later while the POST is outstanding: the write that ends the sending is followed by
    another look at what is kept.
    """

    NONE = "none"
    SETTLES = "settles"
    PROVES = "proves"
    DOUBLE = "double"


def effect_of(intent: Intent, attempt_id: str, delivery: Delivery) -> Effect:
    """What a delivery on this attempt's own URL changes in the intent now."""
    ref = intent.ref
    if intent.state.paid and ref is not None and ref.look_id == delivery.look_id:
        return Effect.SETTLES if _tells_more(intent, look_of(delivery, ref)) else Effect.NONE
    if any(look.look_id == delivery.look_id for look in intent.past_looks):
        return Effect.NONE
    if intent.state is IntentState.UNKNOWN:
        return Effect.DOUBLE if attempt_id in intent.past_attempts else Effect.PROVES
    if intent.state.paid and not _has_its_look(intent, attempt_id):
        return Effect.DOUBLE
    return Effect.NONE


def lacks_its_look(intent: Intent, attempt_id: str, delivery: Delivery) -> bool:
    """Whether a kept delivery names a look that was made for the intent, and that it does not have."""
    return not intent.state.paid or effect_of(intent, attempt_id, delivery) is Effect.DOUBLE


def must_be_kept(intent: Intent, attempt_id: str, delivery: Delivery) -> bool:
    """Whether the delivery is to be written before it is acknowledged: it tells more than what is known.

    One that names the edited look itself proves nothing.
    """
    if intent.source is not None and intent.source.look_id == delivery.look_id:
        return False
    return not intent.state.paid or effect_of(intent, attempt_id, delivery) is not Effect.NONE


def look_of(delivery: Delivery, ref: LookRef) -> Look:
    """The look as the delivery describes it."""
    error = None
    if delivery.error_message or delivery.error_code:
        error = LookFailure(delivery.error_code, delivery.error_message or "no reason given")
    return Look(ref, delivery.status, delivery.thumbnail_url, error)


def _tells_more(intent: Intent, look: Look) -> bool:
    known = intent.look
    if known is None:
        return look.status.settled
    return look.status is known.status and known.merged_with(look) is not known


def _has_its_look(intent: Intent, attempt_id: str) -> bool:
    """Whether the intent's look was surely made by this attempt: another one that it names contradicts that.

    That is not sure of a look that the user has named.
    """
    if len(intent.attempts) == 1:
        return intent.evidence is not Evidence.USER
    return intent.evidence is Evidence.ANSWER and intent.was_last_sent_by(attempt_id)
