"""Immutable JSON values: the metadata and the extra fields of a request, copied when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from ..errors import InvalidRequest

_V = TypeVar("_V")
_MAX_DEPTH = 100
# Python's default limit for turning a number into text: beyond it, neither body nor record can be written.
_MAX_DIGITS = 4300


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("this mapping belongs to a frozen request and cannot be changed")


_REFUSE: Any = _refuse


class FrozenDict(dict[str, _V]):
    """A dict that cannot be changed. It equals, prints and serializes as a plain dict does."""

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = _REFUSE
    clear = pop = popitem = setdefault = update = _REFUSE

    def __copy__(self) -> FrozenDict[_V]:
        return self

    copy = __copy__

    def __deepcopy__(self, _: object) -> FrozenDict[_V]:
        return self

    def __reduce__(self) -> tuple[type[FrozenDict[_V]], tuple[dict[str, _V]]]:
        return FrozenDict, (dict(self),)


_EMPTY: FrozenDict[Any] = FrozenDict()


def frozen(value: Mapping[str, _V]) -> FrozenDict[_V]:
    """An immutable copy of a mapping whose values are immutable themselves."""
    if isinstance(value, FrozenDict):
        return value
    return FrozenDict(value) if value else _EMPTY


def frozen_json(field: str, value: Mapping[str, Any]) -> FrozenDict[Any]:
    """An immutable copy of a JSON object, lists as tuples.

    Raises `InvalidRequest`, with the place below ``field``, for what JSON cannot hold: a name that is no
    text, NaN, bytes, a whole number of more than 4,300 digits, or values nested deeper than 100 levels.
    """
    if isinstance(value, FrozenDict):
        return value
    return _frozen_object(field, value, _MAX_DEPTH) if value else _EMPTY


def _frozen_object(field: str, value: Mapping[Any, Any], depth: int) -> FrozenDict[Any]:
    fields = {}
    for name, inner in value.items():
        if not isinstance(name, str):
            raise InvalidRequest(field, name, "text as the name of a field")
        fields[str.__str__(name)] = _frozen_value(f"{field}.{name}", inner, depth - 1)
    return FrozenDict(fields)


def _frozen_value(field: str, value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return str.__str__(value)  # the plain text of an enum or of another subclass
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and _has_few_digits(value):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, Mapping | list | tuple):
        if depth == 0:
            top = field.partition(".")[0]
            raise InvalidRequest(
                top, f"a value nested deeper than {_MAX_DEPTH} levels", "a JSON value less deep"
            )
        if isinstance(value, Mapping):
            return _frozen_object(field, value, depth)
        return tuple(_frozen_value(f"{field}[{i}]", inner, depth - 1) for i, inner in enumerate(value))
    raise InvalidRequest(field, value, "a JSON value")


def _has_few_digits(number: int) -> bool:
    if number.bit_length() > 4 * _MAX_DIGITS:  # writing a much longer one could take minutes
        return False
    try:
        return len(str(number).lstrip("-")) <= _MAX_DIGITS
    except ValueError:  # this interpreter's limit is set lower
        return False
