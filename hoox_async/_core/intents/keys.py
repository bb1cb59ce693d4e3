"""The keys of batch items: digests of what a request asks for.

A digest is written into stores and compared in later runs, perhaps by a later version. It is made of what
the API is sent, by the API's names, without what is not set. So a field that a later version adds changes no
digest, also not those of requests that had it in ``extra``: it has to be None or empty by default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeGuard

from ..._api.models import LookRef
from ..._api.requests import LookEdit, Request, sent_content
from ..._checks import is_name

_LENGTH = 32
_OWN = ("kind", "source_key", "source_ref")
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def digest(request: Request) -> str:
    """The digest of a request's content, 32 hex digits. Equal content has an equal digest, in every version.

    The content is the request's kind, every field that describes the look to the API, and ``extra``, but
    neither ``webhook_url`` nor ``metadata``. The source of an edit counts by its ref, or, where it is another
    item of the batch, by the key of that item.
    """
    content = {"kind": request.KIND, **_source(request)}
    for name, value in sent_content(request).items():
        content[f"sent.{name}" if name in _OWN else name] = value
    return hashlib.sha256(_canonical(content).encode("ascii")).hexdigest()[:_LENGTH]


_MAX_BYTES = 512
KEY = f"text of at most {_MAX_BYTES} bytes of UTF-8 that is not empty and has no NUL"


def is_key(key: object) -> TypeGuard[str]:
    """Whether this can be a key (see `KEY`), in every store."""
    return is_name(key) and len(key.encode()) <= _MAX_BYTES


def ordinal_key(digest: str, ordinal: int) -> str:
    """The key of the n-th item with this digest in one batch, counted from 0: ``d``, ``d#2``, ``d#3`` …"""
    if ordinal < 0:
        raise ValueError(f"ordinal: {ordinal} is below 0")
    return digest if ordinal == 0 else f"{digest}#{ordinal + 1}"


def _source(request: Request) -> Mapping[str, Any]:
    """An edit's source. A key and a ref have different names: a key can read like a ref."""
    if not isinstance(request, LookEdit):
        return {}
    name = "source_ref" if isinstance(request.source, LookRef) else "source_key"
    return {name: str(request.source)}
