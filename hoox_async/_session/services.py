"""What the parts of one session share."""

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
from .rate_limiter import Permit, RateLimiter


class SessionServices(NamedTuple):
    """The shells of one session. ``tasks`` end with the session; ``posts`` are let finish first."""

    clock: Clock
    store: Store
    rate_limiter: RateLimiter
    transport: Transport
    hooks: Hooks
    timeouts: Timeouts
    deliveries: WebhookHub | None
    tasks: TaskSet
    posts: TaskSet

    async def accept(self, key: str, ref: LookRef, evidence: Evidence, since: Intent | None = None) -> Intent:
        """Write down that this look is the intent's, and tell the hooks: now it has cost credits.

        ``since`` is the intent that this is said of. Raises `StoreError`, and `IllegalTransition` where
        the intent
        was settled before, or has been sent again since.
        """
        condition = () if since is None else (IfUnchanged(since),)
        accepted = await self.store.advance(key, *condition, Accept(ref, self.clock.utc(), evidence))
        metadata = accepted.request.metadata
        self.hooks.emit(LookAccepted(key, ref, accepted.credits, evidence, metadata=metadata))
        return accepted

    def answered(self, permit: Permit, response: WireResponse) -> None:
        """Take in what an answer says of quota and key. To be said inside the block of its permit."""
        with failures_logged("reading the quota from an answer"):
            self.rate_limiter.answered(permit, response)
        if shows_valid_key(response.status):
            with failures_logged("binding the store to the API key"):
                self.store.confirm_key()
