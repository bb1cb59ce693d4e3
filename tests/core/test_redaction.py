"""What a server repeats of our secrets is left out of its answer."""

from __future__ import annotations

import pytest

from hoox_async._core.redaction import without_secrets
from hoox_async._core.webhook_tokens import Signer

KEY = b"hx_live_0123456789abcdef"
TOKEN = Signer(["a secret for these tests"]).sign("attempt-1").encode()


@pytest.mark.parametrize("status", [200, 400, 502])
def test_the_api_key_is_left_out_of_any_answer(status: int) -> None:
    """However often it stands there; the rest stays as it came."""
    assert without_secrets(status, b"<" + KEY + b"> and " + KEY, KEY) == b"<[API key]> and [API key]"


def test_a_token_is_left_out_of_a_refusal() -> None:
    """In a URL within JSON; the rest stays as it came."""
    body = b'{"error": "bad https://a.test/hooks/' + TOKEN + b'"}'
    assert without_secrets(400, body, KEY) == b'{"error": "bad https://a.test/hooks/[token]"}'


@pytest.mark.parametrize("body", [b"", b'{"status": "ready"}', b"\xff" * 100_000, b"a." * 50_000])
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_secrets_is_not_changed(status: int, body: bytes) -> None:
    """Whatever its bytes are."""
    assert without_secrets(status, body, KEY) == body


def test_the_answers_that_hold_looks_are_not_searched_for_tokens() -> None:
    """A long list costs no search beyond the one for the key."""
    body = b'{"thumbnail_url": "https://a.test/' + TOKEN + b'"}'
    assert without_secrets(200, body, KEY) == body
