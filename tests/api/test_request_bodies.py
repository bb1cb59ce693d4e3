"""The words of a status and of error codes, and the bodies of paid requests."""

from __future__ import annotations

import json

import pytest
import request_strategies as our
from hypothesis import given, settings
from hypothesis import strategies as st

from hoox_async._api.endpoints import request_body
from hoox_async._api.models import LookRef, LookStatus
from hoox_async._api.requests import ImageAvatar, LookEdit, PromptAvatar, Request
from hoox_async._api.responses import look_status, same_code

REF = LookRef("avtr_abc", "look_123")


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", LookStatus.PENDING),
        ("processing", LookStatus.PROCESSING),
        ("completed", LookStatus.READY),
        ("ready", LookStatus.READY),
        ("failed", LookStatus.FAILED),
        ("error", LookStatus.FAILED),
        ("COMPLETED", LookStatus.READY),
        (" Ready ", LookStatus.READY),
        ("queued", LookStatus.UNRECOGNIZED),
        ("", LookStatus.UNRECOGNIZED),
    ],
)
def test_both_vocabularies_of_a_status_are_read(word: str, status: LookStatus) -> None:
    """`completed` means READY and `error` FAILED, in any case of letters; another word is UNRECOGNIZED."""
    assert look_status(word) is status


def test_error_codes_are_compared_in_any_case() -> None:
    """Codes are equal whatever the case of their letters; what is no text equals no code."""
    assert same_code("space_not_found", "SPACE_NOT_FOUND")
    assert same_code("PLAN_REQUIRED", "plan_required")
    assert not same_code("SPACE_NOT_FOUND_2", "SPACE_NOT_FOUND")
    assert not same_code(None, "SPACE_NOT_FOUND")
    assert not same_code(404, "SPACE_NOT_FOUND")


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


@settings(deadline=None, max_examples=150)
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
