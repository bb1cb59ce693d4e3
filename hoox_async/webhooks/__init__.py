"""Receives the API's webhooks, in aiohttp, in any ASGI framework or by a call, and passes them to sessions.

It uses `_api`, `_core` and `_io`, and knows a session only as a function that subscribes to the hub.
"""

from .hub import WebhookHub
from .log_redaction import RedactTokens

__all__ = ["RedactTokens", "WebhookHub"]
