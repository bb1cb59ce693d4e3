"""Checks the options of the sandbox when they are given. An error names option, value and what is right.

A wrong word would else be taken for the default, and a test would prove something about another server.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Literal, get_args, get_origin, get_type_hints

from ..errors import ConfigurationError


def invalid_option(name: str, value: object, expected: str) -> ConfigurationError:
    """The error for an option that is not usable."""
    return ConfigurationError(f"{name}: {value!r} is not usable; expected {expected}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise `ConfigurationError` unless it is one of these values, and of the same type."""
    known = tuple(choices)
    if not any(type(value) is type(choice) and value == choice for choice in known):
        raise invalid_option(name, value, "one of " + ", ".join(map(repr, known)))


def check_flag(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless it is True or False."""
    if not isinstance(value, bool):
        raise invalid_option(name, value, "True or False")


def check_number(name: str, value: object, *, most: float = math.inf, above: bool = False) -> None:
    """Raise `ConfigurationError` unless it is from 0 to ``most``, and finite; ``above``: not 0 itself."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not usable or not 0 <= value <= most or (above and value == 0):  # type: ignore[operator]
        start = "above 0" if above else "of 0 or more"
        expected = f"from 0 to {most:g}" if math.isfinite(most) else start
        raise invalid_option(name, value, f"a number {expected}")


def check_whole(name: str, value: object, *, least: int, most: int | None = None) -> None:
    """Raise `ConfigurationError` unless it is a whole number in this range."""
    usable = isinstance(value, int) and not isinstance(value, bool)
    if not usable or value < least or (most is not None and value > most):  # type: ignore[operator]
        expected = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise invalid_option(name, value, f"a whole number {expected}")


def check_credits(value: object) -> Decimal:
    """The credits. Raises `ConfigurationError` unless they are a finite decimal number, 0 or more."""
    try:
        credits = Decimal(value) if isinstance(value, Decimal | int | str) else None
    except InvalidOperation:
        credits = None
    if credits is None or isinstance(value, bool) or not credits.is_finite() or credits < 0:
        raise invalid_option("credits", value, "a Decimal, a whole number or the text of a number, 0 or more")
    return credits


def check_words(options: object) -> None:
    """Check the fields of an options class whose type is a `Literal` or a flag."""
    owner = type(options)
    for name, kind in get_type_hints(owner).items():
        if get_origin(kind) is Literal:
            check_choice(f"{owner.__name__}.{name}", getattr(options, name), get_args(kind))
        elif kind is bool:
            check_flag(f"{owner.__name__}.{name}", getattr(options, name))
