"""What a store writes, as JSON text: intents with their requests, and deliveries.

A record has a version ``v`` and the fields of the value, of which those that are None or empty are left out.
A request also has its ``type``. Reading is strict. Anything that this module would not have written is
damage, and raises a `StoreError` that says what is wrong and where: records of money are never guessed. Only
a store that is shared by processes of several versions reads records with fields of a newer version
(``newer=True``), and keeps these (`rewrite`).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from ..._api.converter import complaint, enum_hook, expected, parse_json, strict_converter
from ..._api.models import Look, LookRef, LookStatus
from ..._api.requests import (
    Format,
    ImageAvatar,
    KnownRequest,
    LookEdit,
    PromptAvatar,
    PrunedRequest,
    Resolution,
    Style,
)
from ..._api.webhook_payloads import Delivery
from ...errors import StoreError
from ..webhook_tokens import without_tokens
from .intent import Attempt, Evidence, Intent, IntentState

VERSION = 1
_KINDS = (PromptAvatar.KIND, ImageAvatar.KIND, LookEdit.KIND)  # that a user can choose
_REQUESTS: Mapping[str, type[Any]] = {
    kind.KIND: kind for kind in (PromptAvatar, ImageAvatar, LookEdit, PrunedRequest)
}
_MAX_DEPTH = 32


def dump_intent(intent: Intent) -> str:
    """The whole intent as a record. The API's raw answer is in it, without webhook URLs and tokens.

    The request keeps the user's own ``webhook_url``, since it may be sent again from the record.
    """
    return _dump(intent, Intent, "intent")


def load_intent(text: str, *, newer: bool = False) -> Intent:
    """The intent of a record. Raises `StoreError` for a damaged one.

    ``newer``: ignore fields that this version does not know.
    """
    loaded: Intent = _load(text, Intent, "intent", newer=newer)
    return loaded


def rewrite(old_text: str, intent: Intent) -> str:
    """The intent as a record, with all fields of its old record that this version does not know.

    Such a field stays with what it was written for: an attempt, a look, a request and so on. It is left out
    where that is not in the intent any more. Raises `StoreError` for a damaged old record.
    """
    old = _fields(old_text, "intent")
    new = _fields(dump_intent(intent), "intent")
    return json.dumps({"v": VERSION, **_rewritten(new, old)}, separators=(",", ":"), allow_nan=False)


def text_of_source(avatar_id: str) -> str:
    """The text that is in the record of every intent that edits a look of this avatar, and in no other's."""
    return f'"source":{{"avatar_id":{json.dumps(avatar_id)},'


def dump_delivery(delivery: Delivery) -> str:
    """The delivery as a record."""
    return _dump(delivery, Delivery, "delivery")


def load_delivery(text: str) -> Delivery:
    """The delivery of a record. Raises `StoreError` for a damaged one."""
    loaded: Delivery = _load(text, Delivery, "delivery")
    return loaded


def _dump(value: Any, kind: Any, name: str) -> str:
    try:
        fields = _converter().unstructure(value, kind)
        return json.dumps({"v": VERSION, **fields}, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise StoreError(f"this {name} cannot be written: {error}") from None


def _load(text: str, kind: Any, name: str, *, newer: bool = False) -> Any:
    fields = _fields(text, name)
    try:
        return _converter().structure(_known_part(fields, kind) if newer else fields, kind)
    except (cattrs.BaseValidationError, ValueError, TypeError) as error:
        reason = complaint(error) if isinstance(error, cattrs.BaseValidationError) else str(error)
        raise StoreError(f"a stored {name} is damaged: {reason}") from None


def _fields(text: str, name: str) -> dict[str, Any]:
    """The fields of a record, without its version."""
    try:
        fields = parse_json(text)
        if not isinstance(fields, dict):
            raise expected("an object", fields)
        version = fields.pop("v", None)
        if version != VERSION or isinstance(version, bool):
            raise ValueError(f"its version is {str(version)[:20]!r}, and only {VERSION} can be read here")
    except (ValueError, TypeError) as error:
        raise StoreError(f"a stored {name} is damaged: {error}") from None
    return fields


# --- fields of a newer version ----------------------------------------------------------------


def _rewritten(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The fields of an intent, each with what is unknown in its old record.

    Between the two records a round may have begun, so that the old intent is the previous one now, or the
    previous intent may have been restored.
    """
    before, old_before = new.pop("previous", None), old.get("previous", old)
    is_same_round = _attempt_ids(new) == _attempt_ids(old)
    if not is_same_round and _attempt_ids(new) == _attempt_ids(old_before):
        old = old_before
    old_round = {name: field for name, field in old.items() if name != "previous"}
    merged = {**_with_unknown(new, old_round, Intent)}
    if before is not None:
        began = not is_same_round and _attempt_ids(before) == _attempt_ids(old)
        merged["previous"] = _rewritten(before, old if began else old_before)
    return merged


def _attempt_ids(fields: dict[str, Any]) -> list[Any]:
    return [attempt["id"] for attempt in fields.get("attempts", ())]


def _with_unknown(new: Any, old: Any, hint: Any) -> Any:
    """The new value, with the fields of the old one that this version does not know."""
    if isinstance(new, list) and isinstance(old, list):
        return [_with_unknown(each, _counterpart(each, old, hint), hint) for each in new]
    kind = _class_of(hint, new)
    if kind is None or not isinstance(new, dict) or not isinstance(old, dict):
        return new
    known = _hints_of(kind)
    merged: dict[str, Any] = {
        name: _with_unknown(field, _counterpart(field, [old.get(name)], known[name]), known[name])
        for name, field in new.items()
    }
    return merged | {name: field for name, field in old.items() if name not in known}


def _counterpart(new: Any, candidates: list[Any], hint: Any) -> Any:
    """The old value that describes the same thing as the new one; None where there is none."""
    if isinstance(new, list):
        return candidates[0]
    wanted = _identity(new, hint)
    return next((old for old in candidates if _identity(old, hint) == wanted), None)


def _identity(value: Any, hint: Any) -> Any:
    """What a value is the description of: an attempt's id, a look's ref, and else all that is known of it."""
    kind, known = _class_of(hint, value), _known_part(value, hint)
    names = {Attempt: "id", Look: "ref"}
    return known.get(names[kind]) if kind in names else known


def _known_part(value: Any, hint: Any) -> Any:
    """The value without the fields that this version does not know."""
    if isinstance(value, list):
        return [_known_part(each, hint) for each in value]
    kind = _class_of(hint, value)
    if kind is None:
        return value
    known = _hints_of(kind)
    return {name: _known_part(field, known[name]) for name, field in value.items() if name in known}


def _class_of(hint: Any, value: Any) -> Any:
    """The class of an object in a record, by the type of its field; None for plain values and free JSON."""
    if not isinstance(value, dict):
        return None
    classes = [kind for kind in _leaves(hint) if isinstance(kind, type) and attrs.has(kind)]
    if len(classes) > 1:
        return _REQUESTS.get(str(value.get("type")))
    return classes[0] if classes else None


def _leaves(hint: Any) -> list[Any]:
    inner = get_args(hint)
    return [leaf for each in inner for leaf in _leaves(each)] if inner else [hint]


@functools.cache
def _hints_of(kind: Any) -> Mapping[str, Any]:
    """The types of a class's fields, by their names in the record."""
    attrs.resolve_types(kind)
    hints = {field.name: field.type for field in attrs.fields(kind)}
    return {"type": str, **hints} if kind in _REQUESTS.values() else hints


# --- the converter ----------------------------------------------------------------------------


@functools.cache
def _converter() -> cattrs.Converter:
    converter = strict_converter(forbid_extra_keys=True)
    for kind in (Style, Format, Resolution, LookStatus, IntentState, Evidence):
        converter.register_structure_hook(kind, enum_hook(kind))
    converter.register_structure_hook(Decimal, _read_credits)
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(datetime, _read_moment)
    converter.register_unstructure_hook(datetime, _moment_text)
    converter.register_structure_hook_factory(attrs.has, lambda kind: _class_reader(kind, converter))
    converter.register_unstructure_hook_factory(attrs.has, lambda kind: _class_writer(kind, converter))
    converter.register_structure_hook(LookRef | str, lambda value, _: _read_source(value, converter))
    converter.register_structure_hook(KnownRequest, lambda value, _: _read_request(value, converter))
    converter.register_unstructure_hook(
        KnownRequest, lambda value: {"type": value.KIND, **converter.unstructure(value, type(value))}
    )
    return converter


def _class_writer(kind: type[Any], converter: cattrs.Converter) -> Callable[[Any], dict[str, Any]]:
    """A hook that writes the fields that are set, and those that may not be missing.

    ``extra`` is the user's JSON and is written as it is; ``raw`` is the API's and is cleaned.
    """
    free = {"raw": override(unstruct_hook=_cleaned), "extra": override(unstruct_hook=_as_it_is)}
    attrs.resolve_types(kind)
    own: dict[str, Any] = {field.name: free[field.name] for field in attrs.fields(kind) if field.name in free}
    write = make_dict_unstructure_fn(kind, converter, **own)
    optional = _may_be_missing(kind)

    def hook(value: Any) -> dict[str, Any]:
        fields = write(value).items()
        return {name: field for name, field in fields if name not in optional or not _is_empty(field)}

    return hook


def _class_reader(kind: type[Any], converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """A hook that reads what `_class_writer` wrote. Only fields that are empty by default may be missing.

    A default with a meaning, such as a resolution, which has a price, is always written: a record without it
    is damaged.
    """
    attrs.resolve_types(kind)
    structure = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
    optional = _may_be_missing(kind)
    needed = [field.name for field in attrs.fields(kind) if field.name not in optional]

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise expected("an object", value)
        missing = [name for name in needed if name not in value]
        if missing:
            raise ValueError(f"{', '.join(missing)} is missing")
        return structure(value, kind)

    return hook


def _may_be_missing(kind: type[Any]) -> frozenset[str]:
    """The names of the fields that are None or empty by default."""
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(kind)
    empty = (field for field in fields if _is_empty(field.default) or field.default == attrs.Factory(dict))
    return frozenset(field.name for field in empty)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple | Mapping) and not value)


def _read_request(value: Any, converter: cattrs.Converter) -> Any:
    if not isinstance(value, dict):
        raise expected("an object", value)
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _REQUESTS:
        raise ValueError(f"type: expected one of {', '.join(_KINDS)}")
    fields = {name: field for name, field in value.items() if name != "type"}
    return converter.structure(fields, _REQUESTS[kind])


def _read_source(value: Any, converter: cattrs.Converter) -> LookRef | str:
    return value if isinstance(value, str) else converter.structure(value, LookRef)


def _read_credits(value: Any, _: Any) -> Decimal:
    try:
        credits = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        credits = None
    if credits is None or not credits.is_finite() or credits < 0:
        raise ValueError("expected credits, a number as text")
    return credits


def _read_moment(value: Any, _: Any) -> datetime:
    if not isinstance(value, str):
        raise expected("a moment in UTC", value)
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("expected a moment in UTC, got one without a time zone")
    return moment.astimezone(UTC)


def _moment_text(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).isoformat()


def _as_it_is(value: Any) -> Any:
    return value


def _cleaned(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """An API answer fit for a store: no webhook URLs or tokens, no NaN, nothing too deep to be read back."""
    if isinstance(value, str):
        return without_tokens(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth == 0:
        return None
    if isinstance(value, Mapping):
        named = ((str(name), inner) for name, inner in value.items())
        return {name: _cleaned(inner, depth - 1) for name, inner in named if "webhook" not in name.lower()}
    return [_cleaned(inner, depth - 1) for inner in value] if isinstance(value, list | tuple) else None
