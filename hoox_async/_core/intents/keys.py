"""The keys of batch items: digests of what a request asks for.

A digest is written into stores and compared in later runs, perhaps by a later version. It is made of the
field names of a request class, which therefore must not be renamed, and of the values that are set. So a
field that a later version adds does not change existing digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TypeGuard

from ..._api.models import LookRef
from ..._api.requests import LookEdit, Request, content_of

_LENGTH = 32
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def digest(request: Request, source_key: str | None = None) -> str:
    """The digest of a request's content, 32 hex digits. Equal content has an equal digest, in every version.

    The content is the request's kind, every field that describes the look to the API, and ``extra``, but
    neither ``webhook_url`` nor ``metadata``. The source of an edit counts by its ref, or, where it is another
    item of the batch, by the key of that item: ``source_key``, else the text in ``source``.
    """
    content = {"kind": request.KIND, **content_of(request)}
    if isinstance(request, LookEdit):
        content |= _source(request, source_key)
    # None, False and empty values are the defaults of a request
    is_set = {name: value for name, value in content.items() if value}
    return hashlib.sha256(_canonical(is_set).encode("ascii")).hexdigest()[:_LENGTH]


_MAX_BYTES = 512
KEY = f"text of at most {_MAX_BYTES} bytes of UTF-8 that is not empty and has no NUL"


def is_key(key: object) -> TypeGuard[str]:
    """Whether this can be a key (see `KEY`), in every store."""
    return is_name(key) and len(key.encode()) <= _MAX_BYTES


def is_name(text: object) -> TypeGuard[str]:
    """Whether this is a text that is not blank, and that every store can hold as it is."""
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def ordinal_key(digest: str, ordinal: int) -> str:
    """The key of the n-th item with this digest in one batch, counted from 0: ``d``, ``d#2``, ``d#3`` …"""
    if ordinal < 0:
        raise ValueError(f"ordinal: {ordinal} is below 0")
    return digest if ordinal == 0 else f"{digest}#{ordinal + 1}"


def _source(request: LookEdit, source_key: str | None) -> Mapping[str, str | None]:
    """An edit's source. A key and a ref have different names: a key can read like a ref."""
    if isinstance(request.source, LookRef):
        return {"source_key": source_key, "source_ref": None if source_key else str(request.source)}
    return {"source_key": source_key or request.source, "source_ref": None}
