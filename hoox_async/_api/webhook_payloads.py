"""Parses the body of a webhook delivery."""

from __future__ import annotations

from typing import Final, NamedTuple

import attrs

from ..errors import WebhookRejected
from .converter import expected, parse_json, read_id
from .models import LookRef, LookStatus
from .responses import parse_status, short_text

MAX_BODY: Final = 256 * 1024
"""Bytes of the longest delivery that is read."""

_LOOK_TASKS = frozenset({"avatar_create", "avatar_edit"})
_MAX_URL = 4096
_NO_AVATAR = "-"  # in place of the avatar's id, which the older form does not have


@attrs.frozen
class Delivery:
    """What a delivery reports about a look. ``avatar_id`` is None in the older form of the payload."""

    look_id: str
    status: LookStatus
    avatar_id: str | None = None
    thumbnail_url: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class OtherTask(NamedTuple):
    """A delivery about another task of the workspace, such as ``video_generate``: it is only acknowledged."""

    task: str


def parse_delivery(body: bytes) -> Delivery | OtherTask:
    """Parse a delivery, in either form of the payload; `OtherTask` if it is about another task.

    The older form names the look ``job_id`` and has no avatar; the newer one has ``task``, ``avatar_id``
    and ``look_id``. Ids and status must be right. Anything else that cannot be read is left out, because a
    delivery may be the only proof that a look was paid for. Raises `WebhookRejected` (400).
    """
    try:
        return _parse(parse_json(body))
    except ValueError as error:
        raise WebhookRejected(short_text(str(error)), status=400) from None


def _parse(payload: object) -> Delivery | OtherTask:
    if not isinstance(payload, dict):
        raise ValueError("no JSON object")
    task = payload.get("task")
    if task is not None and not isinstance(task, str):
        raise expected("text", task)
    if task is not None and task.strip().lower() not in _LOOK_TASKS:
        return OtherTask(short_text(task, 60))
    look_id = read_id(payload, "look_id" if payload.get("look_id") is not None else "job_id")
    avatar_id = read_id(payload, "avatar_id") if payload.get("avatar_id") is not None else None
    look = parse_status(payload, LookRef(avatar_id or _NO_AVATAR, look_id))
    picture, error = look.thumbnail_url, look.error
    return Delivery(
        look_id=look_id,
        status=look.status,
        avatar_id=avatar_id,
        thumbnail_url=picture if picture and len(picture) <= _MAX_URL and picture.isprintable() else None,
        error_code=error.code if error else None,
        error_message=error.message if error else None,
    )
