"""From the raw fields of one table or row to a request, every fault of it noted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, get_origin

import attrs

from hoox_async import Format, ImageAvatar, InvalidRequest, LookEdit, PromptAvatar, Resolution, Style

from .problems import Faults

_Request = PromptAvatar | ImageAvatar | LookEdit


def _fields(kind: type[_Request]) -> tuple[str, ...]:
    """The fields that a file can give a request, in the order of its class; an edit's source is apart."""
    fields = sorted(attrs.fields(kind), key=lambda field: field.inherited)
    return tuple(field.name for field in fields if field.name != "source")


def _lists(*kinds: type[_Request]) -> frozenset[str]:
    fields = (field for kind in kinds for field in attrs.fields(attrs.resolve_types(kind)))
    return frozenset(field.name for field in fields if get_origin(field.type) is tuple)


PROMPT_FIELDS = _fields(PromptAvatar)
IMAGE_FIELDS = _fields(ImageAvatar)
EDIT_FIELDS = _fields(LookEdit)
LISTS = _lists(PromptAvatar, ImageAvatar, LookEdit)
MISSING_PROMPT = "a prompt: what the picture shall show"

_CREATE_STYLES = tuple(style.value for style in Style if style is not Style.RAW)
_FORMATS = tuple(format.value for format in Format)
_RESOLUTIONS = tuple(resolution.value for resolution in Resolution)


class Raw(NamedTuple):
    """The fields of one table or row as they stand in the file, and how to find their lines."""

    name: str
    """How to speak of it, such as ``avatars[2]``; empty for a row."""
    values: Mapping[str, Any]
    line: int
    line_of: Callable[[str], int]

    def field(self, name: str) -> str:
        """A field's full name."""
        return f"{self.name}.{name}" if self.name else name


class Kind(NamedTuple):
    """A kind of request: its fields, and values that stand in for what it must have."""

    make: type[_Request]
    fields: tuple[str, ...]
    needed: str
    stand_in: Mapping[str, Any]


PROMPT = Kind(PromptAvatar, PROMPT_FIELDS, "prompt", {"prompt": "x"})
IMAGES = Kind(ImageAvatar, IMAGE_FIELDS, "image_urls", {"image_urls": ("https://x.test/",)})
EDIT = Kind(LookEdit, EDIT_FIELDS, "prompt", {"source": "x", "prompt": "x"})
_EXPECTED = {
    "prompt": MISSING_PROMPT,
    "image_urls": "at least one image URL",
}


def build(kind: Kind, raw: Raw, faults: Faults, **given: Any) -> _Request | None:
    """The request that these fields make, or None when some of them are wrong (all of them noted)."""
    before = len(faults.found)
    values = {name: raw.values[name] for name in kind.fields if name in raw.values}
    if kind.needed not in values:
        faults.add(raw.line, raw.field(kind.needed), None, _EXPECTED[kind.needed])
    for name, value in values.items():
        _check(kind, raw, name, value, faults)
    if len(faults.found) > before:
        return None
    try:
        return kind.make(**{**given, **values})
    except InvalidRequest as error:  # what only shows when the fields stand together
        faults.add_error(raw.line_of(error.field), raw.field(error.field), error)
        return None


def check_only(kind: Kind, raw: Raw, faults: Faults, fields: Iterable[str]) -> None:
    """Check the fields that are there, without making a request."""
    for name in fields:
        if name in raw.values:
            _check(kind, raw, name, raw.values[name], faults)


def check_names(raw: Raw, known: Iterable[str], faults: Faults) -> None:
    """Note every field that is not known here."""
    known = tuple(known)
    for name in raw.values:
        if name not in known:
            faults.add_unknown(raw.line_of(name), raw.field(name), known)


def _check(kind: Kind, raw: Raw, name: str, value: Any, faults: Faults) -> None:
    if name in LISTS and isinstance(value, list) and value:
        # one by one, so that each wrong URL is told
        for index, url in enumerate(value):
            _try(kind, raw, name, [url], f"{name}[{index + 1}]", faults)
        return
    _try(kind, raw, name, value, name, faults)


def _try(kind: Kind, raw: Raw, name: str, value: Any, shown: str, faults: Faults) -> None:
    """Ask the request itself about one field: a request of which everything else is right."""
    try:
        kind.make(**{**kind.stand_in, name: value})
    except InvalidRequest as error:
        faults.add_error(raw.line_of(name), raw.field(shown), error, _choices(kind, name))
    except ValueError:  # a whole number with more digits than Python writes out
        faults.add(raw.line_of(name), raw.field(shown), value, "a value of a reasonable size")


def _choices(kind: Kind, name: str) -> tuple[str, ...]:
    if name == "style":
        return tuple(Style) if kind is EDIT else _CREATE_STYLES
    return {"format": _FORMATS, "resolution": _RESOLUTIONS}.get(name, ())
