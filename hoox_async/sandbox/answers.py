"""The answers of the fake workspace: their forms, where the vendor's pages differ, and their bodies.

``state`` is a look's: "pending", "processing", "ready" or "error".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import attrs

from .._checks import option
from .avatars import FakeAvatar, FakeLook

FAILURE_MESSAGE = "Edit failed"
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


class HttpResponse(NamedTuple):
    """An HTTP response: status, headers and the encoded body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def check_words(options: object) -> None:
    """Check the fields of an options class whose type is a `Literal` or a flag."""
    owner = type(options)
    for name, kind in get_type_hints(owner).items():
        if get_origin(kind) is Literal:
            option.choice(f"{owner.__name__}.{name}", getattr(options, name), get_args(kind))
        elif kind is bool:
            option.flag(f"{owner.__name__}.{name}", getattr(options, name))


@attrs.frozen(kw_only=True)
class AnswerForms:
    """In which of its possible forms the API answers, where the vendor's pages differ or are silent.

    - ``images``: the field that a creation's images are accepted in: "imageUrls", "images" or "both".
    - ``looks_of_images``: "one" look for all images of a creation, or one for "each"; the answer names the
      first. (The vendor's page says "looks are created", and shows two images and one look.)
    - ``copies``: whether an edit of a public avatar copies it into the workspace, for the new look:
      "none", "one" copy of each public avatar, which its later edits use too, or a new copy "each" time. (The
      vendor's pages say that it is copied, and not how often.)
    - ``created``: the HTTP status of an accepted POST, 200 or 201.
    - ``result``: what ``/avatar/status`` says of a ready look: "full", or "picture" for its address alone.
    - ``thumbnail``: the picture at ``thumbnail`` and ``thumbnail_url``: in the "full" size that was paid for,
      or "small", 540 x 960 pixels.
    - ``preview``: what is at ``preview``: the "same" as at ``thumbnail``, the picture in "full" size, or a
      "film".
    - ``failure_code``: the code of a look that failed.
    - ``errors``: the body of a refusal: "short" is ``{"error", "code"}``, "details" is
      ``{"error", "details": [...]}``, and "both" mixes them as the API reference does.
    - ``codes``: the case of letters of error codes: "upper", "lower", or "both" as the API reference mixes
      them.
    - ``reset``: the form of ``X-RateLimit-Reset``: "unix" seconds (API reference), "milliseconds" since 1970,
      "seconds" from now, or "none" for no such header.
    - ``reset_moves``: whether that is always a minute from now, instead of when the quota has room again.
    - ``quota_headers``: which answers, a fault's included, have ``X-RateLimit-`` headers: "all",
      "unless_429", those of a "success", or "none".
    - ``throttled_counts``: whether a request that is answered 429 counts in the quota as any other.

    The status words are `Sandbox`'s ``vocabulary``, the form of a webhook is in `DeliveryOptions`. Raises
    `ConfigurationError` for any other value.
    """

    images: Literal["both", "imageUrls", "images"] = "both"
    looks_of_images: Literal["one", "each"] = "one"
    copies: Literal["none", "one", "each"] = "one"
    created: Literal[200, 201] = 201
    result: Literal["full", "picture"] = "full"
    thumbnail: Literal["full", "small"] = "full"
    preview: Literal["same", "full", "film"] = "same"
    failure_code: Literal["GENERATION_FAILED", "LOOK_GENERATION_FAILED"] = "GENERATION_FAILED"
    errors: Literal["both", "short", "details"] = "both"
    codes: Literal["both", "upper", "lower"] = "both"
    reset: Literal["unix", "milliseconds", "seconds", "none"] = "unix"
    reset_moves: bool = False
    quota_headers: Literal["all", "unless_429", "success", "none"] = "all"
    throttled_counts: bool = False

    def __attrs_post_init__(self) -> None:
        check_words(self)


def accepted_create(forms: AnswerForms, body: Any) -> Any:
    """The body of a creation as this API reads it: without images under a name that it does not know."""
    if forms.images == "both" or not isinstance(body, Mapping):
        return body
    other = "images" if forms.images == "imageUrls" else "imageUrls"
    return {name: value for name, value in body.items() if name != other}


def failure(forms: AnswerForms) -> dict[str, Any]:
    """Why a look failed, on ``/avatar/status`` and in webhooks."""
    return {"code": forms.failure_code, "message": FAILURE_MESSAGE}


def error_body(forms: AnswerForms, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a refusal in this form, from a body in either form."""
    given = body.get("details")
    details = [_detail(forms, one) for one in given] if isinstance(given, list) else None
    code, message = body.get("code"), body["error"]
    if details is not None and forms.errors == "short":
        message, code, details = details[0]["message"], details[0]["code"], None
    elif details is None and forms.errors == "details":
        details = [_detail(forms, {"message": message, **({"code": code} if code else {})})]
        message, code = "Validation failed", None
    if details is not None:
        return {"error": message, "details": details}
    return {"error": message, "code": _code(forms, code)} if code else {"error": message}


def reset_header(forms: AnswerForms, unix_reset: float, seconds: float) -> dict[str, str]:
    """The header of the reset, which comes ``seconds`` from now."""
    match forms.reset:
        case "none":
            return {}
        case "milliseconds":
            value = unix_reset * 1000
        case "seconds":
            value = seconds
        case _:
            value = unix_reset
    return {"X-RateLimit-Reset": str(ceil(value))}


def shown_headers(forms: AnswerForms, status: int, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer with this status, without those of the quota where it has none."""
    match forms.quota_headers:
        case "unless_429":
            shown = status != 429
        case "success":
            shown = 200 <= status < 300
        case form:
            shown = form == "all"
    return {name: value for name, value in headers.items() if shown or not name.startswith("X-RateLimit-")}


def _detail(forms: AnswerForms, detail: Mapping[str, Any]) -> dict[str, Any]:
    return {**detail, "code": _code(forms, detail["code"])} if "code" in detail else dict(detail)


def _code(forms: AnswerForms, code: str) -> str:
    return code.upper() if forms.codes == "upper" else code.lower() if forms.codes == "lower" else code


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
        body["error"] = failure(forms)
    return body


def group_look(look: FakeLook, state: str, url: str, preview: str, vocabulary: Vocabulary) -> bytes:
    """One look in the body of ``GET /avatar/{id}``, encoded. It is kept until the look's state changes."""
    word = look_word(state, vocabulary)
    if look.rendered is None or look.rendered[0] != word:
        body = {
            "id": look.id,
            "name": look.name,
            **_appearance(look, state, url, preview),
            "status": word,
        }
        look.rendered = (word, encode(body))
    return look.rendered[1]


def _appearance(look: FakeLook, state: str, url: str, preview: str) -> dict[str, Any]:
    """What both answers about a look say of its picture."""
    is_ready = state == "ready"
    return {
        "place": look.place,
        "accessories": _ACCESSORIES.get(look.style, []),
        "action": _ACTIONS.get(look.style, "relaxing"),
        "emotion": "neutral",
        "selfie": look.style == "selfie",
        "format": look.format,
        "thumbnail": url if is_ready else None,
        "preview": preview if is_ready else None,
        "model_available": MODELS if is_ready else [],
    }


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
        **_appearance(look, state, url, preview),
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
