"""From the API's answers to models or errors.

``read_*`` take a whole HTTP response and raise the library's errors. ``parse_*`` take the JSON of its body
and raise `ValueError`, which says what is wrong and where. Headers and refusals are read at the end of this
file.

The API's pages disagree on status texts, field names and the case of error codes: every spelling is
accepted.
"""

from __future__ import annotations

import functools
import html
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from ..errors import (
    ApiError,
    AuthenticationError,
    BadRequest,
    Conflict,
    InsufficientCredits,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RateLimited,
    ServerError,
    UnexpectedResponse,
)
from .converter import complaint, expected, parse_json, read_id, strict_converter
from .endpoints import WireResponse
from .models import Avatar, Look, LookDetails, LookFailure, LookRef, LookStatus, ServerQuota

_T = TypeVar("_T")


# --- whole answers ----------------------------------------------------------------------------

# A paid request that is answered with one of these was not charged (API reference).
_FREE_REFUSALS = frozenset({400, 401, 402, 403, 404, 409, 429})
# Those among them that can concern one request alone, unless the code says that they concern the workspace.
_OF_ONE_REQUEST = frozenset({400, 403, 404, 409})
_OF_THE_WORKSPACE = ("plan_required", "SPACE_NOT_FOUND")


def read_accepted(response: WireResponse, source: LookRef | None) -> LookRef:
    """The new look's ref from the answer to a paid POST. ``source`` is an edit's source look.

    Raises the `ApiError` of 400, 401, 402, 403, 404, 409 and 429, which are not charged, and
    `OutcomeUnknown` for every other answer that names no new look: it may have been charged.
    """
    if response.status in _FREE_REFUSALS:
        raise _refusal(response)
    answered = f"a paid request was answered with HTTP {response.status}"
    if not _is_success(response):
        raise OutcomeUnknown(f"{answered}: {body_text(response.body)}")
    try:
        return parse_accepted(parse_json(response.body), source)
    except ValueError as error:
        raise OutcomeUnknown(f"{answered} and no look: {error}") from None


def read_status(response: WireResponse, ref: LookRef) -> Look:
    """The look from ``GET /avatar/status``.

    Like all reads, raises `ApiError` for 4xx, `ServerError` for 5xx and `UnexpectedResponse` for an answer
    that cannot be understood or is about another look.
    """
    return _read(response, parse_status, ref)


def read_avatar(response: WireResponse, avatar_id: str) -> Avatar:
    """The avatar from ``GET /avatar/{id}``. Raises as `read_status` does."""
    return _read(response, parse_avatar, avatar_id)


def read_look(response: WireResponse, ref: LookRef) -> LookDetails:
    """The look from ``GET /avatar/{id}/look/{id}``. Raises as `read_status` does."""
    return _read(response, parse_look, ref)


def read_looks(response: WireResponse) -> tuple[LookDetails, ...]:
    """The looks from ``GET /avatar/list``. Raises as `read_status` does."""
    return _read(response, parse_looks)


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: AuthenticationError,
    402: InsufficientCredits,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
}


def api_error(
    status: int,
    code: str | None,
    message: str,
    details: Sequence[Any] = (),
    *,
    retry_after: float | None = None,
) -> ApiError:
    """An error of the class of this HTTP status, or an `ApiError` where the status has no class."""
    return _BY_STATUS.get(status, ApiError)(status, code, message, details, retry_after=retry_after)


def refusal_is_the_items_own(error: ApiError) -> bool:
    """Whether the API refused this one request, so that others may be accepted.

    False for what concerns the key, the credits, the plan, the workspace or the quota: then no other item
    of a batch would be accepted either.
    """
    if any(same_code(error.code, code) for code in _OF_THE_WORKSPACE):
        return False
    return error.status in _OF_ONE_REQUEST


def refuses_access(error: BaseException | None) -> bool:
    """Whether the API refused the key, the plan or the workspace, or wants more credits than there are."""
    if isinstance(error, NotFound):
        return same_code(error.code, "SPACE_NOT_FOUND")
    return isinstance(error, AuthenticationError | InsufficientCredits | PermissionDenied)


def same_code(code: object, wanted: str) -> bool:
    """Whether the API's error code is the wanted one, in either case of letters: its pages use both."""
    return isinstance(code, str) and code.strip().upper() == wanted.upper()


def _read(response: WireResponse, parse: Callable[..., _T], *asked: LookRef | str) -> _T:
    if not _is_success(response):
        raise _read_error(response)
    try:
        return parse(parse_json(response.body), *asked)
    except ValueError as error:
        message = f"HTTP {response.status} with an answer that cannot be understood: {error}"
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


# --- bodies -----------------------------------------------------------------------------------


def parse_accepted(body: Any, source: LookRef | None) -> LookRef:
    """The ref in the answer to a POST. An edit's look is of the source's avatar where none is named.

    An answer that names an edit's own source is invalid: else the old picture would be taken for the new one.
    """
    answer = _object(body)
    avatar_id = _first(answer, _AVATAR_ID)
    if avatar_id is None and source is not None:
        avatar_id = source.avatar_id
    ref: LookRef = _structured({"avatar_id": avatar_id, "look_id": _first(answer, _LOOK_ID)}, LookRef)
    if source is not None and ref.look_id == source.look_id:
        raise ValueError("it names the source look, not a new one")
    return ref


def parse_status(body: Any, ref: LookRef) -> Look:
    """The answer to ``GET /avatar/status`` about this look. Raises `ValueError` for another look's.

    Look ids are unique, so only the look's own id is compared. This function runs more often than any
    other of this file, so it does without the converter.
    """
    answer = _object(body)
    named = _first(answer, _LOOK_ID)
    if named is not None and named != ref.look_id:
        raise ValueError(f"it is about another look than {ref.look_id}")
    try:
        status = _status(answer.get("status"), None)
    except ValueError as error:
        raise ValueError(f"{error} @ $.status") from None
    picture = reason = None
    if status is LookStatus.READY:
        picture = _picture_url(answer.get("result")) or _picture_url(answer)
    elif status is LookStatus.FAILED:
        reason = parse_failure(answer.get("error"), _first(answer, _ERROR_MESSAGE))
    return Look(ref, status, picture, reason, answer)


def parse_avatar(body: Any, avatar_id: str) -> Avatar:
    """The answer to ``GET /avatar/{id}``. Raises `ValueError` for another avatar's, or one without looks.

    A missing list of looks is not read as an empty one: the absence of a look is used to decide that a lost
    POST made none, and that decides about money.
    """
    answer = _object(body)
    fields = _known_fields(answer, _AVATAR_SPELLINGS)
    if fields.setdefault("id", avatar_id) != avatar_id:
        raise ValueError(f"it is about another avatar than {avatar_id}")
    looks = answer.get("looks")
    if isinstance(looks, list):
        looks = [_look_fields(look, avatar_id) for look in looks]
    found: Avatar = _structured({**fields, "looks": looks}, Avatar)
    return found


def parse_look(body: Any, ref: LookRef) -> LookDetails:
    """The answer to ``GET /avatar/{id}/look/{id}``. Raises `ValueError` for another look's."""
    answer = _object(body)
    found: LookDetails = _structured(_look_fields(answer, ref.avatar_id, ref.look_id), LookDetails)
    if found.ref != ref:
        raise ValueError(f"it is about another look than {ref}")
    return found


def parse_looks(body: Any) -> tuple[LookDetails, ...]:
    """The answer to ``GET /avatar/list``."""
    if not isinstance(body, list):
        raise expected("a list of looks", body)
    looks = [_look_fields(look) for look in body]
    found: tuple[LookDetails, ...] = _structured(looks, tuple[LookDetails, ...])
    return found


def parse_failure(error: Any, message: Any = None) -> LookFailure | None:
    """Why a look failed: ``error`` is an object or a text, ``message`` is used where that has none.

    None where the API gives no reason.
    """
    said = error if isinstance(error, Mapping) else {"message": error}
    code = _short(said.get("code"), 100)
    text = _short(said.get("message"), 1000) or _short(message, 1000)
    if not text and not code:
        return None
    return LookFailure(code or None, text or "the API gave no message")


def look_from_details(details: LookDetails) -> Look | None:
    """The look that an avatar's answer shows; None where it has no status, as in the list of all looks."""
    if details.status is None:
        return None
    reason = details.error_message if details.status is LookStatus.FAILED else None
    return Look(details.ref, details.status, details.thumbnail_url, parse_failure(None, reason), details.raw)


def picture_urls(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """The URLs under which an answer about one look may have its picture: ``preview`` and ``thumbnail``.

    The preview comes first. It may also be that of a film.
    """
    parts = (answer.get("result"), answer)
    found = (
        _text_or_none(part.get(name), None)
        for names in (_PREVIEW, _THUMBNAIL)
        for part in parts
        if isinstance(part, Mapping)
        for name in names
    )
    return tuple(dict.fromkeys(url for url in found if url is not None))


def _picture_url(part: Any) -> str | None:
    return _text_or_none(_first(part, _THUMBNAIL), None) if isinstance(part, dict) else None


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ValueError(f"the answer: {expected('an object', body)}")
    return body


def _short(value: Any, length: int) -> str:
    return short_text(value, length) if isinstance(value, str) else ""


# --- status texts and names --------------------------------------------------------------------------

_STATUS_WORDS: Mapping[str, LookStatus] = {
    "pending": LookStatus.PENDING,
    "processing": LookStatus.PROCESSING,
    "completed": LookStatus.READY,
    "ready": LookStatus.READY,
    "failed": LookStatus.FAILED,
    "error": LookStatus.FAILED,
}


def look_status(word: str) -> LookStatus:
    """The status for a status text of the API, in either vocabulary and any case; else UNRECOGNIZED."""
    return _STATUS_WORDS.get(word) or _STATUS_WORDS.get(word.strip().lower(), LookStatus.UNRECOGNIZED)


def _spelled(*names: str) -> tuple[str, ...]:
    """The names, each also in camelCase, the preferred one first."""
    both = ((name, _camel(name)) for name in names)
    return tuple(dict.fromkeys(name for pair in both for name in pair))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


_AVATAR_ID = _spelled("avatar_id")
_LOOK_ID = _spelled("look_id")
_EITHER_LOOK_ID = _spelled("look_id", "id")
_THUMBNAIL = _spelled("thumbnail_url", "thumbnail")
_PREVIEW = _spelled("preview_url", "preview")
_ERROR_MESSAGE = _spelled("error_message")

_SHARED = ("gender", "age_range", "ethnicity", "hair_color")
_LOOK_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    **{name: _spelled(name) for name in (*_SHARED, "avatar_name", "place", "accessories", "action")},
    **{name: _spelled(name) for name in ("status", "emotion", "selfie", "format", "model_available")},
    "name": _spelled("look_name", "name"),
    "thumbnail_url": _THUMBNAIL,
    "preview_url": _PREVIEW,
    "error_message": _ERROR_MESSAGE,
}
_AVATAR_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    **{name: _spelled(name) for name in (*_SHARED, "name", "age", "created_at")},
    "id": _spelled("id", "avatar_id"),
    "thumbnail_url": _THUMBNAIL,
}


def _look_fields(look: Any, avatar_id: str | None = None, look_id: str | None = None) -> Any:
    """A look's fields in one spelling; where it has no ids, they are the given ones.

    Anything but an object is returned unchanged: the converter reports its place.
    """
    if not isinstance(look, dict):
        return look
    named = {"avatar_id": _first(look, _AVATAR_ID), "look_id": _first(look, _EITHER_LOOK_ID)}
    ref = {"avatar_id": avatar_id, "look_id": look_id, **_without_none(named)}
    return {**_known_fields(look, _LOOK_SPELLINGS), "ref": ref}


def _known_fields(answer: Mapping[str, Any], spellings: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The fields that the models have, in one spelling, with the answer itself as ``raw``."""
    found = {name: _first(answer, names) for name, names in spellings.items()}
    return {**_without_none(found), "raw": answer}


def _first(answer: Mapping[str, Any], spellings: Iterable[str]) -> Any:
    for name in spellings:
        value = answer.get(name)
        if value is not None:
            return value
    return None


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


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
    """A hook for objects of which only the strict fields must be right; any other is None if it is not."""
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


# --- headers ----------------------------------------------------------------------------------

_MAX_PAUSE = 3600.0  # seconds


def server_quota(headers: Mapping[str, str], utc_now: datetime | None = None) -> ServerQuota | None:
    """What the quota headers say; None where there are none that make sense.

    The reset is counted from the answer's own ``Date``, which the same clock made, or from ``utc_now`` where
    there is none.
    """
    limit = _whole_number(headers.get("x-ratelimit-limit"))
    remaining = _whole_number(headers.get("x-ratelimit-remaining"))
    resets_in = _resets_in(headers, utc_now)
    if limit == 0:
        limit = None  # a limit of 0 would stop every request for good
    if limit is None and remaining is None and resets_in is None:
        return None
    return ServerQuota(limit, remaining, resets_in)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of ``Retry-After``, an hour at most; None where it is missing or makes no sense.

    A date is counted from the answer's own ``Date``.
    """
    text = headers.get("retry-after", "").strip()
    seconds = _seconds(text)
    if seconds is None:
        until, now = _posix(text), _now(headers, None)
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
    # The window is one minute long: a reset that is hours away has another unit or comes from another clock
    return max(seconds, 0.0) if abs(seconds) <= _MAX_PAUSE else None


def _whole_number(text: str | None) -> int | None:
    text = text.strip() if text else ""
    return int(text) if _is_digits(text) and len(text) <= 9 else None


def _seconds(text: str) -> float | None:
    """A number that is not negative."""
    if not _is_digits(text) and not re.fullmatch(r"[0-9]+\.[0-9]*", text):
        return None
    seconds = float(text)
    return seconds if math.isfinite(seconds) else _MAX_PAUSE


def _is_digits(text: str) -> bool:
    # int() and float() alone would accept ``nan``, ``1_0``, ``-1`` and digits of other scripts
    return text.isdecimal() and text.isascii()


def _now(headers: Mapping[str, str], utc_now: datetime | None) -> float | None:
    """The answer's own time, in seconds since 1970."""
    now = _posix(headers.get("date"))
    return utc_now.timestamp() if now is None and utc_now is not None else now


@functools.lru_cache(maxsize=4)  # parsing takes 15 µs, and the answers of one second have the same date
def _posix(text: str | None) -> float | None:
    """An HTTP date, in seconds since 1970."""
    if not text:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()


# --- refusals: from several forms of JSON, or a proxy's HTML -------------------------------------

_MAX_MESSAGE = 300
_MAX_DETAILS = 50
_MAX_CODE = 100
_READ_AS_TEXT = 4096  # bytes of a body that is not JSON: enough for a sentence, cheap to search

_TAG = r"<[^>]*(?:>|$)"
_INVISIBLE = r"(?is)<(script|style|head)\b.*?(?:</\1\s*>|$)"
_HTML = r"<[A-Za-z!/]"
_CODE = r"[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+"


class Refused(NamedTuple):
    """A refusal in the API's own words. ``code`` is in the case of letters in which it came."""

    code: str | None
    message: str
    details: tuple[Any, ...] = ()


def read_refusal(body: bytes) -> Refused:
    """What the body of a refusal says. It never raises: anything but a JSON object is read as text."""
    try:
        answer = parse_json(body)
    except ValueError:
        return Refused(None, body_text(body))
    if not isinstance(answer, dict):
        return Refused(None, body_text(body))
    details = _details(answer)
    inner = answer.get("error")
    if isinstance(inner, Mapping):  # {"error": {"code", "message"}}, as a failed look has it
        answer = {**answer, **inner}
        inner = None
    said = _first_text(inner, answer.get("message"), answer.get("detail"))
    code = _code(answer) or next((code for d in details if (code := _code(d))), None)
    if code is None and re.fullmatch(_CODE, said):
        code = said
    message = ": ".join(part for part in (said, _text_of_details(details)) if part)
    return Refused(code and short_text(code, _MAX_CODE), short_text(message) or "no reason given", details)


def body_text(body: bytes) -> str:
    """A short text for a body of any kind, without markup. Only the beginning of the body is read."""
    text = body[:_READ_AS_TEXT].decode("utf-8", "replace")
    if re.search(_HTML, text):
        title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
        seen = re.sub(_TAG, " ", html.unescape(re.sub(_TAG, " ", re.sub(_INVISIBLE, " ", text))))
        text = seen if seen.strip() or not title else re.sub(_TAG, " ", html.unescape(title[1]))
    if text.count("\ufffd") * 4 > len(text):
        text = ""
    return short_text(text) or ("an empty body" if not body else f"{len(body)} bytes that are no text")


def short_text(text: str, length: int = _MAX_MESSAGE) -> str:
    """The text in one line of at most ``length``, without control characters and lone surrogates."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * length]).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _details(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    details = answer.get("details")
    if details is None:
        return ()
    return tuple(details[:_MAX_DETAILS]) if isinstance(details, list) else (details,)


def _text_of_details(details: tuple[Any, ...]) -> str:
    """The messages of the details, with their fields: ``"prompt: is required; style: unknown"``."""
    said = []
    for detail in details:
        message = detail if isinstance(detail, str) else _first_text(_get(detail, "message"))
        field = _first_text(_get(detail, "field"))
        said.append(": ".join(part for part in (field, message) if part))
    return "; ".join(part for part in said if part)


def _code(part: Any) -> str | None:
    return _first_text(_get(part, "code")) or None


def _get(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, Mapping) else None


def _first_text(*values: Any) -> str:
    return next((value for value in values if isinstance(value, str) and value.strip()), "")
