"""Receivers for the API's webhooks: for aiohttp, for any ASGI framework, and by hand."""

from .hub import WebhookHub
from .log_redaction import RedactTokens

__all__ = ["RedactTokens", "WebhookHub"]
