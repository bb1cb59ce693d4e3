"""A server that repeats what it was sent, as in a refusal or on a gateway's error page, tells no secret."""

from __future__ import annotations

import re

from .webhook_tokens import TOKEN_IN_TEXT

_SEARCHED = 1 << 16  # bytes of a refusal: what is shown of it comes from its beginning


def without_secrets(status: int, body: bytes, api_key: bytes) -> bytes:
    """The body without the API key, and a refusal's without webhook tokens, which its message could show."""
    if api_key in body:
        body = body.replace(api_key, b"[API key]")
    if status >= 400:
        body = re.sub(TOKEN_IN_TEXT.encode(), b"[token]", body[:_SEARCHED]) + body[_SEARCHED:]
    return body


def without_tokens(text: str, shown: str = "[token]") -> str:
    """The text without webhook tokens."""
    return re.sub(TOKEN_IN_TEXT, shown, text)
