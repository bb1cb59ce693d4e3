"""What the parts of one open session use."""

from __future__ import annotations

from typing import NamedTuple

from .._api.endpoints import WireResponse
from .._core.retry import shows_valid_key
from .._core.settings import Timeouts
from .._io.clock import Clock
from .._io.hooks import Hooks
from .._io.logs import failures_logged
from .._io.protocols import Store, Transport
from .._io.tasks import TaskSet
from ..webhooks.hub import WebhookHub
from .api_answers import ApiAnswers
from .intents import Intents
from .rate_limiter import Permit, RateLimiter


class SessionServices(NamedTuple):
    """Clock, store and its intents, quota, HTTP, hooks, the API's answers, and tasks of one session.

    When the session closes, ``tasks`` are cancelled; ``posts`` (the paid POSTs) are let finish first.
    """

    clock: Clock
    store: Store
    intents: Intents
    rate_limiter: RateLimiter
    transport: Transport
    hooks: Hooks
    api_answers: ApiAnswers
    timeouts: Timeouts
    hub: WebhookHub | None
    tasks: TaskSet
    posts: TaskSet


def process_answer(services: SessionServices, permit: Permit, response: WireResponse) -> None:
    """Process what an answer says about the quota and the key. Call it while the permit is held."""
    with failures_logged("reading the quota from an answer"):
        services.rate_limiter.answered(permit, response)
    if shows_valid_key(response.status):
        with failures_logged("binding the store to the API key"):
            services.store.confirm_key()
