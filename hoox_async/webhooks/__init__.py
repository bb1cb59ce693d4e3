"""Receives the API's webhooks, by aiohttp routes, an ASGI app or method calls, and passes them to sessions.

It uses `_api`, `_core` and `_io`, and knows a session only as a function that subscribes to the hub.

The way of a delivery:

1. `WebhookHub` checks the token and parses the payload.
2. The session's `Deliveries.accept` has the store keep it, if it tells more than what is known.
3. The hub answers 200.
4. In the background it is applied: see `hoox_async._session.deliveries`.
"""

from .hub import WebhookHub
from .log_redaction import RedactTokens

__all__ = ["RedactTokens", "WebhookHub"]
