"""What a hub is made from, and that neither secrets nor tokens are shown."""

from __future__ import annotations

import logging
import secrets
from typing import Any

import pytest
from webhook_kit import READY, SECRET, Session, hub, token_of

from hoox_async.errors import ConfigurationError
from hoox_async.webhooks import RedactTokens, WebhookHub


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/hooks",
        "ftp://example.com",
        "https://",
        "https://example.com/hooks?x=1",
        "https://example.com/hooks?",
        "https://example.com/hooks#x",
        "https://me:pw@example.com/",
        "https://example.com/{a}",
        "https://example.com/a b",
        "https://example.com:99999/",
        None,
        7,
    ],
)
def test_an_unusable_public_url_is_a_configuration_error(url: Any) -> None:
    """A public URL that is not http or https, or has more than host and path, is refused."""
    with pytest.raises(ConfigurationError, match="public_url") as refused:
        WebhookHub(url, SECRET)
    assert "me:pw" not in str(refused.value)  # a password is not shown


@pytest.mark.parametrize("url", ["https://example.com", "https://example.com/", "http://127.0.0.1:8080/a/b/"])
def test_slashes_at_the_end_of_the_public_url_are_ignored(url: str) -> None:
    """A webhook URL has one slash before its token, however many the public URL ends with."""
    made = WebhookHub(url, SECRET).url_for("a1")
    assert made.rpartition("/")[0] == url.rstrip("/")


def test_a_hub_without_a_secret_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing, empty or short secret is refused; the error for a missing one names the variable."""
    for unset in (None, "", " , "):
        if unset is None:
            monkeypatch.delenv("HOOX_WEBHOOK_SECRET", raising=False)
        else:
            monkeypatch.setenv("HOOX_WEBHOOK_SECRET", unset)
        with pytest.raises(ConfigurationError, match="HOOX_WEBHOOK_SECRET"):
            WebhookHub("https://example.com/")
    for given_secret in ("", "short", [], [SECRET, ""], 5):
        with pytest.raises(ConfigurationError):
            WebhookHub("https://example.com/", given_secret)  # type: ignore[arg-type]


async def test_the_variable_can_hold_several_secrets_for_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several secrets, separated by commas, the first signs new URLs, and URLs of all are valid."""
    old = token_of(hub(), "a1")
    monkeypatch.setenv("HOOX_WEBHOOK_SECRET", f"the new secret, long enough, {SECRET}")
    with pytest.raises(ConfigurationError):
        WebhookHub("https://example.com/")
    monkeypatch.setenv("HOOX_WEBHOOK_SECRET", f" the new secret is long, {SECRET}")
    a_hub = WebhookHub("https://example.com/")
    a_hub.subscribe(Session("a1"))
    assert await a_hub.handle(old, READY) == 200
    new = token_of(a_hub, "a1")
    assert new != old
    assert await a_hub.handle(new, READY) == 200
    assert await hub().handle(new, READY) == 404


def test_the_repr_of_a_hub_shows_no_secret() -> None:
    """Neither the repr of a hub nor that of its parts contains a secret."""
    a_hub = hub()
    assert SECRET not in repr(a_hub) + repr(vars(a_hub))


def redacted(message: str, *args: Any, **extra: Any) -> logging.LogRecord:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, message, args, None)
    record.__dict__.update(extra)
    assert RedactTokens().filter(record)
    return record


def test_tokens_are_redacted_in_all_parts_of_a_log_record() -> None:
    """In the message, in arguments of any type, and in extras; numbers stay numbers."""
    token = token_of(hub(), secrets.token_hex(16))
    assert redacted(f"POST /hooks/{token} 200").getMessage() == "POST /hooks/[token] 200"
    assert redacted("%s %d", f"/hooks/{token}", 7).getMessage() == "/hooks/[token] 7"
    assert redacted("%(path)s %(n)d", {"path": token, "n": 7}).getMessage() == "[token] 7"
    assert redacted("%s", [token]).getMessage() == "['[token]']"
    assert (
        redacted("m", first_request_line=f"POST /{token}").__dict__["first_request_line"] == "POST /[token]"
    )
    plain = redacted("GET %s %.1f", "/index.html", 0.5)
    assert plain.getMessage() == "GET /index.html 0.5"


def test_redaction_is_added_to_the_named_loggers_until_it_is_undone(caplog: pytest.LogCaptureFixture) -> None:
    """Tokens are redacted in the named loggers until the returned function is called."""
    a_hub, logger = hub(), logging.getLogger("some.server.access")
    token = token_of(a_hub, "a1")
    undo = a_hub.redact_logs(["some.server.access"])
    logger.warning("POST /%s", token)
    assert token not in caplog.text
    undo()
    logger.warning("POST /%s", token)
    assert token in caplog.text
