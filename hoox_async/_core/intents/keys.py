"""The keys of a batch's items: digests of what a request asks for.

A digest is written into stores and compared in later runs, perhaps by a later version. So what enters
it is spelled out here, apart from the wire's names and the classes' fields, and what is unset does not
enter: a field that comes new leaves the digests of today as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeGuard

from ..._api.models import LookRef
from ..._api.requests import ImageAvatar, LookEdit, PromptAvatar, Request

_LENGTH = 32
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def digest(request: Request, source_key: str | None = None) -> str:
    """The digest of a request's content, 32 hex digits. Equal content, equal digest, in every version.

    The content is the request's kind, all that the API is told of the look, and ``extra``, but neither
    ``webhook_url`` nor ``metadata``. An edit's source counts by its ref; where it is another item of the
    batch, by that item's key: the text that ``source`` holds, or ``source_key``, which wins.
    """
    content = {name: value for name, value in _content(request, source_key).items() if _is_set(value)}
    return hashlib.sha256(_canonical(content).encode("ascii")).hexdigest()[:_LENGTH]


KEY = "text that is not empty and can be written as UTF-8"


def is_key(key: object) -> TypeGuard[str]:
    """Whether this can be a key: `KEY`. A lone surrogate is text that no store can hold."""
    if not isinstance(key, str) or not key.strip():
        return False
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def ordinal_key(digest: str, ordinal: int) -> str:
    """The key of the n-th item with this digest in one batch, counted from 0: ``d``, ``d#2``, ``d#3`` …"""
    if ordinal < 0:
        raise ValueError(f"ordinal: {ordinal} is below 0")
    return digest if ordinal == 0 else f"{digest}#{ordinal + 1}"


def _content(request: Request, source_key: str | None) -> Mapping[str, Any]:
    match request:
        case PromptAvatar():
            return _prompt(request)
        case ImageAvatar():
            return {
                "kind": "images",
                "image_urls": request.image_urls,
                "name": request.name,
                "place": request.place,
                "extra": request.extra,
            }
        case LookEdit():
            return _edit(request, source_key)


def _prompt(request: PromptAvatar) -> Mapping[str, Any]:
    return {
        "kind": "prompt",
        "prompt": request.prompt,
        "style": request.style.value,
        "format": request.format.value,
        "resolution": request.resolution.value,
        "name": request.name,
        "place": request.place,
        "element_images": request.element_images,
        "extra": request.extra,
    }


def _edit(request: LookEdit, source_key: str | None) -> Mapping[str, Any]:
    by_key = source_key if isinstance(request.source, LookRef) else (source_key or request.source)
    by_ref = str(request.source) if by_key is None else None
    return {
        "kind": "edit",
        # under two names: a key that reads like a ref is still another thing
        "source_key": by_key,
        "source_ref": by_ref,
        "prompt": request.prompt,
        "style": request.style.value if request.style else None,
        "format": request.format.value if request.format else None,
        "resolution": request.resolution.value,
        "images": request.images,
        "upscale": request.upscale,
        "extra": request.extra,
    }


def _is_set(value: Any) -> bool:
    """Whether a field says anything: None, False and what is empty are what a request has by itself."""
    return bool(value)
