"""Says what an answer looks like without saying what it holds: names of fields and kinds of values.

A report is sent to strangers. So it takes nothing from an answer but what passes one of these functions:
short words that the API's own pages could have (a status, an error code), names of fields and of headers,
numbers, and kinds of values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_KINDS: dict[type, str] = {
    type(None): "null", bool: "true or false", int: "number", float: "number", str: "text",
}  # fmt: skip
_MAX_DEPTH = 5
_MAX_FIELDS = 60
_HIDDEN = "(a name that is not shown)"


def status_word(value: Any) -> str:
    """A status as it came if it is one lower- or upper-case word, as all known ones are; else its kind."""
    if isinstance(value, str) and re.fullmatch(r"[a-z]{2,20}|[A-Z]{2,20}", value):
        return value
    return hidden(value)


def error_code(value: Any) -> str:
    """An error code as it came if it has the form of one, such as ``MISSING_PROMPT``; else its kind."""
    if isinstance(value, str) and re.fullmatch(r"[A-Z]+(_[A-Z]+){1,7}|[a-z]+(_[a-z]+){1,7}", value):
        return value
    return hidden(value)


def hidden(value: Any) -> str:
    """What kind of value it is, such as ``a text of 12 characters``."""
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    return _KINDS.get(type(value), "something else")


def field_name(name: Any) -> str:
    """The name if it is an identifier in lower case or camelCase without digits, as fields and headers have.

    Anything else may be a value that is used as a name, such as an id or a person's name, and is hidden.
    """
    usable = isinstance(name, str) and re.fullmatch(r"[a-z][A-Za-z_-]{0,39}", name)
    return str(name) if usable else _HIDDEN


def field_names(body: Any) -> list[str]:
    """The names of an object's fields, sorted; empty for anything else."""
    return sorted({field_name(name) for name in body}) if isinstance(body, Mapping) else []


def shape(value: Any, depth: int = 0) -> Any:
    """The value with a kind in place of each text, number and so on, and one element in place of a list's.

    Fields that only some elements of a list have are marked with a question mark.
    """
    if isinstance(value, list):
        if depth >= _MAX_DEPTH:
            return "list"
        return [_merged([shape(one, depth + 1) for one in value])] if value else []
    if isinstance(value, dict):
        if depth >= _MAX_DEPTH:
            return "object"
        fields = list(value.items())[:_MAX_FIELDS]
        return {field_name(name): shape(inner, depth + 1) for name, inner in fields}
    return _KINDS.get(type(value), "something else")


def shape_text(found: Any) -> str:
    """A shape on one line: ``{status: text, result?: {thumbnail_url: text}}``."""
    if isinstance(found, dict):
        return "{" + ", ".join(f"{name}: {shape_text(inner)}" for name, inner in found.items()) + "}"
    if isinstance(found, list):
        return f"[{shape_text(found[0])}]" if found else "[]"
    return str(found)


def _merged(shapes: list[Any]) -> Any:
    """One shape for all elements of a list."""
    objects = [one for one in shapes if isinstance(one, dict)]
    if objects and len(objects) == len(shapes):
        names = dict.fromkeys(name for one in objects for name in one)
        return {
            name if all(name in one for one in objects) else f"{name}?": _merged(
                [one[name] for one in objects if name in one]
            )
            for name in names
        }
    lists = [one for one in shapes if isinstance(one, list)]
    if lists and len(lists) == len(shapes):
        inner = [element for one in lists for element in one]
        return [_merged(inner)] if inner else []
    return _either(shape_text(one) for one in shapes)


def _either(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(set(kinds)))
