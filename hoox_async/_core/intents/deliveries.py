"""Which looks a session gets deliveries of, and which of these a store must keep."""

from __future__ import annotations

from ..._api.requests import KnownRequest
from ..._api.webhook_payloads import Delivery
from .intent import Intent, IntentState

_WITHOUT_LOOK = frozenset(
    {IntentState.PLANNED, IntentState.UNKNOWN, IntentState.DROPPED, IntentState.REJECTED}
)


def will_be_delivered(request: KnownRequest, *, has_webhooks: bool) -> bool:
    """Whether the end of the request's look is reported to this session: not if the user has named a URL."""
    return has_webhooks and request.webhook_url is None


def can_be_needed(intent: Intent, delivery: Delivery) -> bool:
    """Whether the delivery must be stored before it is acknowledged. Only an attempt's first one is stored.

    - POST outstanding: only a final status, since an earlier one would take the place of the final one.
    - POST lost, also before a resend: any status, since each delivery names the look.
    - POST accepted: a final status of its own look, in case that it cannot be applied at once.
    """
    if intent.state is IntentState.ACCEPTED and intent.ref is not None:
        return delivery.status.settled and delivery.look_id == intent.ref.look_id
    if intent.state is IntentState.SENDING:
        return delivery.status.settled
    return intent.state in _WITHOUT_LOOK
