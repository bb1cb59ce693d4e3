"""What stands between the session and the world: transport, store and deliveries."""

from __future__ import annotations

from collections.abc import (
    Mapping,
    Sequence,
)
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from .models import LookRef

if TYPE_CHECKING:
    pass


from collections.abc import Set as AbstractSet

from ..errors import InvalidRequest
from .requests import ImageAvatar, LookEdit, PromptAvatar, Request


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
        """Whether a request there may cost credits: then it is never sent twice on a guess."""
        return self is Endpoint.CREATE or self is Endpoint.EDIT


_NO_PARAMS: Mapping[str, str] = {}


class WireRequest(NamedTuple):
    """One HTTP request, as a value. ``path`` and ``params`` are not yet percent-encoded."""

    endpoint: Endpoint
    method: str
    path: str
    params: Mapping[str, str] = _NO_PARAMS
    body: Mapping[str, Any] | None = None
    max_bytes: int = 1 << 20

    def __repr__(self) -> str:  # the body can hold a webhook's token
        return f"WireRequest({self.method} {self.path}, params={self.params!r})"


class WireResponse(NamedTuple):
    """One HTTP answer, read whole. Headers are found under their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"WireResponse({self.status}, headers={self.headers!r}, {len(self.body)} bytes)"


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


AVATAR_BYTES = 16 << 20
"""The longest answer about one avatar: it can have thousands of looks."""
LIST_BYTES = 64 << 20
"""The longest list of looks: it is unpaged and holds the public catalogue."""

_FILTERS = (
    "gender", "age_range", "ethnicity", "hair_color", "place", "action", "emotion", "accessories"
)  # fmt: skip
Choice = str | Sequence[str] | AbstractSet[str]
"""A filter's value: one text, or several of which any will do."""
_SWITCHES = {"selfie": "selfie", "only_public": "onlyPublic"}


# --- requests ---------------------------------------------------------------------------------


def submit_request(request: Request, source: LookRef | None, webhook_url: str | None) -> WireRequest:
    """The POST of a paid request. The request's own ``webhook_url`` wins over the one given here.

    ``source`` is an edit's source look, where the request holds another item's key. Raises
    `InvalidRequest` for an edit whose source is not known.
    """
    endpoint = submit_endpoint(request)
    body = request_body(request, source, webhook_url)
    return WireRequest(endpoint, "POST", f"avatar/{endpoint}", body=body)


def submit_endpoint(request: Request) -> Endpoint:
    """Where a paid request is sent to."""
    return Endpoint.EDIT if isinstance(request, LookEdit) else Endpoint.CREATE


def status_request(ref: LookRef) -> WireRequest:
    """``GET /avatar/status``: the state of one look."""
    params = {"avatar_id": ref.avatar_id, "look_id": ref.look_id}
    return WireRequest(Endpoint.STATUS, "GET", "avatar/status", params)


def avatar_request(avatar_id: str) -> WireRequest:
    """``GET /avatar/{id}``: the avatar and all its looks. Raises `InvalidRequest` for what is no id."""
    path = f"avatar/{_segment('avatar_id', avatar_id)}"
    return WireRequest(Endpoint.AVATAR, "GET", path, max_bytes=AVATAR_BYTES)


def look_request(ref: LookRef) -> WireRequest:
    """``GET /avatar/{id}/look/{id}``: one look. Raises `InvalidRequest` for what is no id."""
    path = f"avatar/{_segment('avatar_id', ref.avatar_id)}/look/{_segment('look_id', ref.look_id)}"
    return WireRequest(Endpoint.LOOK, "GET", path)


def list_request(filters: Mapping[str, object]) -> WireRequest:
    """``GET /avatar/list``, the looks of the workspace and of the public catalogue.

    Each filter is a text or a list of them, ``selfie`` and ``only_public`` are True or False. A filter
    of None is left out. Raises `InvalidRequest` for another name or value.
    """
    params: dict[str, str] = {}
    for name, value in filters.items():
        if name not in _FILTERS and name not in _SWITCHES:
            raise InvalidRequest(name, value, "one of the filters " + ", ".join((*_FILTERS, *_SWITCHES)))
        if value is None:
            continue
        if name in _SWITCHES:
            params[_SWITCHES[name]] = _switch(name, value)
        else:
            params[name] = _choice(name, value)
    return WireRequest(Endpoint.LIST, "GET", "avatar/list", params, max_bytes=LIST_BYTES)


def _segment(field: str, value: object) -> str:
    """An id as one part of a path. One that could lead elsewhere on the host is refused."""
    usable = isinstance(value, str) and value.strip(". ") and value.isprintable()
    if not usable or any(c in "/\\" for c in str(value)):
        raise InvalidRequest(field, value, "an id as the API gave it, without slashes")
    return str(value)


def _switch(name: str, value: object) -> str:
    if not isinstance(value, bool):
        raise InvalidRequest(name, value, "True or False")
    return "true" if value else "false"


def _choice(name: str, value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list | tuple | set | frozenset):
        usable = all(isinstance(one, str) and one.strip() and "," not in one for one in value)
        if usable and value:
            return ",".join(sorted(value) if isinstance(value, set | frozenset) else value)
    raise InvalidRequest(name, value, "a text, or a list of texts without commas")
