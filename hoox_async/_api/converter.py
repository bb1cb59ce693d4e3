"""The strict cattrs converter for the API's answers and for stored records.

Plain cattrs turns None into ``"None"`` and ``"false"`` into True. Here no value is coerced, and an error
message names the place in the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import Enum
from types import GenericAlias
from typing import Any, get_args, get_origin

import cattrs
from cattrs.cols import list_structure_factory

from .models import is_id

_MAX_COMPLAINTS = 3


def strict_converter(*, forbid_extra_keys: bool = False) -> cattrs.Converter:
    """A converter that reads text as str, numbers as int and float, booleans as bool, lists as tuples.

    Each enum needs its own hook: otherwise the hook of str would read it.
    """
    converter = cattrs.Converter(forbid_extra_keys=forbid_extra_keys)
    for kind, name in ((str, "text"), (int, "a whole number"), (bool, "true or false")):
        converter.register_structure_hook(kind, exactly(kind, name))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_factory(_is_tuple, lambda kind: _tuple_hook(kind, converter))
    return converter


def exactly(kind: type, name: str) -> Callable[[Any, Any], Any]:
    """A hook that accepts values of exactly this type. ``name`` is what an error message calls it."""

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise expected(name, value)
        return value

    return hook


def enum_hook(kind: type[Enum]) -> Callable[[Any, Any], Any]:
    """A hook that reads an enum by its exact value."""
    words = ", ".join(str(member.value) for member in kind)

    def hook(value: Any, _: Any) -> Any:
        try:
            return kind(value if isinstance(value, str) else None)
        except ValueError:
            raise ValueError(f"expected one of {words}") from None

    return hook


def expected(name: str, value: object) -> ValueError:
    """The error for a value of the wrong type. Its message names the type, never the value."""
    return ValueError(f"expected {name}, got {_KINDS.get(type(value), 'something else')}")


_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def read_id(payload: Mapping[str, Any], name: str) -> str:
    """An id that is safe to store and print (see `is_id`).

    Raises `ValueError` where there is none.
    """
    value = payload.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name}: {expected('an id', value)}")
    if not is_id(value):
        raise ValueError(f"{name}: expected an id, got text that cannot be one")
    return value


def complaint(error: BaseException) -> str:
    """A converter's errors, with their places: ``"expected text, got null @ $.looks[3].ref.look_id"``."""
    found = cattrs.transform_error(error, format_exception=_reason)
    more = f" (and {len(found) - _MAX_COMPLAINTS} more)" if len(found) > _MAX_COMPLAINTS else ""
    return "; ".join(found[:_MAX_COMPLAINTS]) + more


def parse_json(text: str | bytes) -> Any:
    """Any JSON value. Raises `ValueError`, and nothing else, for invalid input of any kind."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("neither UTF-8, UTF-16 nor UTF-32") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from None


def _reason(error: BaseException, _: type | None) -> str:
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return f"unknown fields: {', '.join(sorted(error.extra_fields))[:200]}"
    if isinstance(error, AttributeError):  # cattrs calls a method of a mapping on something else
        return "expected an object"
    return str(error) or "it cannot be read"


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise expected("a number", value)
    return float(value)


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


def _tuple_hook(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], tuple[Any, ...]]:
    of_list: Any = GenericAlias(list, (get_args(kind)[0],))
    as_list = list_structure_factory(of_list, converter)

    def hook(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise expected("a list", value)
        return tuple(as_list(value, of_list))

    return hook
