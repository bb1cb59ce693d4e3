"""The keys of batch items: digests of what a request asks for.

Digests are written into stores and compared in later runs, perhaps by a later version. So the digested
content is spelled out here, apart from the API's names and the classes' fields. A field that is not set is
left out: a new field does not change the digests of requests that do not use it.
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
    """The digest of a request's content, 32 hex digits. Equal content has an equal digest, in every version.

    The content is the request's kind, every field that describes the look to the API, and ``extra``, but
    neither ``webhook_url`` nor ``metadata``. The source of an edit counts by its ref, or, where it is another
    item of the batch, by the key of that item: ``source_key``, else the text in ``source``.
    """
    content = {name: value for name, value in _content(request, source_key).items() if _is_set(value)}
    return hashlib.sha256(_canonical(content).encode("ascii")).hexdigest()[:_LENGTH]


KEY = "text that is not empty and can be written as UTF-8"


def is_key(key: object) -> TypeGuard[str]:
    """Whether this can be a key (see `KEY`). No store can hold a lone surrogate."""
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
        # two names, since a key may look like a ref and is something else
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
    """Whether a field is set: None, False and empty values are the defaults of a request."""
    return bool(value)
