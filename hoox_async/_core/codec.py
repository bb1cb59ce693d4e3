"""Between the API's JSON and our values: its words, and the bodies of paid requests.

The API's pages disagree on the words of a status and on the case of error codes; whatever comes is read.
What whole answers say is read in `answers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidRequest
from .models import Look, LookDetails, LookFailure, LookRef, LookStatus
from .refusals import short_text
from .requests import ImageAvatar, LookEdit, PromptAvatar, Request

_STATUS_WORDS: Mapping[str, LookStatus] = {
    "pending": LookStatus.PENDING,
    "processing": LookStatus.PROCESSING,
    "completed": LookStatus.READY,
    "ready": LookStatus.READY,
    "failed": LookStatus.FAILED,
    "error": LookStatus.FAILED,
}


def look_status(word: str) -> LookStatus:
    """The status that a word of the API means, in either vocabulary and any case; else UNKNOWN."""
    return _STATUS_WORDS.get(word) or _STATUS_WORDS.get(word.strip().lower(), LookStatus.UNKNOWN)


def same_code(code: object, wanted: str) -> bool:
    """Whether the API's error code is that one: the API writes its codes in both cases of letters."""
    return isinstance(code, str) and code.strip().upper() == wanted.upper()


def request_body(request: Request, source: LookRef | None, webhook_url: str | None) -> dict[str, Any]:
    """The JSON body of a paid request. What is unset is left out; the resolution never is.

    ``source`` is an edit's source look, where the request holds another item's key. The request's own
    ``webhook_url`` wins over the one given here. Raises `InvalidRequest` for an edit of a look not known.
    """
    match request:
        case PromptAvatar():
            fields = {
                "prompt": request.prompt,
                "style": request.style.value,
                "format": request.format.value,
                "resolution": request.resolution.value,
                "name": request.name,
                "place": request.place,
                "elementImages": list(request.element_images),
            }
        case ImageAvatar():
            fields = {"imageUrls": list(request.image_urls), "name": request.name, "place": request.place}
        case LookEdit():
            fields = _edit_fields(request, source)
    fields["webhook_url"] = request.webhook_url or webhook_url
    return {**request.extra, **{name: value for name, value in fields.items() if value}}


def _edit_fields(request: LookEdit, source: LookRef | None) -> dict[str, Any]:
    if source is None:
        if not isinstance(request.source, LookRef):
            raise InvalidRequest("source", request.source, "a look's ref (a key is for items of a batch)")
        source = request.source
    return {
        "avatar_id": source.avatar_id,
        "look_id": source.look_id,
        "prompt": request.prompt,
        "style": request.style.value if request.style else None,
        "format": request.format.value if request.format else None,
        "resolution": request.resolution.value,
        # "Avatar Workflow" says images here, and imageUrls for a new avatar
        "images": list(request.images),
        "upscale": request.upscale,
    }


def look_from_details(details: LookDetails) -> Look | None:
    """A look as an avatar's answer shows it. None where no status is told (in the list of all looks)."""
    if details.status is None:
        return None
    reason = details.error_message if details.status is LookStatus.FAILED else None
    return Look(details.ref, details.status, details.thumbnail_url, failure(None, reason), details.raw)


def failure(error: Any, reason: Any = None) -> LookFailure | None:
    """Why a look failed, from the forms in which the API says it. None where it gives no reason."""
    said = error if isinstance(error, Mapping) else {"message": error}
    code = _text(said.get("code"), 100)
    message = _text(said.get("message"), 1000) or _text(reason, 1000)
    if not message and not code:
        return None
    return LookFailure(code or None, message or "the API gave no message")


def _text(value: Any, length: int) -> str:
    return short_text(value, length) if isinstance(value, str) else ""
