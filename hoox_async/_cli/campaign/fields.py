"""Turns the fields of one table or row into a request, and records every problem."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from hoox_async import ImageAvatar, InvalidRequest, LookEdit, PromptAvatar

from ..request_fields import fields_of, is_list
from .problems import ProblemList

_Request = PromptAvatar | ImageAvatar | LookEdit


_ALL = {field.name: field for kind in (PromptAvatar, ImageAvatar, LookEdit) for field in fields_of(kind)}
LISTS = frozenset(name for name, field in _ALL.items() if is_list(field))
TEXTS = tuple(
    name
    for name, field in _ALL.items()
    if name != "webhook_url" and (name in LISTS or field.type in (str, str | None))
)
"""Every field whose texts may hold variables."""
_CHOICES: Mapping[str, tuple[str, ...]] = {name: field.metadata["choices"] for name, field in _ALL.items()}


class RawFields(NamedTuple):
    """The unchecked fields of one table or row, and how to find their lines."""

    name: str
    """The table's name in messages, such as ``avatars[2]``; empty for a row."""
    values: Mapping[str, Any]
    line: int
    line_of: Callable[[str], int]

    def field(self, name: str) -> str:
        """A field's full name in messages."""
        return f"{self.name}.{name}" if self.name else name


class RequestKind(NamedTuple):
    """A kind of request: its class, its fields, the one it needs, and valid values for required fields.

    With ``valid_values`` a request can be made to check one other field by itself.
    """

    make: type[_Request]
    fields: tuple[str, ...]
    required: str
    valid_values: Mapping[str, Any]


def _kind(make: type[_Request], required: str, valid_values: Mapping[str, Any]) -> RequestKind:
    return RequestKind(make, tuple(field.name for field in fields_of(make)), required, valid_values)


PROMPT = _kind(PromptAvatar, "prompt", {"prompt": "x"})
IMAGES = _kind(ImageAvatar, "image_urls", {"image_urls": ("https://x.test/",)})
EDIT = _kind(LookEdit, "prompt", {"source": "x", "prompt": "x"})
_EXPECTED = {
    "prompt": "a prompt: what the picture should show",
    "image_urls": "at least one image URL",
}


def build(kind: RequestKind, raw: RawFields, problems: ProblemList, **given: Any) -> _Request | None:
    """The request made of these fields, or None if some of them have problems (all are recorded)."""
    before = len(problems.found)
    values = {name: raw.values[name] for name in kind.fields if name in raw.values}
    if kind.required not in values:
        problems.add(raw.line, raw.field(kind.required), None, _EXPECTED[kind.required])
    for name, value in values.items():
        _check(kind, raw, name, value, problems)
    if len(problems.found) > before:
        return None
    try:
        return kind.make(**{**given, **values})
    except InvalidRequest as error:  # a problem between fields that are valid one by one
        problems.add_error(raw.line_of(error.field), raw.field(error.field), error)
        return None


def check_only(kind: RequestKind, raw: RawFields, problems: ProblemList, fields: Iterable[str]) -> None:
    """Check those of these fields that are given, without making a request."""
    for name in fields:
        if name in raw.values:
            _check(kind, raw, name, raw.values[name], problems)


def check_names(raw: RawFields, known: Iterable[str], problems: ProblemList) -> None:
    """Record every field that is not known."""
    known = tuple(known)
    for name in raw.values:
        if name not in known:
            problems.add_unknown(raw.line_of(name), raw.field(name), known)


def _check(kind: RequestKind, raw: RawFields, name: str, value: Any, problems: ProblemList) -> None:
    if name in LISTS and isinstance(value, list) and value:
        # one by one, so that each wrong URL is reported
        for index, url in enumerate(value):
            _check_value(kind, raw, name, [url], f"{name}[{index + 1}]", problems)
        return
    _check_value(kind, raw, name, value, name, problems)


def _check_value(
    kind: RequestKind, raw: RawFields, name: str, value: Any, shown: str, problems: ProblemList
) -> None:
    """Check one field by making a request in which every other field is valid."""
    try:
        kind.make(**{**kind.valid_values, name: value})
    except InvalidRequest as error:
        problems.add_error(raw.line_of(name), raw.field(shown), error, _CHOICES.get(name, ()))
    except ValueError:  # a whole number with more digits than Python writes out
        problems.add(raw.line_of(name), raw.field(shown), value, "a value of a reasonable size")
