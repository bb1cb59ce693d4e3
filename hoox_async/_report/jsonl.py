"""Writes outcomes as lines of JSON, for programs."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from .._api.requests import ImageAvatar, LookEdit, PromptAvatar, PrunedRequest, content_of
from .._core.intents.outcomes import Outcome
from .._io.publishing import naming

REQUEST_KINDS = (PromptAvatar, ImageAvatar, LookEdit)


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """One outcome as JSON values. Credits are text, because they are decimal; times are ISO 8601 in UTC.

    The request's ``webhook_url`` is left out: its last part may be a secret.
    """
    look = outcome.look
    return {
        "key": outcome.key,
        "state": outcome.state.value,
        "ref": str(look.ref) if look else None,
        "avatar_id": look.avatar_id if look else None,
        "look_id": look.look_id if look else None,
        "thumbnail_url": look.thumbnail_url if look else None,
        "error": _error(outcome),
        "charged": charged(outcome),
        "credits": _credits(outcome.credits),
        "credits_failed": _credits(outcome.credits_failed),
        "at_risk": _credits(outcome.at_risk),
        "evidence": outcome.evidence.value if outcome.evidence else None,
        "candidates": [str(ref) for ref in outcome.candidates],
        "older": [str(ref) for ref in outcome.older],
        "attempt": outcome.attempt,
        "submitted_at": outcome.submitted_at.isoformat() if outcome.submitted_at else None,
        "settled_at": outcome.settled_at.isoformat() if outcome.settled_at else None,
        "request": _request(outcome.request),
        "metadata": dict(outcome.metadata),
    }


def charged(outcome: Outcome) -> str:
    """Whether any attempt at this outcome was charged: ``yes``, ``maybe`` or ``no``."""
    if outcome.credits:
        return "yes"
    return "maybe" if outcome.at_risk else "no"


def write_lines(outcomes: Iterable[Outcome], path: Path) -> Path:
    """Write one line for each outcome, atomically. Blocks: call it in a thread. Raises `OSError`."""
    lines = (json.dumps(outcome_record(outcome), ensure_ascii=False) + "\n" for outcome in outcomes)
    return write_atomically(path, lines)


def write_atomically(path: Path, parts: Iterable[str]) -> Path:
    """Write to a temporary file beside ``path``, then rename it to ``path``. Blocks.

    A lone surrogate, which UTF-8 cannot hold, is written as ``?``. Raises `OSError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with naming(path), temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _error(outcome: Outcome) -> dict[str, Any] | None:
    error = outcome.error
    if error is None:
        return None
    failure = outcome.look.error if outcome.look else None
    code = failure.code if failure else getattr(error, "code", None)
    return {"type": type(error).__name__, "code": code, "message": str(failure or error)}


def _credits(amount: Decimal) -> str:
    return format(amount, "f")


def _request(request: object) -> dict[str, Any]:
    if isinstance(request, PrunedRequest):
        return {"kind": request.kind, "price": _credits(request.credits), "pruned": True}
    if not isinstance(request, REQUEST_KINDS):
        return {"kind": None, "shown": repr(request)[:200]}
    shown: dict[str, Any] = {"kind": request.KIND, "price": _credits(request.credits)}
    if isinstance(request, LookEdit):
        shown["source"] = str(request.source)
    unset: tuple[Any, ...] = (None, [], {})
    return shown | {name: value for name, value in content_of(request).items() if value not in unset}
