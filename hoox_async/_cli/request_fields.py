"""The fields of requests on the command line: options, columns, defaults of a matrix, lines of a list.

`FIELDS` is the one table of them. It may import the public door (`hoox_async`) and
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_origin

import attrs

from hoox_async import ImageAvatar, LookEdit, PromptAvatar, Request

Kind = type[PromptAvatar] | type[ImageAvatar] | type[LookEdit]
Column = Literal["text", "URLs", "words", "yes or no"]


class FieldText(NamedTuple):
    """What the command line says of a field.

    ``flag`` is its option in ``create`` and ``edit``, and ``help`` the option's help. ``column`` is how a
    cell of a CSV file is read; several URLs have spaces between them, several words commas. None: there is no
    such option or column. ``in_matrix``: whether ``[matrix]`` in TOML may give it to all looks.
    """

    flag: str | None = None
    help: str = ""
    column: Column | None = "text"
    in_matrix: bool = True


FIELDS: Mapping[str, FieldText] = {
    "prompt": FieldText(in_matrix=False),
    "image_urls": FieldText(
        "--image", "The http(s) URL of a picture of the person, instead of a prompt. Repeatable.", "URLs"
    ),
    "style": FieldText("--style", "How the picture seems to be taken."),
    "format": FieldText("--format", "The picture's shape: 9:16 or 16:9."),
    "resolution": FieldText("--resolution", "The picture's size."),
    "images": FieldText("--image", "The URL of another reference picture. Repeatable.", "URLs"),
    "upscale": FieldText("--upscale", "Enlarge the picture, for 1.5 more credits.", "yes or no"),
    "name": FieldText("--name", "The avatar's name."),
    "look_name": FieldText("--look-name", "The new look's name."),
    "place": FieldText("--place", "Where the picture is taken."),
    "tags": FieldText("--tag", "A tag of the new look. Repeatable.", "words"),
    "element_images": FieldText(
        "--element-image", "The URL of a thing to show, such as a logo. Repeatable.", "URLs"
    ),
    "webhook_url": FieldText(),
    "metadata": FieldText(column=None),
    "extra": FieldText(column=None, in_matrix=False),
}
"""Every field that a request can have, but the source of an edit."""


def fields_of(kind: Kind) -> list[attrs.Attribute[Any]]:
    """The fields of a request class with their types, in its order, but an edit's source."""
    fields = sorted(attrs.fields(attrs.resolve_types(kind)), key=lambda field: field.inherited)
    return [field for field in fields if field.name != "source"]


def is_list(field: attrs.Attribute[Any]) -> bool:
    """Whether the field takes several texts."""
    return get_origin(field.type) is tuple


def columns() -> str:
    """The columns of a CSV file that are fields of requests, in words."""
    names = ((name, text.column) for name, text in FIELDS.items() if text.column is not None)
    return ", ".join(f"{name} (yes or no)" if column == "yes or no" else name for name, column in names)


# --- lines of a list --------------------------------------------------------------------------


def changed_fields(request: Request) -> dict[str, Any]:
    """The fields that are not as they are by default, as JSON values. The request's own texts are left out.

    So are its webhook URL, whose last part may be a secret, and its metadata.
    """
    apart = ("prompt", "image_urls", "webhook_url", "metadata")
    found = {field.name: getattr(request, field.name) for field in fields_of(type(request))
             if field.name not in apart and getattr(request, field.name) != field.default}  # fmt: skip
    return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value if isinstance(value, bool) else str(value)


def described(request: Request) -> str:
    """The changed fields in one line for people, each with its label."""
    labels = {field.name: field.metadata["label"] for field in fields_of(type(request))}
    shown = {labels[name]: value for name, value in changed_fields(request).items()}
    return " · ".join(label if value is True else f"{label} {_text(value)}" for label, value in shown.items())


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | dict) else str(value)
