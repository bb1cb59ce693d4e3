"""Secrets that the server repeats are removed from its answer."""

from __future__ import annotations

import pytest

from hoox_async._core.webhook_tokens import Signer, without_secrets

KEY = b"hx_live_0123456789abcdef"
TOKEN = Signer(["a secret for these tests"]).sign("attempt-1").encode()


@pytest.mark.parametrize("status", [200, 400, 502])
def test_the_api_key_is_removed_from_any_answer(status: int) -> None:
    """Each occurrence of the API key is replaced, and the rest of the body is unchanged."""
    assert without_secrets(status, b"<" + KEY + b"> and " + KEY, KEY) == b"<[API key]> and [API key]"


def test_a_token_is_removed_from_a_refusal() -> None:
    """A webhook token in a URL within JSON is replaced, and the rest of the body is unchanged."""
    body = b'{"error": "bad https://a.test/hooks/' + TOKEN + b'"}'
    assert without_secrets(400, body, KEY) == b'{"error": "bad https://a.test/hooks/[token]"}'


@pytest.mark.parametrize("body", [b"", b'{"status": "ready"}', b"\xff" * 100_000, b"a." * 50_000])
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_secrets_is_not_changed(status: int, body: bytes) -> None:
    """A body without secrets is the same afterwards, whatever its bytes are."""
    assert without_secrets(status, body, KEY) == body


def test_a_successful_answer_is_not_searched_for_tokens() -> None:
    """Only the API key is searched for in a 2xx answer, which can be a list of 64 MB."""
    body = b'{"thumbnail_url": "https://a.test/' + TOKEN + b'"}'
    assert without_secrets(200, body, KEY) == body
