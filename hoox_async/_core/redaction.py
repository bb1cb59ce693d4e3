"""Removes secrets from what the API or a gateway answers.

A refusal or an error page can repeat what was sent: the API key, or a webhook URL with its token.
"""

from __future__ import annotations

import re

from .webhook_tokens import TOKEN_IN_TEXT

_SEARCHED = 1 << 16  # bytes of a refusal: only its beginning is ever shown


def without_secrets(status: int, body: bytes, api_key: bytes) -> bytes:
    """The body without the API key; of a refusal, which is shown to people, without webhook tokens too."""
    if api_key in body:
        body = body.replace(api_key, b"[API key]")
    if status >= 400:
        body = re.sub(TOKEN_IN_TEXT.encode(), b"[token]", body[:_SEARCHED]) + body[_SEARCHED:]
    return body


def without_tokens(text: str, shown: str = "[token]") -> str:
    """The text without webhook tokens."""
    return re.sub(TOKEN_IN_TEXT, shown, text)
