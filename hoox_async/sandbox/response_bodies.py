"""Avatars and looks as the API shows them. ``word`` is a look's state: pending, processing, ready, error."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

from .workspace_records import FakeAvatar, FakeLook

MODELS = ["standard", "premium", "ultra"]
FAILURE = {"code": "GENERATION_FAILED", "message": "Edit failed"}
_ACTIONS = {"podcast": "presenting", "conference": "presenting", "car": "driving", "selfie": "calling"}
_ACCESSORIES = {"podcast": ["microphone"], "selfie": ["phone"]}

Vocabulary = Literal["both", "completed", "ready"]
"""The words of a status: "completed" says completed and failed everywhere, "ready" says ready and error.

"both" is what the API reference shows: the first on ``/avatar/status`` and in webhooks, the second elsewhere.
"""
_COMPLETED = {"ready": "completed", "error": "failed"}
_READY = {"processing": "pending"}


def status_word(word: str, vocabulary: Vocabulary) -> str:
    """The word of ``/avatar/status`` and of webhooks."""
    return _READY.get(word, word) if vocabulary == "ready" else _COMPLETED.get(word, word)


def look_word(word: str, vocabulary: Vocabulary) -> str:
    """The word of a look in ``/avatar/{id}`` and of ``/avatar/{id}/look/{id}``."""
    return _COMPLETED.get(word, word) if vocabulary == "completed" else _READY.get(word, word)


def encode(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def status_body(look: FakeLook, word: str, url: str, vocabulary: Vocabulary) -> dict[str, Any]:
    """``GET /avatar/status``."""
    body: dict[str, Any] = {
        "avatar_id": look.avatar.id,
        "look_id": look.id,
        "status": status_word(word, vocabulary),
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


def group_look(look: FakeLook, word: str, url: str, vocabulary: Vocabulary) -> bytes:
    """One look inside ``GET /avatar/{id}``, encoded, kept until its state changes."""
    state = look_word(word, vocabulary)
    if look.rendered is None or look.rendered[0] != state:
        thumbnail = url if word == "ready" else None
        body = {
            "id": look.id,
            "name": look.name,
            "place": look.place,
            "accessories": _ACCESSORIES.get(look.style, []),
            "action": _ACTIONS.get(look.style, "relaxing"),
            "emotion": "neutral",
            "selfie": look.style == "selfie",
            "format": look.format,
            "thumbnail": thumbnail,
            "preview": thumbnail,
            "status": state,
            "model_available": MODELS if word == "ready" else [],
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


def look_body(look: FakeLook, word: str, url: str, vocabulary: Vocabulary) -> dict[str, Any]:
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
        "accessories": _ACCESSORIES.get(look.style, []),
        "action": _ACTIONS.get(look.style, "relaxing"),
        "emotion": "neutral",
        "selfie": look.style == "selfie",
        "format": look.format,
        "thumbnail": thumbnail,
        "preview": thumbnail,
        "model_available": MODELS if word == "ready" else [],
        "status": look_word(word, vocabulary),
        "error_message": FAILURE["message"] if word == "error" else None,
    }
