"""Between the API's JSON and our values: its words, and the bodies of paid requests.

The API's pages disagree on the words of a status and on the case of error codes; whatever comes is read.
What whole answers say is read in `answers`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from ..errors import ApiError, OutcomeUnknown, ServerError, UnexpectedResponse, api_error
from .converter import complaint, expected, parse_json, read_id, strict_converter
from .endpoints import WireResponse
from .models import Avatar, Look, LookDetails, LookFailure, LookRef, LookStatus, ServerQuota
from .refusals import body_text, read_refusal, short_text

_STATUS_WORDS: Mapping[str, LookStatus] = {
    "pending": LookStatus.PENDING,
    "processing": LookStatus.PROCESSING,
    "completed": LookStatus.READY,
    "ready": LookStatus.READY,
    "failed": LookStatus.FAILED,
    "error": LookStatus.FAILED,
}


def look_status(word: str) -> LookStatus:
    """The status that a word of the API means, in either vocabulary and any case; else UNKNOWN."""
    return _STATUS_WORDS.get(word) or _STATUS_WORDS.get(word.strip().lower(), LookStatus.UNRECOGNIZED)


def same_code(code: object, wanted: str) -> bool:
    """Whether the API's error code is that one: the API writes its codes in both cases of letters."""
    return isinstance(code, str) and code.strip().upper() == wanted.upper()


def look_from_details(details: LookDetails) -> Look | None:
    """A look as an avatar's answer shows it. None where no status is told (in the list of all looks)."""
    if details.status is None:
        return None
    reason = details.error_message if details.status is LookStatus.FAILED else None
    return Look(details.ref, details.status, details.thumbnail_url, failure(None, reason), details.raw)


def failure(error: Any, reason: Any = None) -> LookFailure | None:
    """Why a look failed, from the forms in which the API says it. None where it gives no reason."""
    said = error if isinstance(error, Mapping) else {"message": error}
    code = _text(said.get("code"), 100)
    message = _text(said.get("message"), 1000) or _text(reason, 1000)
    if not message and not code:
        return None
    return LookFailure(code or None, message or "the API gave no message")


def _text(value: Any, length: int) -> str:
    return short_text(value, length) if isinstance(value, str) else ""


def parse_accepted(body: Any, source: LookRef | None) -> LookRef:
    """The ref in the answer to a POST. An edit's look belongs to the source's avatar where none is named.

    An answer that names an edit's own source is no answer: taken at its word, the old picture would
    pass for the new one.
    """
    answer = _object(body, "the answer")
    avatar_id = _first(answer, _AVATAR_ID)
    if avatar_id is None and source is not None:
        avatar_id = source.avatar_id
    ref: LookRef = _structured({"avatar_id": avatar_id, "look_id": _first(answer, _LOOK_ID)}, LookRef)
    if source is not None and ref.look_id == source.look_id:
        raise ValueError("it names the source look, not a new one")
    return ref


def parse_status(body: Any, ref: LookRef) -> Look:
    """The answer to ``GET /avatar/status`` about this look. Raises `ValueError` for another look's.

    Look ids are unique, so the look's own id decides; the avatar's name for itself does not. This is the
    path that runs most, so it goes without the converter.
    """
    answer = _object(body, "the answer")
    named = _first(answer, _LOOK_ID)
    if named is not None and named != ref.look_id:
        raise ValueError(f"it tells of another look than {ref.look_id}")
    try:
        status = _status(answer.get("status"), None)
    except ValueError as error:
        raise ValueError(f"{error} @ $.status") from None
    picture = reason = None
    if status is LookStatus.READY:
        picture = _picture(answer.get("result")) or _picture(answer)
    elif status is LookStatus.FAILED:
        reason = failure(answer.get("error"), _first(answer, _ERROR_MESSAGE))
    return Look(ref, status, picture, reason, answer)


def parse_avatar(body: Any, avatar_id: str) -> Avatar:
    """The answer to ``GET /avatar/{id}``. Raises `ValueError` for another avatar's, or one without looks.

    A missing list of looks is not an empty one: what may be concluded from an avatar without a certain
    look is worth money.
    """
    answer = _object(body, "the answer")
    fields = _known(answer, _AVATAR_SPELLINGS)
    if fields.setdefault("id", avatar_id) != avatar_id:
        raise ValueError(f"it tells of another avatar than {avatar_id}")
    looks = answer.get("looks")
    if isinstance(looks, list):
        looks = [_look_fields(look, avatar_id) for look in looks]
    found: Avatar = _structured({**fields, "looks": looks}, Avatar)
    return found


def parse_details(body: Any, ref: LookRef) -> LookDetails:
    """The answer to ``GET /avatar/{id}/look/{id}``. Raises `ValueError` for another look's."""
    answer = _object(body, "the answer")
    found: LookDetails = _structured(_look_fields(answer, ref.avatar_id, ref.look_id), LookDetails)
    if found.ref != ref:
        raise ValueError(f"it tells of another look than {ref}")
    return found


def parse_looks(body: Any) -> tuple[LookDetails, ...]:
    """The answer to ``GET /avatar/list``."""
    if not isinstance(body, list):
        raise expected("a list of looks", body)
    found: tuple[LookDetails, ...] = _structured(
        [_look_fields(look) for look in body], tuple[LookDetails, ...]
    )
    return found


# --- spellings --------------------------------------------------------------------------------


def _spelled(*names: str) -> tuple[str, ...]:
    """The names, each also in camelCase, the preferred one first."""
    both = ((name, _camel(name)) for name in names)
    return tuple(dict.fromkeys(name for pair in both for name in pair))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


_AVATAR_ID = _spelled("avatar_id")
_LOOK_ID = _spelled("look_id")
_THUMBNAIL = _spelled("thumbnail_url", "thumbnail")
_ERROR_MESSAGE = _spelled("error_message")

_SHARED = ("gender", "age_range", "ethnicity", "hair_color")
_LOOK_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    **{name: _spelled(name) for name in (*_SHARED, "avatar_name", "place", "accessories", "action")},
    **{name: _spelled(name) for name in ("status", "emotion", "selfie", "format", "model_available")},
    "name": _spelled("look_name", "name"),
    "thumbnail_url": _THUMBNAIL,
    "preview_url": _spelled("preview_url", "preview"),
    "error_message": _ERROR_MESSAGE,
}
_AVATAR_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    **{name: _spelled(name) for name in (*_SHARED, "name", "age", "created_at")},
    "id": _spelled("id", "avatar_id"),
    "thumbnail_url": _THUMBNAIL,
}
_EITHER_LOOK_ID = _spelled("look_id", "id")


def _first(answer: Mapping[str, Any], spellings: Iterable[str]) -> Any:
    for name in spellings:
        value = answer.get(name)
        if value is not None:
            return value
    return None


def _known(answer: Mapping[str, Any], spellings: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The fields that we know, under one spelling, with the answer itself as ``raw``."""
    found = {name: _first(answer, names) for name, names in spellings.items()}
    return {**_without_none(found), "raw": answer}


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _look_fields(look: Any, avatar_id: str | None = None, look_id: str | None = None) -> Any:
    """A look's fields in one spelling; ids that it lacks are the given ones.

    What is no object passes as it is: the converter knows its place.
    """
    if not isinstance(look, dict):
        return look
    named = {"avatar_id": _first(look, _AVATAR_ID), "look_id": _first(look, _EITHER_LOOK_ID)}
    ref = {"avatar_id": avatar_id, "look_id": look_id, **_without_none(named)}
    return {**_known(look, _LOOK_SPELLINGS), "ref": ref}


def _object(body: Any, name: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ValueError(f"{name}: {expected('an object', body)}")
    return body


def _picture(part: Any) -> str | None:
    url = _first(part, _THUMBNAIL) if isinstance(part, dict) else None
    return url if isinstance(url, str) and url.strip() else None


# --- the converter ----------------------------------------------------------------------------


def _structured(value: Any, kind: Any) -> Any:
    try:
        return _converter().structure(value, kind)
    except (cattrs.BaseValidationError, ValueError) as error:
        raise ValueError(complaint(error)) from None


@functools.cache
def _converter() -> cattrs.Converter:
    converter = strict_converter()
    converter.register_structure_hook(LookStatus, _status)
    converter.register_structure_hook(LookRef, _ref)
    converter.register_structure_hook(LookDetails, _class_hook(LookDetails, {"ref", "status"}, converter))
    converter.register_structure_hook(Avatar, _class_hook(Avatar, {"id", "looks"}, converter))
    return converter


def _class_hook(kind: type[Any], strict: set[str], converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """A hook for objects of which only the strict fields must be right."""
    attrs.resolve_types(kind)
    tolerant: dict[str, Any] = {
        field.name: override(struct_hook=_TOLERANT.get(field.type, _as_it_came))
        for field in attrs.fields(kind)
        if field.name not in strict
    }
    structure = make_dict_structure_fn(kind, converter, **tolerant)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise expected("an object", value)
        return structure(value, kind)

    return hook


def _status(value: Any, _: Any) -> LookStatus:
    if not isinstance(value, str):
        raise expected("a word", value)
    return look_status(value)


def _ref(value: Any, _: Any) -> LookRef:
    return LookRef(read_id(value, "avatar_id"), read_id(value, "look_id"))


def _text_or_none(value: Any, _: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _bool_or_none(value: Any, _: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _as_it_came(value: Any, _: Any) -> Any:
    return value


_TOLERANT: Mapping[Any, Callable[[Any, Any], Any]] = {str | None: _text_or_none, bool | None: _bool_or_none}

_CLEAR_REFUSALS = frozenset({400, 401, 402, 403, 404, 409, 429})
_ITEMS_OWN = frozenset({400, 403, 404, 409})
_WORKSPACE_CODES = ("plan_required", "SPACE_NOT_FOUND")
_MAX_PAUSE = 3600.0

_T = TypeVar("_T")


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
        return parse_accepted(parse_json(response.body), source)
    except ValueError as error:
        raise OutcomeUnknown(
            f"a paid request was answered with HTTP {response.status} and no look: {error}"
        ) from None


def read_status(response: WireResponse, ref: LookRef) -> Look:
    """The look from ``GET /avatar/status``.

    Like all reads, raises `ApiError` for 4xx, `ServerError` for 5xx and `UnexpectedResponse` for what
    makes no sense, such as another look's state.
    """
    return _read(response, parse_status, ref)


def read_avatar(response: WireResponse, avatar_id: str) -> Avatar:
    """The avatar from ``GET /avatar/{id}``. Raises as `read_status` does."""
    return _read(response, parse_avatar, avatar_id)


def read_look(response: WireResponse, ref: LookRef) -> LookDetails:
    """The look from ``GET /avatar/{id}/look/{id}``. Raises as `read_status` does."""
    return _read(response, parse_details, ref)


def read_looks(response: WireResponse) -> tuple[LookDetails, ...]:
    """The looks from ``GET /avatar/list``. Raises as `read_status` does."""
    return _read(response, parse_looks)


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
