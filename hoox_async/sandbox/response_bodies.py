"""The bodies of the API's responses. ``state`` is a look's: "pending", "processing", "ready" or "error"."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from .answer_forms import FAILURE_MESSAGE, AnswerForms
from .workspace_records import FakeAvatar, FakeLook

MODELS = ["standard", "premium", "ultra"]
_ACTIONS = {"podcast": "presenting", "conference": "presenting", "car": "driving", "selfie": "calling"}
_ACCESSORIES = {"podcast": ["microphone"], "selfie": ["phone"]}
_FILTERS = (
    "gender", "age_range", "ethnicity", "hair_color", "place", "action", "emotion", "accessories", "selfie"
)  # fmt: skip

Vocabulary = Literal["both", "completed", "ready"]
"""The status words that the API uses: "completed" for completed and failed, "ready" for ready and error.

"both" is what the API reference shows: the first pair on ``/avatar/status`` and in webhooks, the second
elsewhere.
"""
_COMPLETED = {"ready": "completed", "error": "failed"}
_READY = {"processing": "pending"}


def status_word(state: str, vocabulary: Vocabulary) -> str:
    """The word for this state on ``/avatar/status`` and in webhooks."""
    return _READY.get(state, state) if vocabulary == "ready" else _COMPLETED.get(state, state)


def look_word(state: str, vocabulary: Vocabulary) -> str:
    """The word for this state on ``/avatar/{id}`` and ``/avatar/{id}/look/{id}``."""
    return _COMPLETED.get(state, state) if vocabulary == "completed" else _READY.get(state, state)


def encode(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def status_body(
    look: FakeLook, state: str, url: str, vocabulary: Vocabulary, forms: AnswerForms
) -> dict[str, Any]:
    """The body of ``GET /avatar/status``."""
    body: dict[str, Any] = {
        "avatar_id": look.avatar.id,
        "look_id": look.id,
        "status": status_word(state, vocabulary),
    }
    if state == "ready" and forms.result == "picture":
        body["result"] = {"thumbnail_url": url}
    elif state == "ready":
        body["result"] = {
            "thumbnail_url": url,
            "id": look.id,
            "gender": look.avatar.traits["gender"],
            "place": look.place,
            "format": look.format,
            "tags": look.tags or [look.style, look.place],
            "models": MODELS,
        }
    elif state == "error":
        body["error"] = forms.failure()
    return body


def group_look(look: FakeLook, state: str, url: str, preview: str, vocabulary: Vocabulary) -> bytes:
    """One look in the body of ``GET /avatar/{id}``, encoded. It is kept until the look's state changes."""
    word = look_word(state, vocabulary)
    if look.rendered is None or look.rendered[0] != word:
        body = {
            "id": look.id,
            "name": look.name,
            "place": look.place,
            "accessories": _ACCESSORIES.get(look.style, []),
            "action": _ACTIONS.get(look.style, "relaxing"),
            "emotion": "neutral",
            "selfie": look.style == "selfie",
            "format": look.format,
            "thumbnail": url if state == "ready" else None,
            "preview": preview if state == "ready" else None,
            "status": word,
            "model_available": MODELS if state == "ready" else [],
        }
        look.rendered = (word, encode(body))
    return look.rendered[1]


def group_body(avatar: FakeAvatar, looks: list[bytes], thumbnail: str | None, epoch: float) -> bytes:
    """The body of ``GET /avatar/{id}``, encoded."""
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


def look_body(look: FakeLook, state: str, url: str, preview: str, vocabulary: Vocabulary) -> dict[str, Any]:
    """The body of ``GET /avatar/{id}/look/{id}``."""
    traits = look.avatar.traits
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
        "thumbnail": url if state == "ready" else None,
        "preview": preview if state == "ready" else None,
        "model_available": MODELS if state == "ready" else [],
        "status": look_word(state, vocabulary),
        "error_message": FAILURE_MESSAGE if state == "error" else None,
    }


def filter_list(entries: list[dict[str, Any]], params: Mapping[str, str]) -> list[dict[str, Any]]:
    """The body of ``GET /avatar/list``: those of the `look_body` that match all filters, without two fields.

    Each filter is a comma-separated list of allowed values.
    """
    wanted = {name: params[name].lower().split(",") for name in _FILTERS if params.get(name)}
    for entry in entries:
        del entry["status"], entry["error_message"]
    return [entry for entry in entries if all(_matches(entry[name], wanted[name]) for name in wanted)]


def _matches(value: Any, allowed: list[str]) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(str(one).lower() in allowed for one in values)
