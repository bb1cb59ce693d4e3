"""What the fake workspace takes in, gives out and remembers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import attrs

from .._api.endpoints import Endpoint
from .._api.models import LookRef

_NO_PARAMS: Mapping[str, str] = {}


class IncomingRequest(NamedTuple):
    """One request as it reached the workspace. ``path`` is relative to the API's base URL.

    ``body`` is the parsed JSON; None where there was none or it was no JSON.
    ``authorization`` is the header as it came.
    """

    method: str
    path: str
    params: Mapping[str, str] = _NO_PARAMS
    body: Any = None
    authorization: str | None = None


class HttpResponse(NamedTuple):
    """An HTTP answer: status, headers and the encoded body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@attrs.frozen
class Charge:
    """One accepted creation or edit and what it cost, in credits (0 for an avatar from images).

    ``request`` is the JSON that came, with ``endpoint`` ("create" or "edit") added.
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
    """One request that reached the sandbox, at the loop's time ``at`` (seconds).

    ``endpoint`` is the name of an `Endpoint`, "picture" or "unknown". ``status`` is the HTTP status that
    was sent, None where the connection was dropped or left hanging. ``fault`` names the fault it met.
    ``authorized`` says whether an Authorization header came with it, right or wrong.
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
    """A look of the workspace. ``done_at`` is the time (seconds) at which it settles of itself."""

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
    by_hand: bool = False
    webhook_url: str | None = None
    rendered: tuple[str, bytes] | None = None
    """The look as the group answer shows it, kept until its state changes: it is asked for often."""

    @property
    def ref(self) -> LookRef:
        """The look's ref."""
        return LookRef(self.avatar.id, self.id)


@attrs.define(eq=False)
class FakeAvatar:
    """An avatar of the workspace (or of the public catalogue) and its looks, oldest first."""

    id: str
    name: str
    traits: Mapping[str, str]
    created_at: float
    looks: list[FakeLook] = attrs.field(factory=list)
    public: bool = False


def route(method: str, path: str) -> tuple[Endpoint | None, tuple[str, ...]]:
    """The endpoint that a request is for, and the ids that its path names."""
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
