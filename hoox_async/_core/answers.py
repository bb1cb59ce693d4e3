"""The API's answers, read into values.

The API's pages disagree on spellings (``thumbnail`` or ``thumbnail_url``, ``id`` or ``look_id``);
whatever comes is read. Ids, statuses and lists of looks must be right. A merely descriptive field of a
surprising type becomes None and stays in ``raw``: it must not cost a paid look.

Everything here raises `ValueError`, with the place in the JSON, for what can't be read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from .codec import failure, look_status
from .models import Avatar, Look, LookDetails, LookRef, LookStatus
from .strict import complaint, expected, read_id, strict_converter


def accepted_ref(body: Any, source: LookRef | None) -> LookRef:
    """The ref in the answer to a POST. An edit's look belongs to the source's avatar where none is named.

    An answer that names an edit's own source is no answer: taken at its word, the old picture would
    pass for the new one.
    """
    answer = _object(body, "the answer")
    avatar_id = _first(answer, _AVATAR_ID)
    if avatar_id is None and source is not None:
        avatar_id = source.avatar_id
    ref: LookRef = _read({"avatar_id": avatar_id, "look_id": _first(answer, _LOOK_ID)}, LookRef)
    if source is not None and ref.look_id == source.look_id:
        raise ValueError("it names the source look, not a new one")
    return ref


def status_look(body: Any, ref: LookRef) -> Look:
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


def avatar(body: Any, avatar_id: str) -> Avatar:
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
    found: Avatar = _read({**fields, "looks": looks}, Avatar)
    return found


def details(body: Any, ref: LookRef) -> LookDetails:
    """The answer to ``GET /avatar/{id}/look/{id}``. Raises `ValueError` for another look's."""
    answer = _object(body, "the answer")
    found: LookDetails = _read(_look_fields(answer, ref.avatar_id, ref.look_id), LookDetails)
    if found.ref != ref:
        raise ValueError(f"it tells of another look than {ref}")
    return found


def looks(body: Any) -> tuple[LookDetails, ...]:
    """The answer to ``GET /avatar/list``."""
    if not isinstance(body, list):
        raise expected("a list of looks", body)
    found: tuple[LookDetails, ...] = _read([_look_fields(look) for look in body], tuple[LookDetails, ...])
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


def _read(value: Any, kind: Any) -> Any:
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
