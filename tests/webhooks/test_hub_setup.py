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
def test_a_public_url_that_cannot_work_is_refused(url: Any) -> None:
    """Scheme, host and path alone, http or https."""
    with pytest.raises(ConfigurationError, match="public_url"):
        WebhookHub(url, SECRET)


@pytest.mark.parametrize("url", ["https://example.com", "https://example.com/", "http://127.0.0.1:8080/a/b/"])
def test_slashes_at_the_end_of_the_public_url_are_no_matter(url: str) -> None:
    """One slash stands before the token, whatever the URL ended with."""
    made = WebhookHub(url, SECRET).url_for("a1")
    assert made.rpartition("/")[0] == url.rstrip("/")


def test_without_a_secret_there_is_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """None at all is a ConfigurationError that names the variable; so is an empty or short one."""
    for unset in (None, "", " , "):
        if unset is None:
            monkeypatch.delenv("HOOX_WEBHOOK_SECRET", raising=False)
        else:
            monkeypatch.setenv("HOOX_WEBHOOK_SECRET", unset)
        with pytest.raises(ConfigurationError, match="HOOX_WEBHOOK_SECRET"):
            WebhookHub("https://example.com/")
    for given_secret in ("", "short", [], [SECRET, ""]):
        with pytest.raises(ConfigurationError):
            WebhookHub("https://example.com/", given_secret)


async def test_secrets_of_the_environment_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Separated by commas, the newest first: URLs of the old one stay good, new ones carry the new one."""
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


def test_no_secret_is_shown() -> None:
    """Neither repr of the hub nor of what it holds has the secret."""
    a_hub = hub()
    assert SECRET not in repr(a_hub) + repr(vars(a_hub))


def redacted(message: str, *args: Any, **extra: Any) -> logging.LogRecord:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, message, args, None)
    record.__dict__.update(extra)
    assert RedactTokens().filter(record)
    return record


def test_tokens_are_redacted_wherever_a_record_holds_them() -> None:
    """In the message, in arguments of any kind, and in extras; numbers stay numbers."""
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


def test_redaction_is_put_on_loggers_and_taken_off_again(caplog: pytest.LogCaptureFixture) -> None:
    """On request only, for the loggers named, until the returned function is called."""
    a_hub, logger = hub(), logging.getLogger("some.server.access")
    token = token_of(a_hub, "a1")
    undo = a_hub.redact_logs(["some.server.access"])
    logger.warning("POST /%s", token)
    assert token not in caplog.text
    undo()
    logger.warning("POST /%s", token)
    assert token in caplog.text
