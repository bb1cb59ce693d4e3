"""Receives the API's webhooks, by aiohttp routes, an ASGI app or method calls, and passes them to sessions.

It uses `_api`, `_core` and `_io`, and knows a session only as a function that subscribes to the hub.
"""

from .hub import WebhookHub
from .log_redaction import RedactTokens

__all__ = ["RedactTokens", "WebhookHub"]
