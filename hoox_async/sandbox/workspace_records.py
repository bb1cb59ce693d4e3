"""The values of the fake workspace: requests, responses, records, avatars and looks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import attrs

from .._api.endpoints import Endpoint
from .._api.models import LookRef

_NO_PARAMS: Mapping[str, str] = {}


class IncomingRequest(NamedTuple):
    """A request to the workspace. ``path`` is relative to the API's base URL.

    ``body`` is the parsed JSON; None if there was none or it was invalid. ``authorization`` is that header.
    """

    method: str
    path: str
    params: Mapping[str, str] = _NO_PARAMS
    body: Any = None
    authorization: str | None = None


class HttpResponse(NamedTuple):
    """An HTTP response: status, headers and the encoded body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@attrs.frozen
class Charge:
    """An accepted creation or edit, and its price in credits (0 for an avatar from images).

    ``request`` is the request's JSON, with ``endpoint`` ("create" or "edit") added.
    """

    credits: Decimal
    avatar_id: str
    look_id: str
    request: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def ref(self) -> LookRef:
        """The look that was paid for."""
        return LookRef(self.avatar_id, self.look_id)


@attrs.define
class RequestRecord:
    """A request that the sandbox received, at the loop's time ``at`` (seconds).

    ``endpoint`` is the name of an `Endpoint`, "picture" or "unknown". ``status`` is the HTTP status that
    was sent, None if the connection was dropped or left without a response. ``fault`` names the fault it met.
    ``authorized`` says whether it had an Authorization header, right or wrong.
    """

    endpoint: str
    at: float
    status: int | None
    path: str = ""
    params: Mapping[str, str] = _NO_PARAMS
    body: Any = attrs.field(default=None, repr=False)
    authorized: bool = False
    fault: str | None = None


@attrs.define(eq=False)
class FakeLook:
    """A look of the workspace. ``done_at`` is the time (seconds) at which it settles.

    ``settled_on_demand``: `Space.hold` does not apply to it.
    """

    id: str
    avatar: FakeAvatar
    name: str
    place: str
    style: str
    format: str
    resolution: str
    prompt: str | None
    created_at: float
    done_at: float
    failed: bool = False
    settled_on_demand: bool = False
    tags: list[str] | None = None
    picture_of: str | None = None
    """The id of the look whose picture it has; None for one of its own. A copied look has the same."""
    webhook_url: str | None = attrs.field(default=None, repr=False)
    rendered: tuple[str, bytes] | None = None
    """Its status word and its encoded part of ``GET /avatar/{id}``, which is requested often."""

    @property
    def ref(self) -> LookRef:
        """The look's ref."""
        return LookRef(self.avatar.id, self.id)


class PictureFile(NamedTuple):
    """What is at a picture's URL: the look's picture, in full or small size, or a film of it."""

    look: FakeLook
    form: Literal["full", "small", "film"]

    @property
    def content_type(self) -> str:
        """Its ``Content-Type``."""
        return "video/mp4" if self.form == "film" else "image/jpeg"


@attrs.define(eq=False)
class FakeAvatar:
    """An avatar of the workspace (or of the public catalogue) and its looks, oldest first."""

    id: str
    name: str
    traits: Mapping[str, str]
    created_at: float
    looks: list[FakeLook] = attrs.field(factory=list)
    public: bool = False
    copy_of: FakeAvatar | None = None

    @property
    def person(self) -> str:
        """What the portrait is drawn from: the same for an avatar and its copies."""
        return self.copy_of.id if self.copy_of else self.id


def route(method: str, path: str) -> tuple[Endpoint | None, tuple[str, ...]]:
    """The endpoint of a request, None if there is none, and the ids in its path."""
    match method.upper(), path.strip("/").split("/"):
        case "POST", ["avatar", "create"]:
            return Endpoint.CREATE, ()
        case "POST", ["avatar", "edit"]:
            return Endpoint.EDIT, ()
        case "GET", ["avatar", "status"]:
            return Endpoint.STATUS, ()
        case "GET", ["avatar", "list"]:
            return Endpoint.LIST, ()
        case "GET", ["avatar", avatar_id]:
            return Endpoint.AVATAR, (avatar_id,)
        case "GET", ["avatar", avatar_id, "look", look_id]:
            return Endpoint.LOOK, (avatar_id, look_id)
    return None, ()
