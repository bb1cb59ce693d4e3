"""From requests to HTTP requests, and the headers of the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from hoox_async._api import endpoints, responses
from hoox_async._api.endpoints import Endpoint, WireRequest, WireResponse
from hoox_async._api.models import LookRef, ServerQuota
from hoox_async._api.requests import ImageAvatar, LookEdit, PromptAvatar
from hoox_async.errors import InvalidRequest

REF = LookRef("avtr_abc", "look_123")
DATE = "Tue, 01 Jul 2025 12:00:00 GMT"
AT = datetime(2025, 7, 1, 12, 0, 0, tzinfo=UTC)


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> WireResponse:
    """An answer of the API: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WireResponse(status, headers or {}, data)


# --- requests ---------------------------------------------------------------------------------


def test_a_prompt_avatar_is_posted_to_create() -> None:
    """The first example of "Avatar Workflow" as an HTTP request."""
    request = PromptAvatar("Young entrepreneur", name="Alex")
    assert endpoints.submit_request(request, None, "https://me.example/hook") == WireRequest(
        Endpoint.CREATE,
        "POST",
        "avatar/create",
        body={
            "prompt": "Young entrepreneur",
            "style": "iphone",
            "format": "vertical",
            "resolution": "2K",
            "name": "Alex",
            "webhook_url": "https://me.example/hook",
        },
    )


def test_an_image_avatar_is_posted_to_create() -> None:
    """An avatar from images goes to the same endpoint, without a prompt."""
    sent = endpoints.submit_request(ImageAvatar(["https://x.example/1.jpg"]), None, None)
    assert (sent.endpoint, sent.path) == (Endpoint.CREATE, "avatar/create")
    assert sent.body == {"imageUrls": ["https://x.example/1.jpg"]}


def test_an_edit_is_posted_to_edit_with_its_source() -> None:
    """The source look is the request's own ref, or the ref that a batch found for its key."""
    by_ref = endpoints.submit_request(LookEdit(REF, "podcast"), None, None)
    by_key = endpoints.submit_request(LookEdit("alex", "podcast"), REF, None)
    assert by_ref == by_key
    assert (by_ref.endpoint, by_ref.method, by_ref.path) == (Endpoint.EDIT, "POST", "avatar/edit")
    assert by_ref.body == {
        "avatar_id": "avtr_abc",
        "look_id": "look_123",
        "prompt": "podcast",
        "resolution": "2K",
    }


def test_an_edit_of_a_look_not_known_is_not_sent() -> None:
    """An edit whose source is a key, without the look's ref, is an InvalidRequest."""
    with pytest.raises(InvalidRequest) as caught:
        endpoints.submit_request(LookEdit("alex", "podcast"), None, None)
    assert (caught.value.field, caught.value.value) == ("source", "alex")


def test_the_requests_own_webhook_wins() -> None:
    """A request's own webhook_url is sent instead of the hub's."""
    request = PromptAvatar("a", webhook_url="https://mine.example/hook")
    sent = endpoints.submit_request(request, None, "https://hub.example/token")
    assert sent.body is not None
    assert sent.body["webhook_url"] == "https://mine.example/hook"


def test_the_four_reads() -> None:
    """Each read has its path, its parameters and the most bytes that are read of its answer."""
    params = {"avatar_id": "avtr_abc", "look_id": "look_123"}
    assert endpoints.status_request(REF) == WireRequest(Endpoint.STATUS, "GET", "avatar/status", params)
    assert endpoints.avatar_request("avtr_abc") == WireRequest(
        Endpoint.AVATAR, "GET", "avatar/avtr_abc", max_bytes=16 * 1024 * 1024
    )
    assert endpoints.look_request(REF) == WireRequest(Endpoint.LOOK, "GET", "avatar/avtr_abc/look/look_123")
    assert endpoints.list_request({}) == WireRequest(
        Endpoint.LIST, "GET", "avatar/list", max_bytes=64 * 1024 * 1024
    )


@pytest.mark.parametrize("bad", ["..", ".", "a/b", "a\\b", "", " ", "a\nb", "../../v2/x", None, 7])
def test_an_avatar_id_cannot_change_the_path(bad: Any) -> None:
    """An id with slashes or dots, or one that is no text, is refused."""
    with pytest.raises(InvalidRequest):
        endpoints.avatar_request(bad)


def test_a_look_id_cannot_change_the_path() -> None:
    """A look's id is checked as the avatar's is, and the error names it."""
    with pytest.raises(InvalidRequest) as caught:
        endpoints.look_request(LookRef("avtr_abc", "../../list"))
    assert caught.value.field == "look_id"


def test_filters_become_query_parameters() -> None:
    """Lists become comma-separated, booleans words, only_public becomes onlyPublic; None is left out."""
    sent = endpoints.list_request(
        {
            "gender": "female",
            "hair_color": ["brown", "black"],
            "place": {"office", "cafe"},
            "selfie": False,
            "only_public": True,
            "action": None,
        }
    )
    assert sent.params == {
        "gender": "female",
        "hair_color": "brown,black",
        "place": "cafe,office",
        "selfie": "false",
        "onlyPublic": "true",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("onlyPublic", True),
        ("colour", "red"),
        ("gender", 7),
        ("gender", ""),
        ("gender", []),
        ("gender", ["a,b"]),
        ("gender", ["a", None]),
        ("selfie", "yes"),
        ("only_public", 1),
    ],
)
def test_a_wrong_filter_is_refused(name: str, value: object) -> None:
    """A filter that the API does not have, or a value that it would not understand, is an InvalidRequest."""
    with pytest.raises(InvalidRequest) as caught:
        endpoints.list_request({name: value})
    assert caught.value.field == name
    assert caught.value.value == value


# --- headers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("99999999", 3600.0),
        ("9" * 400, 3600.0),
        ("Tue, 01 Jul 2025 12:00:30 GMT", 30.0),
        ("Tue, 01 Jul 2025 14:00:30 +0200", 30.0),
        ("Tue, 01 Jul 2025 11:00:00 GMT", 0.0),
        ("Wed, 01 Jul 2026 11:00:00 GMT", 3600.0),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_0", None),
        ("٣", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    """Seconds and dates are read, up to an hour; a value that makes no sense is None."""
    assert responses.retry_after({"retry-after": value, "date": DATE}) == seconds


def test_retry_after_without_a_date_counts_from_the_callers_time() -> None:
    """A date is counted from the answer's own Date, else from the caller's time, else it is None."""
    headers = {"retry-after": "Tue, 01 Jul 2025 12:00:30 GMT"}
    assert responses.retry_after(headers, AT) == 30.0
    assert responses.retry_after({**headers, "date": "Tue, 01 Jul 2025 12:00:20 GMT"}, AT) == 10.0
    assert responses.retry_after({**headers, "date": "today"}, AT) == 30.0
    assert responses.retry_after(headers) is None
    assert responses.retry_after({}) is None


def quota_headers(**values: str) -> dict[str, str]:
    return {f"x-ratelimit-{name}": value for name, value in values.items()}


def test_the_reset_is_counted_from_the_answers_own_date() -> None:
    """The quota's reset is counted from the answer's Date, whatever our own clock says."""
    headers = quota_headers(limit="100", remaining="95", reset=str(int(AT.timestamp()) + 42))
    wrong = datetime(2031, 1, 1, tzinfo=UTC)
    assert responses.server_quota({**headers, "date": DATE}, wrong) == ServerQuota(100, 95, 42.0)
    assert responses.server_quota(headers, AT) == ServerQuota(100, 95, 42.0)
    assert responses.server_quota(headers) == ServerQuota(100, 95, None)


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({}, None),
        (quota_headers(limit="many", remaining="-1", reset="later"), None),
        (quota_headers(limit="0"), None),
        (quota_headers(limit="1" * 30, remaining="1.5"), None),
        (quota_headers(remaining="0"), ServerQuota(None, 0, None)),
        (quota_headers(limit=" 60 "), ServerQuota(60, None, None)),
        (quota_headers(reset=str(int(AT.timestamp()) - 2)), ServerQuota(None, None, 0.0)),
        (quota_headers(reset=str(int(AT.timestamp()) * 1000)), None),
        (quota_headers(reset="30"), None),
        (quota_headers(reset="nan"), None),
        (quota_headers(reset="9" * 400), None),
    ],
)
def test_each_quota_header_counts_for_itself(headers: dict[str, str], quota: ServerQuota | None) -> None:
    """A quota header that makes no sense is None and leaves the others valid."""
    assert responses.server_quota({**headers, "date": DATE}) == quota
