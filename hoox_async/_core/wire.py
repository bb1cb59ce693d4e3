"""Request to HTTP, HTTP to value or error. Pure: the transport does the rest."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from .._protocols import Endpoint, WireRequest, WireResponse
from ..errors import ApiError, InvalidRequest, OutcomeUnknown, ServerError, UnexpectedResponse, api_error
from . import answers
from .codec import request_body, same_code
from .models import Avatar, Look, LookDetails, LookRef, ServerQuota
from .refusals import body_text, read_refusal
from .requests import LookEdit, Request
from .strict import parse_json

AVATAR_BYTES = 16 << 20
"""The longest answer about one avatar: it can have thousands of looks."""
LIST_BYTES = 64 << 20
"""The longest list of looks: it is unpaged and holds the public catalogue."""

_CLEAR_REFUSALS = frozenset({400, 401, 402, 403, 404, 409, 429})
_ITEMS_OWN = frozenset({400, 403, 404, 409})
_WORKSPACE_CODES = ("plan_required", "SPACE_NOT_FOUND")
_MAX_PAUSE = 3600.0

_FILTERS = (
    "gender", "age_range", "ethnicity", "hair_color", "place", "action", "emotion", "accessories"
)  # fmt: skip
Choice = str | Sequence[str] | AbstractSet[str]
"""A filter's value: one text, or several of which any will do."""
_SWITCHES = {"selfie": "selfie", "only_public": "onlyPublic"}

_T = TypeVar("_T")


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


# --- answers ----------------------------------------------------------------------------------


def read_accepted(response: WireResponse, source: LookRef | None) -> LookRef:
    """The new look's ref from the answer to a paid POST. ``source`` is an edit's source look.

    Raises the `ApiError` of 400, 401, 402, 403, 404, 409 and 429, which are not charged, and
    `OutcomeUnknown` for everything else that names no new look: it may have been charged.
    """
    if response.status in _CLEAR_REFUSALS:
        raise _refusal(response)
    if not _is_success(response):
        said = body_text(response.body)
        raise OutcomeUnknown(f"a paid request was answered with HTTP {response.status}: {said}")
    try:
        return answers.accepted_ref(parse_json(response.body), source)
    except ValueError as error:
        raise OutcomeUnknown(
            f"a paid request was answered with HTTP {response.status} and no look: {error}"
        ) from None


def read_status(response: WireResponse, ref: LookRef) -> Look:
    """The look from ``GET /avatar/status``.

    Like all reads, raises `ApiError` for 4xx, `ServerError` for 5xx and `UnexpectedResponse` for what
    makes no sense, such as another look's state.
    """
    return _read(response, answers.status_look, ref)


def read_avatar(response: WireResponse, avatar_id: str) -> Avatar:
    """The avatar from ``GET /avatar/{id}``. Raises as `read_status` does."""
    return _read(response, answers.avatar, avatar_id)


def read_look(response: WireResponse, ref: LookRef) -> LookDetails:
    """The look from ``GET /avatar/{id}/look/{id}``. Raises as `read_status` does."""
    return _read(response, answers.details, ref)


def read_looks(response: WireResponse) -> tuple[LookDetails, ...]:
    """The looks from ``GET /avatar/list``. Raises as `read_status` does."""
    return _read(response, answers.looks)


def refusal_is_the_items_own(error: ApiError) -> bool:
    """Whether the API refused this very request, so that others may do better.

    False for what concerns the key, the credits, the plan, the workspace or the quota: then nothing else
    of a batch would be taken either.
    """
    if any(same_code(error.code, code) for code in _WORKSPACE_CODES):
        return False
    return error.status in _ITEMS_OWN


def _read(response: WireResponse, decode: Callable[..., _T], *asked: LookRef | str) -> _T:
    if not _is_success(response):
        raise _read_error(response)
    try:
        return decode(parse_json(response.body), *asked)
    except ValueError as error:
        message = f"HTTP {response.status} with an answer that makes no sense: {error}"
        raise UnexpectedResponse(message, status=response.status) from None


def _read_error(response: WireResponse) -> ApiError | ServerError | UnexpectedResponse:
    status = response.status
    if 400 <= status < 500:
        return _refusal(response)
    if 500 <= status < 600:
        message = read_refusal(response.body).message
        return ServerError(status, message, retry_after=retry_after(response.headers))
    return UnexpectedResponse(f"HTTP {status}: {body_text(response.body)}", status=status)


def _refusal(response: WireResponse) -> ApiError:
    code, message, details = read_refusal(response.body)
    return api_error(response.status, code, message, details, retry_after=retry_after(response.headers))


def _is_success(response: WireResponse) -> bool:
    return 200 <= response.status < 300


# --- headers ----------------------------------------------------------------------------------


def server_quota(headers: Mapping[str, str], utc_now: datetime | None = None) -> ServerQuota | None:
    """What the quota headers say; None where there are none that make sense.

    The reset is counted against the answer's own ``Date``, which the server's clock made as well, and
    against ``utc_now`` where there is none.
    """
    limit = _whole_number(headers.get("x-ratelimit-limit"))
    remaining = _whole_number(headers.get("x-ratelimit-remaining"))
    resets_in = _resets_in(headers, utc_now)
    if limit == 0:
        limit = None  # no quota at all would stop everything for good
    if limit is None and remaining is None and resets_in is None:
        return None
    return ServerQuota(limit, remaining, resets_in)


def retry_after(headers: Mapping[str, str], utc_now: datetime | None = None) -> float | None:
    """The seconds of ``Retry-After``, an hour at most; None where it is missing or makes no sense.

    A date counts against the answer's own ``Date``, or against ``utc_now`` where there is none.
    """
    text = headers.get("retry-after", "").strip()
    seconds = _seconds(text)
    if seconds is None:
        until, now = _posix(text), _now(headers, utc_now)
        if until is None or now is None:
            return None
        seconds = until - now
    return min(max(seconds, 0.0), _MAX_PAUSE)


def _resets_in(headers: Mapping[str, str], utc_now: datetime | None) -> float | None:
    reset = _seconds(headers.get("x-ratelimit-reset", "").strip())
    if reset is None:
        return None
    now = _now(headers, utc_now)
    if now is None:
        return None
    seconds = reset - now
    # A window lasts a minute: what is hours away is another unit or another clock
    return max(seconds, 0.0) if abs(seconds) <= _MAX_PAUSE else None


@functools.lru_cache(maxsize=512)  # each number of a minute's answers is read once
def _whole_number(text: str | None) -> int | None:
    text = text.strip() if text else ""
    return int(text) if _is_digits(text) and len(text) <= 9 else None


def _is_digits(text: str) -> bool:
    # int() and float() alone would take ``nan``, ``1_0``, ``-1`` and digits of other scripts
    return text.isdecimal() and text.isascii()


@functools.lru_cache(maxsize=4)
def _seconds(text: str) -> float | None:
    """A number that is not negative."""
    if not _is_digits(text) and not re.fullmatch(r"[0-9]+\.[0-9]*", text):
        return None
    seconds = float(text)
    return seconds if math.isfinite(seconds) else _MAX_PAUSE


def _now(headers: Mapping[str, str], utc_now: datetime | None) -> float | None:
    """The answer's own time, in seconds since 1970."""
    now = _posix(headers.get("date"))
    return utc_now.timestamp() if now is None and utc_now is not None else now


@functools.lru_cache(maxsize=4)  # the answers of one second have the same date
def _posix(text: str | None) -> float | None:
    """An HTTP date, in seconds since 1970."""
    if not text:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
