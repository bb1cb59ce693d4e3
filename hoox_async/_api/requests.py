"""The three paid requests, which check their values when they are made, and the price list.

A request class is the only place that lists the fields of its request. Each field's metadata says what people
and the API call it, its choices, and whether it enters the digest (see `_known_as`); the JSON body, the
digest, the report and the command line are made from `fields_of` and `content_of`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeVar, get_type_hints

import attrs

from .._checks import argument, http_parts
from ..errors import InvalidRequest
from .frozen import FrozenDict, frozen, frozen_json
from .models import HasRef, LookRef, ref_in


class Style(StrEnum):
    """How the picture appears to have been taken."""

    IPHONE = "iphone"
    SELFIE = "selfie"
    PODCAST = "podcast"
    CAR = "car"
    CONFERENCE = "conference"
    RAW = "raw"


class Format(StrEnum):
    """The picture's format: ``VERTICAL`` is 9:16, ``HORIZONTAL`` is 16:9."""

    VERTICAL = "vertical"
    HORIZONTAL = "horizontal"


class Resolution(StrEnum):
    """The picture's resolution. The API's pages disagree on the default, so it is always sent."""

    ONE_K = "1K"
    TWO_K = "2K"
    FOUR_K = "4K"


# In credits. 2K, 4K and an avatar from images (free): "Avatar Workflow". 1K: the vendor's MCP client.
# An upscale: API reference.
PRICES: Mapping[Resolution, Decimal] = {
    Resolution.ONE_K: Decimal(2),
    Resolution.TWO_K: Decimal(2),
    Resolution.FOUR_K: Decimal(4),
}
UPSCALE_PRICE = Decimal("1.5")
FREE = Decimal(0)

AnyStyle = Style | Literal["iphone", "selfie", "podcast", "car", "conference", "raw"]
AnyFormat = Format | Literal["vertical", "horizontal"]
AnyResolution = Resolution | Literal["1K", "2K", "4K"]

_R = TypeVar("_R", bound="_Common")
_F = TypeVar("_F", bound=Callable[..., Any])


def _style(value: AnyStyle) -> Style:
    return argument.choice("style", value, Style)


def _style_or_none(value: AnyStyle | None) -> Style | None:
    return None if value is None else _style(value)


def _format(value: AnyFormat) -> Format:
    return argument.choice("format", value, Format)


def _format_or_none(value: AnyFormat | None) -> Format | None:
    return None if value is None else _format(value)


def checked_resolution(value: AnyResolution) -> Resolution:
    """The resolution of this name. Raises `InvalidRequest` if there is none."""
    return argument.choice("resolution", value, Resolution)


def _check_text(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    argument.text(attribute.name, value)


def _check_text_or_none(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        argument.text(attribute.name, value)


def _check_bool(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    argument.flag(attribute.name, value)


def _check_url(field: str, value: object, wanted: str, *, secret: bool = False) -> None:
    if http_parts(value) is None:
        raise InvalidRequest(field, value, wanted, secret=secret)


def _check_webhook(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        # its last part may be a bearer secret, as that of the hub's URLs is
        _check_url(attribute.name, value, "an http(s) URL that the API can reach", secret=True)


def _check_images(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple):
        raise InvalidRequest(attribute.name, value, "a list of http(s) URLs")
    for index, url in enumerate(value):
        wanted = (
            "an http(s) URL (the API takes URLs, no local files: put the picture where the API can read it)"
        )
        _check_url(f"{attribute.name}[{index}]", url, wanted)


def _check_some_images(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value == ():
        raise InvalidRequest(attribute.name, [], "at least one image URL")
    _check_images(instance, attribute, value)


def _check_texts(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(one, str) and one.strip() for one in value):
        raise InvalidRequest(attribute.name, value, "a list of texts that are not empty")


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    """The texts as a tuple; one text alone becomes a tuple of one, not of its letters."""
    given: Any = value
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        return tuple(given)
    # anything else is invalid to the validator, which knows the field's name
    wrapped: Any = (given,) if isinstance(given, str | bytes) else given
    return wrapped  # type: ignore[no-any-return]


def _metadata(value: Mapping[str, str]) -> Mapping[str, str]:
    given: Any = value
    return frozen(given) if isinstance(given, Mapping) else given


def _check_metadata(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, FrozenDict) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in value.items()
    ):
        raise InvalidRequest(attribute.name, value, "a mapping of text to text")


def _extra(value: Mapping[str, Any]) -> Mapping[str, Any]:
    given: Any = value
    if not isinstance(given, Mapping) or not all(isinstance(k, str) for k in given):
        raise InvalidRequest("extra", given, "a mapping of the API's field names to JSON values")
    empty: tuple[Any, ...] = (None, "", [], (), {})
    # what is empty is not sent, as an argument that is not given
    return frozen_json("extra", {name: one for name, one in given.items() if one not in empty})


def _source(value: HasRef | str) -> LookRef | str:
    if isinstance(value, str):
        if value.strip():
            return value
    elif isinstance(ref := getattr(value, "ref", None), LookRef):
        return ref
    raise InvalidRequest(
        "source", value, "a LookRef, its text, anything with a .ref, or in a batch the key of another item"
    )


# --- fields -----------------------------------------------------------------------------------

_LABEL: Final = "label"
_WIRE_NAMES: Final = "wire_names"
_CHOICES: Final = "choices"
_IN_DIGEST: Final = "in_digest"


def _known_as(
    label: str,
    *,
    sent_as: tuple[str, ...] | None = None,
    choices: type[StrEnum] | None = None,
    in_digest: bool = True,
) -> Mapping[str, Any]:
    """Metadata of a field: what it is called.

    ``label`` is its name for people. ``sent_as`` are the names under which the body has it, if that is not
    its own one alone: none for what is not sent, or not under names of ours.
    """
    words = tuple(choice.value for choice in choices) if choices is not None else ()
    return {_LABEL: label, _WIRE_NAMES: sent_as, _CHOICES: words, _IN_DIGEST: in_digest}


class RequestField(NamedTuple):
    """One field of a request class: what people and the API call it, and whether it enters the digest.

    ``choices`` are the words that it takes; none where any text, or no text, is one.
    """

    name: str
    label: str
    wire_names: tuple[str, ...]
    choices: tuple[str, ...]
    in_digest: bool
    default: Any

    def is_set(self, value: Any) -> bool:
        """Whether this value is sent. None, an empty list or False is not, where it is the default."""
        return bool(value) or bool(value != self.default)


# A new avatar with a prompt is paid, one with images is free, and the API's pages spell images in two ways:
# a value of these that the request's own argument does not take would make the price wrong.
_DECIDE_THE_PRICE = frozenset({"prompt", "images", "imageUrls", "resolution", "upscale"})


def fields_of(kind: type[Request]) -> tuple[RequestField, ...]:
    """The fields of a request class: its own, in their order, then those that every class has."""
    hashable: Any = kind  # mypy takes these classes for unhashable
    return _fields_of(hashable)


@functools.cache
def _fields_of(kind: type[Any]) -> tuple[RequestField, ...]:
    fields = attrs.fields(kind)
    return tuple(
        RequestField(
            field.name,
            field.metadata[_LABEL],
            (field.name,) if field.metadata[_WIRE_NAMES] is None else field.metadata[_WIRE_NAMES],
            field.metadata[_CHOICES],
            field.metadata[_IN_DIGEST],
            field.default,
        )
        for field in fields
    )


def content_of(request: Request) -> dict[str, Any]:
    """What a request asks for: each field of its digest but an edit's source, as a JSON value.

    The names are those of the class. Fields that are not set are included.
    """
    return {
        field.name: json_value(getattr(request, field.name))
        for field in fields_of(type(request))
        if field.in_digest and field.name != "source"
    }


def sent_content(request: Request) -> dict[str, Any]:
    """What a request asks for, but for an edit's source, as the API is sent it: with the API's names.

    What is not set is left out. A field has its place here whether it is an argument or in ``extra``, so the
    digest, which is made of this, does not change when a later version knows a field that was in ``extra``.
    """
    content = {
        name: json_value(getattr(request, field.name))
        for field in fields_of(type(request))
        if field.in_digest and field.name != "source" and field.is_set(getattr(request, field.name))
        for name in field.wire_names
    }
    return {**content, **request.extra}


def _take_from_extra(request: Any) -> None:
    """Move the fields in ``extra`` that the request has arguments for to these: both ways are one content.

    A value that the argument does not take stays where it is, since it may be one of a newer API, or was
    stored by a version that did not know the field; but not if it decides what is charged or who is told.
    """
    kind, rest = type(request), dict(request.extra)
    fields = {name: field for field in fields_of(kind) for name in field.wire_names}
    for name, value in request.extra.items():
        field = fields.get(name)
        if field is None and name not in _DECIDE_THE_PRICE:
            continue
        if field is None or field.default is attrs.NOTHING:
            raise InvalidRequest(f"extra.{name}", value, "a field that is no other argument's")
        is_strict = name in _DECIDE_THE_PRICE or not field.in_digest
        if getattr(request, field.name) != field.default:
            expected = f"a field that is not given as the argument {field.name} too"
            raise InvalidRequest(f"extra.{name}", value, expected, secret=not field.in_digest)
        try:
            taken = _checked(request, field.name, value)
        except InvalidRequest:
            if is_strict:
                raise
            continue
        object.__setattr__(request, field.name, taken)
        del rest[name]
    object.__setattr__(request, "extra", frozen(rest))


def _checked(request: Any, name: str, value: Any) -> Any:
    """The value as the request's field has it. Raises `InvalidRequest` for one that it does not take."""
    attribute = getattr(attrs.fields(type(request)), name)
    if attribute.converter is not None:
        value = attribute.converter(value)
    if attribute.validator is not None:
        attribute.validator(request, attribute, value)
    return value


def json_value(value: Any) -> Any:
    """A field's value as JSON has it: the plain text of an enum, a list for a tuple."""
    if isinstance(value, StrEnum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


# --- requests ---------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, init=False, eq=False, repr=False)  # the classes below have all of that
class _Common:
    webhook_url: str | None = attrs.field(
        default=None, validator=_check_webhook, repr=False, metadata=_known_as("Webhook URL", in_digest=False)
    )
    metadata: Mapping[str, str] = attrs.field(
        default=FrozenDict(),
        converter=_metadata,
        validator=_check_metadata,
        hash=False,
        metadata=_known_as("Metadata", sent_as=(), in_digest=False),
    )
    extra: Mapping[str, Any] = attrs.field(
        default=FrozenDict(), converter=_extra, hash=False, metadata=_known_as("Extra", sent_as=())
    )

    def __attrs_post_init__(self) -> None:
        if self.extra:
            _take_from_extra(self)


def shows_types(function: _F, names: dict[str, Any] | None = None) -> _F:
    """Have ``help`` and ``inspect.signature`` show the types themselves, not the source text of annotations.

    That text, such as ``'AnyStyle | None'``, names aliases that users cannot look up. ``names`` are what the
    annotations can name, where that is not the function's own module.
    """
    function.__annotations__ = get_type_hints(function, names)
    return function


def _shows_types_of_fields(kind: type[_R]) -> type[_R]:
    """As `shows_types`, for the ``__init__`` that attrs has made."""
    init: Any = kind.__init__
    shows_types(init, globals()).__annotations__["return"] = None  # not NoneType
    return kind


def _own_first(_: type, fields: list[Any]) -> list[Any]:
    return sorted(fields, key=lambda field: field.inherited)


@_shows_types_of_fields
@attrs.frozen(field_transformer=_own_first)
class PromptAvatar(_Common):
    """A new avatar from a prompt. 2 credits at 1K and 2K, 4 at 4K ("Avatar Workflow").

    - ``prompt``: what its first look should show.
    - ``style``: how the picture seems to be taken, a `Style` or its word.
    - ``format``: ``"vertical"`` (9:16) or ``"horizontal"`` (16:9), or a `Format`.
    - ``resolution``: ``"1K"``, ``"2K"`` or ``"4K"``, or a `Resolution`. It decides the price.
    - ``name``, ``place``: the avatar's name, and where the picture is taken.
    - ``element_images``: URLs of things to show, such as a logo.
    - ``webhook_url``: the request's own, instead of the session's hub.
    - ``metadata``: yours. It is kept in the store, is in events and outcomes, and is never sent to the API.
    - ``extra``: what this library does not know yet: fields of the API by the API's names, with their JSON
      values, which are not sent if they are empty. A field that there is an argument for goes there, so that
      it is the same content, with the same key, whichever way it is given.

    ``request.credits`` is the price. A request is frozen, and checked when it is made: `InvalidRequest` is
    raised for a value that the API would refuse.
    """

    KIND: ClassVar[str] = "prompt"

    prompt: str = attrs.field(validator=_check_text, metadata=_known_as("Prompt"))
    style: Style = attrs.field(
        default=Style.IPHONE, converter=_style, kw_only=True, metadata=_known_as("Style", choices=Style)
    )
    format: Format = attrs.field(
        default=Format.VERTICAL, converter=_format, kw_only=True, metadata=_known_as("Format", choices=Format)
    )
    resolution: Resolution = attrs.field(
        default=Resolution.TWO_K,
        converter=checked_resolution,
        kw_only=True,
        metadata=_known_as("Resolution", choices=Resolution),
    )
    name: str | None = attrs.field(
        default=None, validator=_check_text_or_none, kw_only=True, metadata=_known_as("Name")
    )
    place: str | None = attrs.field(
        default=None, validator=_check_text_or_none, kw_only=True, metadata=_known_as("Place")
    )
    element_images: tuple[str, ...] = attrs.field(
        default=(),
        converter=_texts,
        validator=_check_images,
        kw_only=True,
        metadata=_known_as("Element images", sent_as=("elementImages",)),
    )

    @property
    def credits(self) -> Decimal:
        """What the API charges for the request, in credits."""
        return PRICES[self.resolution]


@_shows_types_of_fields
@attrs.frozen(field_transformer=_own_first)
class ImageAvatar(_Common):
    """A new avatar from pictures of your own. It costs no credits ("Avatar Workflow").

    - ``image_urls``: the http(s) URLs of the pictures, at least one. The API takes no files.
    - ``name``, ``place``, ``webhook_url``, ``metadata``, ``extra``: as in `PromptAvatar`.

    Its look is ready at once. A request is frozen, and checked when it is made: `InvalidRequest` is raised
    for a value that the API would refuse.
    """

    KIND: ClassVar[str] = "images"

    image_urls: tuple[str, ...] = attrs.field(
        converter=_texts, validator=_check_some_images, metadata=_known_as("Images", sent_as=("imageUrls",))
    )
    name: str | None = attrs.field(
        default=None, validator=_check_text_or_none, kw_only=True, metadata=_known_as("Name")
    )
    place: str | None = attrs.field(
        default=None, validator=_check_text_or_none, kw_only=True, metadata=_known_as("Place")
    )

    @property
    def credits(self) -> Decimal:
        """What the API charges for the request: nothing."""
        return FREE


@_shows_types_of_fields
@attrs.frozen(field_transformer=_own_first)
class LookEdit(_Common):
    """A new look from an existing one. 2 credits at 1K and 2K, 4 at 4K, 1.5 more with ``upscale``.

    - ``source``: the look that is edited; it is not changed itself. A `LookRef`, the text of one
      (``"avtr_a:look_1"``), anything with a ``.ref`` such as a `Look` or a `LookJob`, or (in a batch only)
      the key of an item that is earlier in the input or in the store. In a batch a text that is both a
      ref and an earlier item's key is invalid.
    - ``prompt``: what the new look should show.
    - ``style``: how the picture seems to be taken, a `Style` or its word; None leaves it to the API.
    - ``format``: ``"vertical"`` (9:16) or ``"horizontal"`` (16:9), or a `Format`; None leaves it to the API.
    - ``resolution``: ``"1K"``, ``"2K"`` or ``"4K"``, or a `Resolution`. It decides the price.
    - ``images``: URLs of more reference pictures.
    - ``upscale``: have the picture enlarged, for 1.5 credits more.
    - ``look_name``, ``place``, ``tags``: the new look's name, where it is taken, and its tags.
    - ``webhook_url``, ``metadata``, ``extra``: as in `PromptAvatar`.

    ``request.credits`` is the price. A request is frozen, and checked when it is made: `InvalidRequest` is
    raised for a value that the API would refuse.
    """

    KIND: ClassVar[str] = "edit"

    source: LookRef | str = attrs.field(
        converter=_source, metadata=_known_as("Made from", sent_as=("avatar_id", "look_id"))
    )
    prompt: str = attrs.field(validator=_check_text, metadata=_known_as("Prompt"))
    style: Style | None = attrs.field(
        default=None, converter=_style_or_none, kw_only=True, metadata=_known_as("Style", choices=Style)
    )
    format: Format | None = attrs.field(
        default=None, converter=_format_or_none, kw_only=True, metadata=_known_as("Format", choices=Format)
    )
    resolution: Resolution = attrs.field(
        default=Resolution.TWO_K,
        converter=checked_resolution,
        kw_only=True,
        metadata=_known_as("Resolution", choices=Resolution),
    )
    images: tuple[str, ...] = attrs.field(
        default=(),
        converter=_texts,
        validator=_check_images,
        kw_only=True,
        metadata=_known_as("Reference images"),
    )
    upscale: bool = attrs.field(
        default=False, validator=_check_bool, kw_only=True, metadata=_known_as("Upscaled")
    )
    look_name: str | None = attrs.field(
        default=None, validator=_check_text_or_none, kw_only=True, metadata=_known_as("Name")
    )
    place: str | None = attrs.field(
        default=None, validator=_check_text_or_none, kw_only=True, metadata=_known_as("Place")
    )
    tags: tuple[str, ...] = attrs.field(
        default=(), converter=_texts, validator=_check_texts, kw_only=True, metadata=_known_as("Tags")
    )

    @property
    def credits(self) -> Decimal:
        """What the API charges for the request, in credits."""
        return PRICES[self.resolution] + (UPSCALE_PRICE if self.upscale else FREE)


Request = PromptAvatar | ImageAvatar | LookEdit


@attrs.frozen
class PrunedRequest:
    """What `prune_store` leaves of a request: its kind and its price. It can't be sent.

    ``kind`` is ``"prompt"``, ``"images"`` or ``"edit"``.
    """

    KIND: ClassVar[str] = "pruned"

    kind: str = attrs.field(
        validator=attrs.validators.in_((PromptAvatar.KIND, ImageAvatar.KIND, LookEdit.KIND))
    )
    credits: Decimal

    @property
    def webhook_url(self) -> None:
        """None: it is erased."""
        return

    @property
    def metadata(self) -> Mapping[str, str]:
        """Empty: it is erased."""
        return _NO_METADATA


_NO_METADATA: Mapping[str, str] = MappingProxyType({})
KnownRequest = Request | PrunedRequest
"""The request of an intent: what the user gave, or what is left of it."""


def with_source_ref(request: LookEdit) -> LookEdit:
    """The edit with the text of a ref as its source parsed to a `LookRef`, so that both have the same digest.

    Raises `InvalidRequest` for any other text as source: only in a batch it can be the key of an item.
    """
    if isinstance(request.source, LookRef):
        return request
    ref = ref_in(request.source)
    if ref is None:
        expected = "a look, its ref or the text of that (only in a batch is a key of an item a source)"
        raise InvalidRequest("source", request.source, expected)
    return attrs.evolve(request, source=ref)
