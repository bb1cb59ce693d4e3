"""Turns looks, outcomes, errors and unknowns into JSON values. Credits are text, because they are decimal."""

from __future__ import annotations

from typing import Any

from hoox_async import GenerationFailed, HooxError, Look, LookDetails, Outcome, Unknown
from hoox_async._report import jsonl

from .terminal import in_words_of_the_command_line


def look_record(look: Look) -> dict[str, Any]:
    """A look's status, picture and failure."""
    failure = look.error
    return {
        "ref": str(look.ref),
        "avatar_id": look.avatar_id,
        "look_id": look.look_id,
        "status": look.status.value,
        "thumbnail_url": look.thumbnail_url,
        "error": {"code": failure.code, "message": failure.message} if failure else None,
    }


def details_record(details: LookDetails) -> dict[str, Any]:
    """All details that the API gives of a look."""
    names = (
        "name", "avatar_name", "gender", "age_range", "ethnicity", "hair_color", "place", "accessories",
        "action", "emotion", "selfie", "format", "thumbnail_url", "preview_url", "model_available",
    )  # fmt: skip
    return {
        "ref": str(details.ref),
        "avatar_id": details.ref.avatar_id,
        "look_id": details.ref.look_id,
        "status": details.status.value if details.status else None,
        **{name: getattr(details, name) for name in names},
    }


_OF_AN_ITEM = (
    "key", "state", "ref", "avatar_id", "look_id", "thumbnail_url", "error", "credits", "at_risk",
    "candidates", "older", "metadata",
)  # fmt: skip


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """The outcome of one item, without the request and times that the lines of a report have."""
    line = jsonl.outcome_record(outcome)
    error = error_record(outcome.error) if outcome.error else None
    return {name: line[name] for name in _OF_AN_ITEM} | {"error": error}


def error_record(error: HooxError) -> dict[str, Any]:
    """An error's class, code and message."""
    failure = error.look.error if isinstance(error, GenerationFailed) else None
    code = failure.code if failure else getattr(error, "code", None)
    return {"type": type(error).__name__, "code": code, "message": reason(error)}


def reason(error: HooxError) -> str:
    """Why something failed, in the API's words if it gave a reason."""
    if isinstance(error, GenerationFailed) and error.look.error is not None:
        return error.look.error.message
    return in_words_of_the_command_line(str(error))


def unknown_record(unknown: Unknown) -> dict[str, Any]:
    """A paid request whose outcome is not known."""
    return {
        "key": unknown.key,
        "attempt": unknown.attempt,
        "credits": format(unknown.request.credits, "f"),
        "sent_at": unknown.sent_at.isoformat() if unknown.sent_at else None,
        "prompt": getattr(unknown.request, "prompt", None),
        "candidates": [str(ref) for ref in unknown.candidates],
        "older": [str(ref) for ref in unknown.older],
        "candidates_from": unknown.candidates_from,
        "unlisted": list(unknown.unlisted),
        "delivered": unknown.delivered,
    }
