"""From requests to HTTP requests: paths, parameters and JSON bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest
import request_strategies as our
from hypothesis import given
from hypothesis import strategies as st

from hoox_async import Endpoint, ImageAvatar, LookEdit, LookRef, PromptAvatar, Request
from hoox_async._api import endpoints
from hoox_async._api.endpoints import WireRequest, request_body
from hoox_async.errors import InvalidRequest

REF = LookRef("avtr_abc", "look_123")


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
    """An id with slashes or dots, or one that is no text, is an error."""
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
        ("gender", "\ud800"),
        ("gender", ["a", "b\x00"]),
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


# --- bodies -----------------------------------------------------------------------------------


def test_the_body_of_a_full_prompt_avatar_is_that_of_the_vendors_page() -> None:
    """A request with every field has the body of the example in `Avatar Workflow`."""
    request = PromptAvatar(
        "Young entrepreneur in a modern office, confident smile",
        style="iphone",
        format="vertical",
        resolution="2K",
        name="Alex",
        place="office",
        element_images=["https://your-domain.com/logo.png"],
        webhook_url="https://your-domain.com/webhooks/avatar",
    )
    assert request_body(request, None, None) == {
        "prompt": "Young entrepreneur in a modern office, confident smile",
        "style": "iphone",
        "format": "vertical",
        "name": "Alex",
        "place": "office",
        "resolution": "2K",
        "elementImages": ["https://your-domain.com/logo.png"],
        "webhook_url": "https://your-domain.com/webhooks/avatar",
    }


def test_the_body_of_a_full_edit() -> None:
    """An edit sends its source's two ids, its reference pictures as `images`, and the hub's webhook."""
    edit = LookEdit(
        REF,
        "podcast",
        style="raw",
        format="horizontal",
        resolution="4K",
        images=["https://x.example/1.jpg"],
        upscale=True,
    )
    assert request_body(edit, None, "https://hub.example/t") == {
        "avatar_id": "avtr_abc",
        "look_id": "look_123",
        "prompt": "podcast",
        "style": "raw",
        "format": "horizontal",
        "resolution": "4K",
        "images": ["https://x.example/1.jpg"],
        "upscale": True,
        "webhook_url": "https://hub.example/t",
    }


def test_a_body_of_images_has_no_prompt_and_no_resolution() -> None:
    """An avatar from images sends neither: with a prompt the API would use that and charge for it."""
    request = ImageAvatar(["https://x.example/1.jpg"], name="Jordan", place="studio")
    assert request_body(request, None, None) == {
        "imageUrls": ["https://x.example/1.jpg"],
        "name": "Jordan",
        "place": "studio",
    }


@given(our.requests, st.none() | our.urls)
def test_every_body_is_json_with_nothing_unset(request: Request, webhook_url: str | None) -> None:
    """No null, no empty list, no metadata; `extra` is merged, and the resolution is always sent."""
    body = request_body(request, REF, webhook_url)
    assert json.loads(json.dumps(body)).keys() == body.keys()
    own = {name: value for name, value in body.items() if name not in request.extra}
    assert all(own.values())
    assert {name: body[name] for name in request.extra} == dict(request.extra)
    assert "metadata" not in own
    assert ("resolution" in body) is not isinstance(request, ImageAvatar)
    assert body.get("webhook_url") == (request.webhook_url or webhook_url)
