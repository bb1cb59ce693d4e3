"""Gives a test's sandboxes forms that are drawn at random, where the test does not choose them itself.

    HOOX_TEST_FORMS=1 python -m pytest tests/session

The number is the seed; each test draws forms of its own from it and its name, and a failed one shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from random import Random
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from hoox_async.sandbox import AnswerForms, DeliveryOptions, Space

_OF_SPACE = ("quota", "vocabulary", "list_pending", "retry_after")
_NOT_PROMISED = {"images": {"images"}}
"""Forms under which the library fails, as `check --conformance` says: values that are never drawn."""


def draw_forms(monkeypatch: pytest.MonkeyPatch, seed: str, test: str) -> dict[str, Any]:
    """Let the options of this test's sandboxes default to drawn forms. Returns what was drawn."""
    rng = Random(f"{seed} {test}")
    drawn: dict[str, Any] = {}
    for kind, names in ((AnswerForms, None), (DeliveryOptions, ("form",)), (Space, _OF_SPACE)):
        hints = get_type_hints(kind.__init__ if kind is Space else kind)
        chosen = {
            name: rng.choice(choices)
            for name, hint in hints.items()
            if (names is None or name in names) and (choices := _choices(name, hint))
        }
        monkeypatch.setattr(kind, "__init__", _with_defaults(kind, chosen))
        drawn |= chosen
    return drawn


def _choices(name: str, hint: Any) -> list[Any]:
    if hint is bool:
        return [False, True]
    values = get_args(hint) if get_origin(hint) is Literal else ()
    return [value for value in values if value not in _NOT_PROMISED.get(name, ())]


def _with_defaults(kind: type, drawn: Mapping[str, Any]) -> Callable[..., None]:
    """The initializer of a class of options with other defaults: what a test names stays as it is.

    A `Sandbox` hands on every option to its `Space`, so that there a default counts as not named.
    """
    init: Callable[..., None] = kind.__init__  # type: ignore[misc]
    defaults = {name: parameter.default for name, parameter in signature(init).parameters.items()}

    @wraps(init)
    def initialize(self: Any, *given: Any, **options: Any) -> None:
        named = {*tuple(defaults)[1 : 1 + len(given)], *options}
        if kind is Space:
            named -= {name for name, value in options.items() if value == defaults[name]}
        init(self, *given, **{**options, **{n: value for n, value in drawn.items() if n not in named}})

    return initialize
