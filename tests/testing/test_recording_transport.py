"""`RecordingTransport`: sends as every session does, and keeps each answer as it came."""

from __future__ import annotations

import pytest

from hoox_async import (
    ConfigurationError,
    Endpoint,
    HooxSession,
    ImageAvatar,
    LookRef,
    NotFound,
    OutcomeUnknown,
    PromptAvatar,
)
from hoox_async.sandbox import Fault, Sandbox
from hoox_async.testing import RecordingTransport


def _session(sandbox: Sandbox) -> tuple[HooxSession, RecordingTransport]:
    transport = RecordingTransport(sandbox.api_key, base_url=sandbox.base_url)
    return sandbox.session(transport=transport), transport


async def test_each_answer_is_kept_with_headers_and_body() -> None:
    """A session's answers are kept in order, with status, lower-case headers and JSON, refusals included."""
    async with Sandbox() as sandbox:
        session, transport = _session(sandbox)
        async with session:
            look = await session.run(ImageAvatar(["https://images.test/a.jpg"]))
            with pytest.raises(NotFound):
                await session.avatar("avtr_none")
        created, *_, missing = transport.answers
    assert (created.endpoint, created.status) == (Endpoint.CREATE, 201)
    assert created.json == {"avatar_id": look.avatar_id, "look_id": look.look_id}
    assert "x-ratelimit-remaining" in created.headers
    assert created.sent_at <= created.ended_at <= missing.sent_at
    assert (missing.status, missing.json) == (404, {"error": "Avatar not found"})


async def test_a_request_without_an_answer_is_kept_too() -> None:
    """A lost POST is kept without a status and with its error's class; it is sent once, as by any session."""
    async with Sandbox() as sandbox:
        session, transport = _session(sandbox)
        sandbox.fail_next("create", Fault.DROP_AFTER)
        async with session:
            with pytest.raises(OutcomeUnknown):
                await session.submit(PromptAvatar("a host"))
        assert len(sandbox.ledger) == 1
    [lost] = [one for one in transport.answers if one.endpoint is Endpoint.CREATE]
    assert (lost.status, lost.error, lost.body) == (None, "TransportError", b"")


async def test_pictures_can_be_fetched() -> None:
    """A session with this transport fetches pictures, which are not kept."""
    async with Sandbox() as sandbox:
        session, transport = _session(sandbox)
        async with session:
            picture = await session.picture(LookRef("avtr_public_ada", "look_public_ada"))
    assert picture.content_type == "image/jpeg"
    assert [one.endpoint for one in transport.answers] == [Endpoint.STATUS]


async def test_the_key_and_bodies_are_not_shown() -> None:
    """The key is in no recorded answer, even if the API repeats it; a repr shows no body and no header."""
    async with Sandbox() as sandbox:
        session, transport = _session(sandbox)
        sandbox.fail_next("avatar", Fault.status(400, f'{{"error": "{sandbox.api_key}"}}'))
        async with session:
            with pytest.raises(Exception, match="API key"):
                await session.avatar("avtr_none")
        key = sandbox.api_key
    [answer] = transport.answers
    assert key.encode() not in answer.body
    assert "error" not in repr(answer).replace("error=None", "")
    assert key not in repr(transport)


@pytest.mark.parametrize(
    ("key", "base_url"), [("", "https://example.com"), ("hx_live_a", "http://example.com")]
)
def test_what_no_session_takes_is_refused(key: str, base_url: str) -> None:
    """A missing key, and an address that is not https, are refused as by a session."""
    with pytest.raises(ConfigurationError):
        RecordingTransport(key, base_url=base_url)
