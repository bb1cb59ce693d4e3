"""A request to the fake workspace: its endpoint, whether the API accepts it, its price and its record."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import attrs

from .._api.endpoints import Endpoint
from .._api.models import LookRef

# The API's values and prices are written here a second time, and nothing is imported from the client's code:
# else no test could find that the client sends a wrong value or expects a wrong price.
STYLES = ("iphone", "selfie", "podcast", "car", "conference", "raw")
FORMATS = ("vertical", "horizontal")
_FREE = Decimal(0)
_PRICES = {"1K": Decimal("2"), "2K": Decimal("2"), "4K": Decimal("4")}
_DEFAULT_RESOLUTION = "2K"
_UPSCALE = Decimal("1.5")
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


class ErrorResponse(NamedTuple):
    """An error: HTTP status and body."""

    status: int
    body: dict[str, Any]


def error_response(status: int, message: str, code: str | None = None) -> ErrorResponse:
    """An error in the first of the API's two shapes: ``{"error", "code"}``."""
    return ErrorResponse(status, {"error": message, "code": code} if code else {"error": message})


def invalid(field: str, message: str) -> ErrorResponse:
    """An error in the second shape: ``{"error": "Validation failed", "details": [...]}``."""
    details = [{"code": "INVALID_VALUE", "message": message, "field": field}]
    return ErrorResponse(400, {"error": "Validation failed", "details": details})


def check_create(body: Any) -> ErrorResponse | None:
    """The error for the body of a creation, None if it is valid."""
    if not isinstance(body, Mapping):
        return invalid("body", "A JSON object is required")
    if "prompt" in body:
        if not _text(body["prompt"]):
            return error_response(400, "Prompt is required", "MISSING_PROMPT")
    else:
        images = images_of(body)
        if images is None:
            return error_response(400, "Provide a prompt or images", "MISSING_PROMPT")
        if not images:
            return error_response(400, "No image available", "NO_IMAGE_AVAILABLE")
    return _check_fields(body)


def check_edit(body: Any) -> ErrorResponse | None:
    """The error for the body of an edit, None if it is valid. It does not check whether its ids exist."""
    if not isinstance(body, Mapping):
        return invalid("body", "A JSON object is required")
    for field, code in (
        ("avatar_id", "MISSING_AVATAR_ID"),
        ("look_id", "MISSING_LOOK_ID"),
        ("prompt", "MISSING_PROMPT"),
    ):
        if not _text(body.get(field)):
            return error_response(400, f"{field} is required", code)
    if not isinstance(body.get("upscale", False), bool):
        return invalid("upscale", "upscale must be a boolean")
    return _check_fields(body)


def images_of(body: Mapping[str, Any]) -> Any:
    """The reference images, under either of the API's two names; None if there are none."""
    return body["imageUrls"] if "imageUrls" in body else body.get("images")


def price_of(body: Mapping[str, Any], *, edit: bool) -> Decimal:
    """What the request costs, in credits ("Avatar Workflow"; 1K and upscale: the API reference)."""
    if not edit and "prompt" not in body:
        return _FREE
    price = _PRICES[body.get("resolution") or _DEFAULT_RESOLUTION]
    return price + _UPSCALE if edit and body.get("upscale") else price


def _check_fields(body: Mapping[str, Any]) -> ErrorResponse | None:
    for field, allowed in (("style", STYLES), ("format", FORMATS), ("resolution", tuple(_PRICES))):
        if body.get(field) is not None and body[field] not in allowed:
            return invalid(field, f"{field} must be one of: {', '.join(allowed)}")
    for field in ("name", "place", "look_name"):
        if body.get(field) is not None and not isinstance(body[field], str):
            return invalid(field, f"{field} must be a string")
    for field in ("imageUrls", "images", "elementImages"):
        if body.get(field) is not None and not _urls(body[field]):
            return invalid(field, f"{field} must be a list of http(s) URLs")
    tags = body.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        return invalid("tags", "tags must be a list of strings")
    url = body.get("webhook_url")
    if url is not None and not _url(url):
        return error_response(400, "webhook_url must be a valid URL", "INVALID_WEBHOOK_URL")
    return None


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _urls(value: object) -> bool:
    return isinstance(value, list) and all(_url(url) for url in value)


def _url(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
