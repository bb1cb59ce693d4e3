"""The endpoints of the API: turns our requests into HTTP requests, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Any, NamedTuple, TypeGuard

from .._checks import argument
from ..errors import InvalidRequest
from .models import ID, LookRef, is_id
from .requests import LookEdit, Request, sent_content

AVATAR_BYTES = 16 << 20
"""Bytes of the longest answer about one avatar that is read: an avatar can have thousands of looks."""
LIST_BYTES = 64 << 20
"""Bytes of the longest list of looks that is read: it is not paged and holds the public catalogue."""

Choice = str | Sequence[str] | AbstractSet[str]
"""A filter's value: one text, or several of which any may match."""
_FILTERS = (
    "gender", "age_range", "ethnicity", "hair_color", "place", "action", "emotion", "accessories"
)  # fmt: skip
_SWITCHES = {"selfie": "selfie", "only_public": "onlyPublic"}


# --- HTTP as values ---------------------------------------------------------------------------


class Endpoint(StrEnum):
    """The endpoints of the API."""

    CREATE = "create"
    EDIT = "edit"
    STATUS = "status"
    AVATAR = "avatar"
    LOOK = "look"
    LIST = "list"

    @property
    def paid(self) -> bool:
        """Whether a request to it may cost credits: such a request is never sent again on a guess."""
        return self is Endpoint.CREATE or self is Endpoint.EDIT


_NO_PARAMS: Mapping[str, str] = {}


class WireRequest(NamedTuple):
    """One HTTP request. ``path`` and ``params`` are not yet percent-encoded.

    At most ``max_bytes`` of the answer's body are read.
    """

    endpoint: Endpoint
    method: str
    path: str
    params: Mapping[str, str] = _NO_PARAMS
    body: Mapping[str, Any] | None = None
    max_bytes: int = 1 << 20

    def __repr__(self) -> str:  # the body can hold a webhook's token
        return f"WireRequest({self.method} {self.path}, params={self.params!r})"


class WireResponse(NamedTuple):
    """One HTTP answer with its whole body. The names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"WireResponse({self.status}, headers={self.headers!r}, {len(self.body)} bytes)"


# --- paid requests ----------------------------------------------------------------------------


def submit_request(request: Request, source: LookRef | None, webhook_url: str | None) -> WireRequest:
    """The POST of a paid request. The request's own ``webhook_url`` wins over the one given here.

    ``source`` is an edit's source look, where the request names it by another item's key. Raises
    `InvalidRequest` for an edit whose source look is not known.
    """
    endpoint = submit_endpoint(request)
    body = request_body(request, source, webhook_url)
    return WireRequest(endpoint, "POST", f"avatar/{endpoint}", body=body)


def submit_endpoint(request: Request) -> Endpoint:
    """The endpoint to which a paid request is sent."""
    return Endpoint.EDIT if isinstance(request, LookEdit) else Endpoint.CREATE


def request_body(request: Request, source: LookRef | None, webhook_url: str | None) -> dict[str, Any]:
    """The JSON body of a paid request. What is unset is left out; the resolution never is.

    Takes and raises what `submit_request` does.
    """
    body = sent_content(request)
    if isinstance(request, LookEdit):
        look = _source_look(request.source, source)
        body = {"avatar_id": look.avatar_id, "look_id": look.look_id, **body}
    if url := request.webhook_url or webhook_url:
        body["webhook_url"] = url
    return body


def _source_look(named: LookRef | str, known: LookRef | None) -> LookRef:
    if known is not None:
        return known
    if isinstance(named, LookRef):
        return named
    raise InvalidRequest("source", named, "a look's ref (a key is for items of a batch)")


# --- reads ------------------------------------------------------------------------------------


def status_request(ref: LookRef) -> WireRequest:
    """``GET /avatar/status``: the state of one look."""
    params = {"avatar_id": ref.avatar_id, "look_id": ref.look_id}
    return WireRequest(Endpoint.STATUS, "GET", "avatar/status", params)


def avatar_request(avatar_id: str) -> WireRequest:
    """``GET /avatar/{id}``: the avatar and all its looks. Raises `InvalidRequest` for what is no id."""
    path = f"avatar/{_path_segment('avatar_id', avatar_id)}"
    return WireRequest(Endpoint.AVATAR, "GET", path, max_bytes=AVATAR_BYTES)


def look_request(ref: LookRef) -> WireRequest:
    """``GET /avatar/{id}/look/{id}``: one look. Raises `InvalidRequest` for what is no id."""
    avatar, look = _path_segment("avatar_id", ref.avatar_id), _path_segment("look_id", ref.look_id)
    return WireRequest(Endpoint.LOOK, "GET", f"avatar/{avatar}/look/{look}")


def list_request(filters: Mapping[str, object]) -> WireRequest:
    """``GET /avatar/list``: the looks of the workspace and of the public catalogue.

    Each filter is a text or a list of texts; ``selfie`` and ``only_public`` are True or False. A filter
    of None is left out. Raises `InvalidRequest` for another name or value.
    """
    params: dict[str, str] = {}
    for name, value in filters.items():
        if name not in _FILTERS and name not in _SWITCHES:
            raise InvalidRequest(name, value, "one of the filters " + ", ".join((*_FILTERS, *_SWITCHES)))
        if value is None:
            continue
        if name in _SWITCHES:
            params[_SWITCHES[name]] = "true" if argument.flag(name, value) else "false"
        else:
            params[name] = _choice(name, value)
    return WireRequest(Endpoint.LIST, "GET", "avatar/list", params, max_bytes=LIST_BYTES)


def _path_segment(field: str, value: object) -> str:
    """An id as one segment of a path. An id that would change which path is requested is invalid."""
    if not is_id(value) or not value.strip(". ") or any(c in "/\\" for c in value):
        raise InvalidRequest(field, value, f"an id as the API gave it, without slashes, {ID}")
    return value


def _choice(name: str, value: object) -> str:
    if _is_word(value):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        usable = all(_is_word(one) and "," not in one for one in value)
        if usable and value:
            return ",".join(sorted(value) if isinstance(value, set | frozenset) else value)
    expected = "a text without control characters, or a list of such texts without commas"
    raise InvalidRequest(name, value, expected)


def _is_word(value: object) -> TypeGuard[str]:
    """Whether this can be sent as it is. A lone surrogate would be left out of the URL."""
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()
