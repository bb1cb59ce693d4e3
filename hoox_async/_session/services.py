"""What the parts of one open session share."""

from __future__ import annotations

from typing import NamedTuple

from .._api.endpoints import WireResponse
from .._api.models import LookRef
from .._core.intents.intent import Evidence, Intent
from .._core.intents.transitions import Accept, IfUnchanged
from .._core.retry import shows_valid_key
from .._core.settings import Timeouts
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._io.logs import failures_logged
from .._io.protocols import Store, Transport
from .._io.tasks import TaskSet
from ..events import LookAccepted
from ..webhooks.hub import WebhookHub
from .api_health import ApiHealth
from .rate_limiter import Permit, RateLimiter


class SessionServices(NamedTuple):
    """Clock, store, quota, HTTP, hooks, the API's health and tasks of one session.

    When the session closes, ``tasks`` are cancelled; ``posts`` (the paid POSTs) are let finish first.
    """

    clock: Clock
    store: Store
    rate_limiter: RateLimiter
    transport: Transport
    hooks: Hooks
    health: ApiHealth
    timeouts: Timeouts
    deliveries: WebhookHub | None
    tasks: TaskSet
    posts: TaskSet

    async def accept(self, key: str, ref: LookRef, evidence: Evidence, since: Intent | None = None) -> Intent:
        """Record that this look is the intent's, and emit `LookAccepted`: it has cost credits.

        ``since``: accept only if the intent is still as it was then. Raises `StoreError`, and
        `IllegalTransition` where the intent was settled or sent again meanwhile.
        """
        condition = () if since is None else (IfUnchanged(since),)
        accepted = await self.store.advance(key, *condition, Accept(ref, self.clock.utc(), evidence))
        self.emit_accepted(accepted, ref, evidence)
        return accepted

    def emit_accepted(self, accepted: Intent, ref: LookRef, evidence: Evidence) -> None:
        """Emit `LookAccepted` for an intent of which it is written down that this look is its own."""
        metadata = accepted.request.metadata
        self.hooks.emit(LookAccepted(accepted.key, ref, accepted.credits, evidence, metadata=metadata))

    def answered(self, permit: Permit, response: WireResponse) -> None:
        """Process what an answer says about the quota and the key. Call it while the permit is held."""
        with failures_logged("reading the quota from an answer"):
            self.rate_limiter.answered(permit, response)
        if shows_valid_key(response.status):
            with failures_logged("binding the store to the API key"):
                self.store.confirm_key()
