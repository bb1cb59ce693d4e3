"""The tokens in webhook URLs, which say which attempt a delivery is about, and how secrets are redacted.

The vendor does not sign its deliveries. So each attempt has its own webhook URL, whose last part is a
token: the attempt's random id, signed by us. Only we and the API know the token, so a delivery that has it is
genuine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from itsdangerous import BadSignature
from itsdangerous import Signer as _Signer

from ..errors import ConfigurationError, WebhookRejected

MIN_SECRET: Final = 16
"""Characters of the shortest secret that is accepted."""

_ATTEMPT = r"[A-Za-z0-9_-]{1,128}"
# 32 bytes are 43 characters of base64, the last of which has two unused bits: only zeros there are accepted
_SIGNATURE = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"
_TOKEN = rf"{_ATTEMPT}\.{_SIGNATURE}"
_TOKEN_IN_TEXT: Final = rf"(?<![A-Za-z0-9_-]){_ATTEMPT}(?:\.|%2[eE]){_SIGNATURE}(?![A-Za-z0-9_-])"
"""The pattern of a token within a text."""


class Signer:
    """Signs an attempt's token and verifies it.

    The first secret signs, and all of them verify. To rotate, put a new secret first and keep the old one
    until the last delivery to a URL that it signed has come. Raises `ConfigurationError` for no secret at all
    and for one of less than 16 characters.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise ConfigurationError("webhooks need a secret to sign their URLs with")
        if any(not isinstance(secret, str) or len(secret.strip()) < MIN_SECRET for secret in secrets):
            raise ConfigurationError(f"a webhook secret is a text of at least {MIN_SECRET} characters")
        self._signer = _Signer(
            list(reversed(secrets)),  # itsdangerous signs with the last one
            salt="hoox_async.webhook",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )

    def __repr__(self) -> str:
        return f"<Signer with {len(self._signer.secret_keys)} secrets>"

    def sign(self, attempt_id: str) -> str:
        """The attempt's token, which needs no escaping in a URL's path.

        It is a bearer secret: anybody who has it can report an outcome for the attempt.

        Raises `ValueError` for an id that is not made of 1 to 128 letters, digits, ``-`` and ``_``.
        """
        if not re.fullmatch(_ATTEMPT, attempt_id):
            raise ValueError(f"{attempt_id!r} cannot be an attempt's id: letters, digits, - and _ only")
        return self._signer.sign(attempt_id).decode()

    def attempt_of(self, token: str) -> str:
        """The id of the attempt that the token was made for. Raises `WebhookRejected` (404)."""
        if re.fullmatch(_TOKEN, token):
            try:
                return self._signer.unsign(token).decode()
            except BadSignature:
                pass
        raise WebhookRejected("no such webhook", status=404)


_SEARCHED = 1 << 16  # bytes of a refusal: only its beginning is ever shown


def without_secrets(status: int, body: bytes, api_key: bytes) -> bytes:
    """The body of an answer without the API key; of a refusal, which is shown to people, without tokens too.

    A refusal or an error page can repeat what was sent.
    """
    if api_key in body:
        body = body.replace(api_key, b"[API key]")
    if status >= 400:
        body = re.sub(_TOKEN_IN_TEXT.encode(), b"[token]", body[:_SEARCHED]) + body[_SEARCHED:]
    return body


def without_tokens(text: str, shown: str = "[token]") -> str:
    """The text without webhook tokens."""
    return re.sub(_TOKEN_IN_TEXT, shown, text)
