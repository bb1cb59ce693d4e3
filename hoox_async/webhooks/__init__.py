"""Receives the API's webhooks, by aiohttp routes, an ASGI app or method calls, and passes them to sessions.

It uses `_api`, `_core` and `_io`, and knows a session only as a function that subscribes to the hub.

The way of a delivery:

1. `WebhookHub` checks the token and parses the payload.
2. The session's `WebhookProcessor.accept` finds the attempt's intent and stores what can be needed later.
3. The hub answers 200.
4. In the background the look is published, or the unknown is confirmed. The older form names no avatar, so
   that of an unknown is looked up first, unless it is certain.
5. What fails is tried again, also at the next opening.
"""

from .hub import WebhookHub
from .log_redaction import RedactTokens

__all__ = ["RedactTokens", "WebhookHub"]
