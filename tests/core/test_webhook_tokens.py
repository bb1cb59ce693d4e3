"""The tokens in webhook URLs: signed, verified, pinned in their form, and removed from answers."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_async._core.webhook_tokens import Signer, without_secrets, without_tokens
from hoox_async.errors import ConfigurationError, WebhookRejected

SECRET = "a secret that is long enough"
OTHER = "another secret of good length"

ids = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=128)


@given(ids)
def test_a_token_gives_back_its_attempt(attempt_id: str) -> None:
    """A token gives the attempt that it was made for, and needs no escaping in a URL."""
    signer = Signer([SECRET])
    token = signer.sign(attempt_id)
    assert signer.attempt_of(token) == attempt_id
    assert set(token) <= set(string.ascii_letters + string.digits + "-_.")
    assert without_tokens(f"POST /hooks/{token}?x=1", "*") == "POST /hooks/*?x=1"


@given(ids, st.data())
def test_a_changed_token_is_rejected(attempt_id: str, data: st.DataObject) -> None:
    """A token with any one character changed, left out or added is rejected with 404."""
    signer = Signer([SECRET])
    token = signer.sign(attempt_id)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_.=%\n é\ud800"))
    forged = data.draw(
        st.sampled_from(
            [
                token[:place] + letter + token[place + 1 :],
                token[:place] + token[place + 1 :],
                token[:place] + letter + token[place:],
                token + letter,
            ]
        )
    )
    if forged == token:
        return
    with pytest.raises(WebhookRejected) as caught:
        signer.attempt_of(forged)
    assert caught.value.status == 404
    assert forged not in str(caught.value)


@given(st.text(max_size=300))
def test_any_text_as_a_token_is_rejected(text: str) -> None:
    """Any text in a token's place is rejected with 404 and raises nothing else."""
    with pytest.raises(WebhookRejected) as caught:
        Signer([SECRET]).attempt_of(text)
    assert caught.value.status == 404


def test_a_token_of_another_secret_is_rejected() -> None:
    """A token that was signed with another secret is rejected."""
    with pytest.raises(WebhookRejected):
        Signer([SECRET]).attempt_of(Signer([OTHER]).sign("a1"))


def test_the_first_secret_signs_and_all_verify() -> None:
    """After a rotation the new secret signs, and tokens of the old one stay valid."""
    before, rotated = Signer([SECRET]), Signer([OTHER, SECRET])
    assert rotated.attempt_of(before.sign("a1")) == "a1"
    assert Signer([OTHER]).attempt_of(rotated.sign("a2")) == "a2"


def test_tokens_are_pinned() -> None:
    """A token's form never changes: URLs that the API has must stay valid after an upgrade."""
    assert Signer([SECRET]).sign("attempt-1") == "attempt-1.PQtHKP4LLnNOAsc5a2zib8cSyOF-CLieKIsV3OkHEnM"


@pytest.mark.parametrize("secrets", [[], [""], ["short"], [" " * 20], [SECRET, "short"], [7], b"x" * 20])
def test_bad_secrets_are_refused(secrets: Any) -> None:
    """No secret, or one that is short, blank or no text, is a ConfigurationError that does not show it."""
    with pytest.raises(ConfigurationError) as caught:
        Signer(secrets)
    assert "short" not in str(caught.value)


@pytest.mark.parametrize("attempt_id", ["", "a.b", "a/b", "a b", "é", "a" * 129])
def test_an_id_that_would_need_escaping_is_refused(attempt_id: str) -> None:
    """An attempt's id that would need escaping in a URL's path is refused."""
    with pytest.raises(ValueError, match="attempt"):
        Signer([SECRET]).sign(attempt_id)


def test_a_signer_does_not_show_its_secrets() -> None:
    """The repr of a signer does not contain its secrets."""
    assert SECRET not in repr(Signer([SECRET]))


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
