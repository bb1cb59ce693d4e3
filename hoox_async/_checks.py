"""Checks of the values that users give: one for each kind of value, used by every call and every option.

`argument` is for the parameters of a call and the fields of a request, and raises `InvalidRequest`. `option`
is for what an object is made with, and raises `ConfigurationError`. Both name the parameter, the value, and
what would be right.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from numbers import Real
from types import UnionType
from typing import Any, Final, TypeGuard, TypeVar
from urllib.parse import SplitResult, urlsplit

from .errors import ConfigurationError, HooxError, InvalidRequest

_T = TypeVar("_T")
_LARGEST: Final = 2**63 - 1  # what every store can hold
_LONGEST_NAME: Final = 200  # characters


class Checks:
    """The checks, with the ``error`` that they raise: it is made of name, value, and what would be right.

    Each check returns the value as the library uses it.
    """

    def __init__(self, error: Callable[[str, object, str], HooxError]) -> None:
        self.error = error

    def flag(self, name: str, value: object) -> bool:
        """True or False, and nothing that only counts as one."""
        if not isinstance(value, bool):
            raise self.error(name, value, "True or False")
        return value

    def choice(self, name: str, value: object, choices: Iterable[_T]) -> _T:
        """The one of ``choices`` that is equal to the value: also the member of an enum that has its word."""
        known = tuple(choices)
        for one in known:
            if isinstance(value, str if isinstance(one, str) else type(one)) and value == one:
                return one
        raise self.error(name, value, "one of " + ", ".join(map(str, known)))

    def instance(self, name: str, value: Any, kind: type | UnionType, expected: str) -> Any:
        """An object of this class."""
        if not isinstance(value, kind):
            raise self.error(name, value, expected)
        return value

    def function(self, name: str, value: object, expected: str) -> Any:
        """Something that can be called."""
        if not callable(value):
            raise self.error(name, value, expected)
        return value

    # --- numbers

    def whole(self, name: str, value: object, *, least: int, most: int = _LARGEST) -> int:
        """A whole number in this range."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or not least <= value <= most:  # type: ignore[operator]
            has_bound = most < _LARGEST or (is_whole and value > most)  # type: ignore[operator]
            expected = f"from {least} to {most}" if has_bound else f"of {least} or more"
            raise self.error(name, value, f"a whole number {expected}")
        return value  # type: ignore[return-value]

    def number(self, name: str, value: object, *, most: float = math.inf, above: bool = False) -> float:
        """A finite number from 0 to ``most``; ``above``: not 0 itself."""
        number = _as_float(value)
        if not 0 <= number <= most or number == math.inf or (above and number == 0):
            expected = "above 0" if above else "of 0 or more"
            if math.isfinite(most):
                expected = f"above 0 and up to {most:g}" if above else f"from 0 to {most:g}"
            raise self.error(name, value, f"a number {expected}")
        return number

    def seconds(self, name: str, value: object, *, endless: bool = False) -> float:
        """A number of seconds above 0; only where it is ``endless`` may it be infinite."""
        number = _as_float(value)
        if not number > 0 or (number == math.inf and not endless):
            raise self.error(name, value, "a number of seconds above 0" + ("" if endless else ", and finite"))
        return number

    def wait(self, name: str, value: object) -> float | None:
        """How long a caller waits at most, in seconds; None where there is no limit.

        Infinity is no limit either, and a number below 0 becomes 0.
        """
        number = math.inf if value is None else _as_float(value)
        if math.isnan(number):
            raise self.error(name, value, "a number of seconds, or None for no limit")
        return None if number == math.inf else max(number, 0.0)

    def credits(self, name: str, value: object) -> Decimal:
        """A number of credits, 0 or more: of any numeric type, or its text."""
        credits = Decimal("NaN")
        if not isinstance(value, bool) and isinstance(value, Decimal | Real | str):
            with suppress(ArithmeticError, ValueError):  # the latter for too many digits
                credits = value if isinstance(value, Decimal) else Decimal(str(value))
        if not credits.is_finite() or credits < 0:
            raise self.error(name, value, "a number of credits, 0 or more")
        return credits

    # --- texts

    def text(self, name: str, value: object) -> str:
        """Any text that is not blank."""
        if not _is_text(value):
            raise self.error(name, value, "text that is not empty")
        return value

    def each(self, name: str, value: Any, kind: type[_T], expected: str) -> tuple[_T, ...]:
        """Any iterable of objects of this class."""
        if isinstance(value, Iterable):
            given = tuple(value)
            if all(isinstance(one, kind) for one in given):
                return given
        raise self.error(name, value, expected)

    def texts(self, name: str, value: object) -> tuple[str, ...]:
        """Texts that are not blank. One text alone is none: its letters would be taken for them."""
        if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
            given = tuple(value)
            if all(map(_is_text, given)):
                return given
        raise self.error(name, value, "a list of texts that are not empty")

    def name(self, name: str, value: object, *, of: str) -> str:
        """The name of a workspace or a budget, which every store can hold."""
        if not is_name(value) or len(value) > _LONGEST_NAME:
            raise self.error(name, value, f"the name of a {of}, a text of 1 to {_LONGEST_NAME} characters")
        return value

    def path(self, name: str, value: object, expected: str = "the path of a file") -> str:
        """A path that a file system can have, whether or not there is such a file."""
        with suppress(TypeError, UnicodeEncodeError):  # a path of bytes; a lone surrogate
            text = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
            if isinstance(text, str) and text.strip() and b"\0" not in os.fsencode(text):
                return text
        raise self.error(name, value, expected)


def _option_error(name: str, value: object, expected: str) -> ConfigurationError:
    return ConfigurationError(str(InvalidRequest(name, value, expected)))


argument: Final = Checks(InvalidRequest)
option: Final = Checks(_option_error)


def is_name(text: object) -> TypeGuard[str]:
    """Whether this is a text that is not blank, and that every store can hold as it is."""
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def http_parts(url: object) -> SplitResult | None:
    """The parts of an http(s) URL without white space; None for anything else."""
    if not isinstance(url, str) or any(c.isspace() for c in url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def _as_float(value: object) -> float:
    """The number; NaN for what is none, and for a whole number that no float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
