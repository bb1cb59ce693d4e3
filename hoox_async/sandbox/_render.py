"""Avatars and looks as the API shows them. ``word`` is a look's state: pending, processing, ready, error."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ._values import FakeAvatar, FakeLook

MODELS = ["standard", "premium", "ultra"]
FAILURE = {"code": "GENERATION_FAILED", "message": "Edit failed"}
_STATUS_WORDS = {"ready": "completed", "error": "failed"}


def encode(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def status_body(look: FakeLook, word: str, url: str) -> dict[str, Any]:
    """``GET /avatar/status``."""
    body: dict[str, Any] = {
        "avatar_id": look.avatar.id,
        "look_id": look.id,
        "status": _STATUS_WORDS.get(word, word),
    }
    if word == "ready":
        body["result"] = {
            "thumbnail_url": url,
            "id": look.id,
            "gender": look.avatar.traits["gender"],
            "place": look.place,
            "format": look.format,
            "tags": [look.style, look.place],
            "models": MODELS,
        }
    elif word == "error":
        body["error"] = dict(FAILURE)
    return body


def group_look(look: FakeLook, word: str, url: str) -> bytes:
    """One look inside ``GET /avatar/{id}``, encoded, kept until its state changes."""
    state = "pending" if word == "processing" else word
    if look.rendered is None or look.rendered[0] != state:
        thumbnail = url if state == "ready" else None
        body = {
            "id": look.id,
            "name": look.name,
            "place": look.place,
            "accessories": [],
            "action": "speaking",
            "emotion": "neutral",
            "selfie": look.style == "selfie",
            "format": look.format,
            "thumbnail": thumbnail,
            "preview": thumbnail,
            "status": state,
            "model_available": MODELS if state == "ready" else [],
        }
        look.rendered = (state, encode(body))
    return look.rendered[1]


def group_body(avatar: FakeAvatar, looks: list[bytes], thumbnail: str | None, epoch: float) -> bytes:
    """``GET /avatar/{id}``, encoded."""
    traits = avatar.traits
    head = {
        "id": avatar.id,
        "name": avatar.name,
        "gender": traits["gender"],
        "age": int(traits["age"]),
        "age_range": traits["age_range"],
        "ethnicity": traits["ethnicity"],
        "hair_color": traits["hair_color"],
        "thumbnail": thumbnail,
        "created_at": datetime.fromtimestamp(epoch + avatar.created_at, UTC).isoformat(),
    }
    return encode(head)[:-1] + b',"looks":[' + b",".join(looks) + b"]}"


def look_body(look: FakeLook, word: str, url: str) -> dict[str, Any]:
    """``GET /avatar/{id}/look/{id}``; without its last two fields, one entry of ``GET /avatar/list``."""
    traits = look.avatar.traits
    thumbnail = url if word == "ready" else None
    return {
        "id": look.id,
        "avatar_id": look.avatar.id,
        "avatar_name": look.avatar.name,
        "look_name": look.name,
        "gender": traits["gender"],
        "age_range": traits["age_range"],
        "ethnicity": traits["ethnicity"],
        "hair_color": traits["hair_color"],
        "place": look.place,
        "accessories": [],
        "action": "speaking",
        "emotion": "neutral",
        "selfie": look.style == "selfie",
        "format": look.format,
        "thumbnail": thumbnail,
        "preview": thumbnail,
        "model_available": MODELS if word == "ready" else [],
        "status": "pending" if word == "processing" else word,
        "error_message": FAILURE["message"] if word == "error" else None,
    }
