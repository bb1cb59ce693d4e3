"""The three requests: their prices, their fields, and every check of a value when they are made."""

from __future__ import annotations

import copy
import enum
import inspect
import json
import math
import pathlib
import pickle
import pydoc
from collections.abc import Callable
from decimal import Decimal
from typing import Any, get_type_hints

import attrs
import pytest

from hoox_async import (
    Format,
    HooxSession,
    ImageAvatar,
    Look,
    LookEdit,
    LookRef,
    LookStatus,
    PromptAvatar,
    Request,
    Resolution,
    Style,
)
from hoox_async._api.endpoints import request_body
from hoox_async._api.models import HasRef
from hoox_async._api.requests import content_of, fields_of, sent_content, with_source_ref
from hoox_async._core.intents.keys import digest
from hoox_async.errors import InvalidRequest

REF = LookRef("avtr_abc", "look_123")
URL = "https://x.example/1.jpg"

Make = Callable[..., Request]


def prompt(**fields: Any) -> PromptAvatar:
    return PromptAvatar(**{"prompt": "a", **fields})


def images(**fields: Any) -> ImageAvatar:
    return ImageAvatar(**{"image_urls": [URL], **fields})


def edit(**fields: Any) -> LookEdit:
    return LookEdit(**{"source": REF, "prompt": "a", **fields})


def refused(make: Make, field: str, value: Any) -> InvalidRequest:
    """The error of a request made with this value."""
    with pytest.raises(InvalidRequest) as caught:
        make(**{field: value})
    return caught.value


# --- prices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "credits"),
    [
        (prompt(), "2"),
        (prompt(resolution="1K"), "2"),
        (prompt(resolution="2K"), "2"),
        (prompt(resolution="4K"), "4"),
        (images(), "0"),
        (edit(), "2"),
        (edit(resolution="1K"), "2"),
        (edit(resolution="4K"), "4"),
        (edit(upscale=True), "3.5"),
        (edit(resolution="4K", upscale=True), "5.5"),
    ],
)
def test_the_price_of_each_request(request_: Request, credits: str) -> None:
    """Credits are the vendor's price list, as exact decimals."""
    assert request_.credits == Decimal(credits)
    assert isinstance(request_.credits, Decimal)


# --- what is taken ----------------------------------------------------------------------------


def test_the_defaults_of_a_request() -> None:
    """A new avatar has the API's defaults; an edit leaves style and format to the API."""
    new, changed = PromptAvatar("a"), LookEdit(REF, "a")
    assert (new.style, new.format, new.resolution) == (Style.IPHONE, Format.VERTICAL, Resolution.TWO_K)
    assert (changed.style, changed.format, changed.resolution) == (None, None, Resolution.TWO_K)
    assert (changed.upscale, changed.images, new.element_images) == (False, (), ())
    assert (new.name, new.place, new.webhook_url, new.metadata, new.extra) == (None, None, None, {}, {})


def test_plain_text_becomes_an_enum() -> None:
    """A style as text and as Style are the same request."""
    request = PromptAvatar("a", style="podcast", format="horizontal", resolution="4K")
    assert request == PromptAvatar(
        "a", style=Style.PODCAST, format=Format.HORIZONTAL, resolution=Resolution.FOUR_K
    )
    assert type(request.style) is Style


def test_one_url_without_a_list_is_one_url() -> None:
    """A text given for a list of URLs is a list of that one URL, not of its letters."""
    assert ImageAvatar(URL).image_urls == (URL,)
    assert PromptAvatar("a", element_images=URL).element_images == (URL,)
    assert LookEdit(REF, "a", images=iter([URL])).images == (URL,)


def test_a_source_is_anything_with_a_ref() -> None:
    """A ref, a look and a job are kept as the ref; a text that is no ref stays as it is."""

    class Job:
        ref = REF

    look = Look(REF, LookStatus.READY)
    assert isinstance(look, HasRef)
    for source in (REF, look, Job()):
        assert LookEdit(source, "a").source == REF
    assert LookEdit("alex/1", "a").source == "alex/1"


def test_the_text_of_a_ref_is_the_same_source_as_the_ref() -> None:
    """`with_source_ref` makes equal requests, with the same digest, of a ref and of its text."""
    by_text, by_ref = LookEdit("avtr_abc:look_123", "a", style="raw"), LookEdit(REF, "a", style="raw")
    assert with_source_ref(by_text) == with_source_ref(by_ref) == by_ref
    assert digest(with_source_ref(by_text)) == digest(by_ref)


@pytest.mark.parametrize("text", ["alex", "alex/1", "a:b:c", ":look_123", "avtr_abc:"])
def test_a_source_text_that_is_no_ref_needs_a_batch(text: str) -> None:
    """Outside of a batch there are no items whose key it could be: `InvalidRequest` names the source."""
    with pytest.raises(InvalidRequest) as caught:
        with_source_ref(LookEdit(text, "a"))
    assert (caught.value.field, caught.value.value) == ("source", text)


# --- fields -----------------------------------------------------------------------------------

SPELLED_OUT: list[tuple[type[Request], Any]] = [
    (PromptAvatar, HooxSession.create_avatar),
    (ImageAvatar, HooxSession.create_avatar_from_images),
    (LookEdit, HooxSession.edit_look),
]


REQUESTS = (PromptAvatar, ImageAvatar, LookEdit)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_help_shows_types_and_prices(kind: type[Request]) -> None:
    """`help` and `inspect.signature` show types, not names of aliases, own fields first, and the price."""
    parameters = inspect.signature(kind).parameters
    assert not any(isinstance(parameter.annotation, str) for parameter in parameters.values())
    assert list(parameters)[-3:] == ["webhook_url", "metadata", "extra"]
    assert "NOTHING" not in str(inspect.signature(kind))
    text = pydoc.plain(pydoc.render_doc(kind))
    assert "AnyFormat" not in text.partition("Method resolution order")[0]
    assert "2 credits at 1K and 2K, 4 at 4K" in text or "no credits" in text
    for name in parameters:
        assert f"``{name}``" in text, name


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_help_shows_the_types_that_a_checker_sees(kind: type[Request]) -> None:
    """A field's shown type is that of its converter's parameter, or its own: what pyright takes."""
    own = {name: hint for base in kind.__mro__[1::-1] for name, hint in get_type_hints(base).items()}
    for field in attrs.fields(kind):
        converter = field.converter
        hints = [] if converter is None else list(get_type_hints(converter).values())
        expected = hints[0] if hints else own[field.name]
        assert inspect.signature(kind).parameters[field.name].annotation == expected, field.name


@pytest.mark.parametrize(("kind", "method"), SPELLED_OUT, ids=lambda value: value.__name__)
def test_a_spelled_out_method_has_exactly_the_fields_of_its_request(kind: type[Request], method: Any) -> None:
    """`create_avatar` and its siblings take every field as the class does, with the same default."""
    fields = inspect.signature(kind).parameters
    arguments = dict(inspect.signature(method).parameters)
    for own in ("self", "key", "budget", "max_wait"):
        del arguments[own]
    assert set(arguments) == set(fields) == {field.name for field in fields_of(kind)}
    for name, argument in arguments.items():
        assert argument.kind is fields[name].kind, name
        if name not in ("metadata", "extra"):  # None stands for an empty mapping there
            assert argument.default == fields[name].default, name
            assert argument.annotation == fields[name].annotation, name


@pytest.mark.parametrize(
    ("kind", "wire_names"),
    [
        (
            PromptAvatar,
            "prompt style format resolution name place elementImages webhook_url",
        ),
        (ImageAvatar, "imageUrls name place webhook_url"),
        (
            LookEdit,
            """avatar_id look_id prompt style format resolution images upscale
            look_name place tags webhook_url""",
        ),
    ],
)
def test_the_names_under_which_the_api_takes_a_request(kind: type[Request], wire_names: str) -> None:
    """The names of the vendor's pages, in the order of the class's own fields."""
    assert [name for field in fields_of(kind) for name in field.wire_names] == wire_names.split()


@pytest.mark.parametrize("kind", [PromptAvatar, ImageAvatar, LookEdit])
def test_only_the_webhook_and_the_metadata_stay_out_of_the_digest(kind: type[Request]) -> None:
    """Everything else makes another look, so it must make another digest."""
    assert {field.name for field in fields_of(kind) if not field.in_digest} == {"webhook_url", "metadata"}


def test_the_content_of_a_request_is_json_with_every_field_of_the_look() -> None:
    """Enums are plain text and tuples are lists; what is unset is there too; an edit's source is not."""
    assert content_of(edit(style="raw", images=[URL], extra={"seed": 1})) == {
        "prompt": "a",
        "style": "raw",
        "format": None,
        "resolution": "2K",
        "images": [URL],
        "upscale": False,
        "look_name": None,
        "place": None,
        "tags": [],
        "extra": {"seed": 1},
    }
    assert type(content_of(edit(style="raw"))["style"]) is str


# --- frozen values ----------------------------------------------------------------------------


def test_changing_what_was_given_does_not_change_the_request() -> None:
    """A request is checked once, when it is made, so it copies the caller's dicts and lists."""
    metadata, extra, urls = {"a": "1"}, {"seed": 1}, [URL]
    request = PromptAvatar("a", metadata=metadata, extra=extra, element_images=urls)
    metadata["b"], extra["c"] = "2", 2
    urls.append("nonsense")
    assert (request.metadata, request.extra, request.element_images) == ({"a": "1"}, {"seed": 1}, (URL,))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        request.prompt = "b"  # type: ignore[misc]


def test_the_webhook_url_is_not_in_the_repr() -> None:
    """The repr of a request goes into logs and must not show a webhook URL, which may hold a secret."""
    assert "hook.example" not in repr(prompt(webhook_url="https://hook.example/secret"))


def test_extra_takes_any_json() -> None:
    """`extra` takes all JSON values, also nested; lists become tuples, which are the same JSON."""
    value: dict[str, Any] = {"a": [None, True, 1, 1.5, "x", {"b": []}]}
    extra = prompt(extra={"seed": value}).extra
    assert extra == {"seed": {"a": (None, True, 1, 1.5, "x", {"b": ()})}}
    assert json.loads(json.dumps(extra)) == {"seed": value}
    body = request_body(prompt(extra={"seed": value}), None, None)
    assert json.loads(json.dumps(body))["seed"] == value


FROZEN: dict[str, Any] = {"metadata": {"a": "1"}, "extra": {"seed": {"b": [1, {"c": [2]}]}}}


@pytest.mark.parametrize(
    "change",
    [
        lambda mapping: mapping.__setitem__("x", "y"),
        lambda mapping: mapping.__delitem__("a"),
        lambda mapping: mapping.update(x="y"),
        lambda mapping: mapping.setdefault("x", "y"),
        lambda mapping: mapping.pop("a"),
        lambda mapping: mapping.popitem(),
        lambda mapping: mapping.clear(),
        lambda mapping: mapping.__ior__({"x": "y"}),
    ],
)
def test_nothing_in_a_request_can_be_changed(change: Any) -> None:
    """No method of a mapping changes metadata or extra, at any depth, in a request or its copies."""
    for make in MAKERS:
        request = make(**FROZEN)
        for one in (request, copy.deepcopy(request), pickle.loads(pickle.dumps(request))):
            inner = one.extra["seed"]
            for mapping in (one.metadata, one.extra, inner, inner["b"][1]):
                with pytest.raises(TypeError, match="frozen request"):
                    change(mapping)
            assert one == make(**FROZEN)


def test_changing_what_is_deep_in_extra_does_not_change_the_request() -> None:
    """A request copies the lists and dicts within `extra` too, because it is checked only once."""
    inner: dict[str, Any] = {"b": [1]}
    request = prompt(extra={"seed": inner})
    inner["b"].append(math.nan)
    inner["c"] = b"x"
    assert request.extra == {"seed": {"b": (1,)}}


@pytest.mark.parametrize("make", [prompt, images, edit])
def test_a_request_survives_copying_pickling_and_evolving(make: Any) -> None:
    """A copied, pickled or evolved request is equal, with the same hash, digest and repr."""
    request = make(**FROZEN)
    for twin in (
        copy.copy(request),
        copy.deepcopy(request),
        pickle.loads(pickle.dumps(request)),
        attrs.evolve(request),
        type(request)(**{f.name: getattr(request, f.name) for f in attrs.fields(type(request))}),
    ):
        assert (twin, hash(twin), digest(twin)) == (request, hash(request), digest(request))
        assert repr(twin) == repr(request)
    assert attrs.evolve(request, metadata={"b": "2"}).metadata == {"b": "2"}


def test_an_enum_in_extra_becomes_its_plain_value() -> None:
    """A request keeps what is sent: an enum's text or number, of JSON's own types."""
    extra = prompt(extra={"seed": [Style.RAW, Yes.YES]}).extra
    assert [type(value) for value in extra["seed"]] == [str, int]
    assert extra == {"seed": ("raw", 1)}


class Yes(enum.IntEnum):
    YES = 1


def test_requests_are_hashable() -> None:
    """A request can be a key of a dict, whatever its metadata and extra contain."""
    assert len({prompt(extra={"a": [1]}), prompt(extra={"a": [1]}), edit(), images()}) == 3


# --- what is invalid --------------------------------------------------------------------------

MAKERS = [prompt, images, edit]
each = pytest.mark.parametrize("make", MAKERS)


@pytest.mark.parametrize("make", [prompt, edit])
@pytest.mark.parametrize("bad", ["", "  \n", None, 7, ["a"], b"a"])
def test_a_prompt_must_be_text(make: Make, bad: Any) -> None:
    """An empty prompt, or one that is no text, is an error when the request is made."""
    error = refused(make, "prompt", bad)
    assert (error.field, error.value) == ("prompt", bad)
    assert error.expected == "text that is not empty"


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (prompt, "name"),
        (prompt, "place"),
        (images, "name"),
        (images, "place"),
        (edit, "look_name"),
        (edit, "place"),
    ],
)
@pytest.mark.parametrize("bad", ["", " ", 7, ["a"]])
def test_name_and_place_must_be_text_or_none(make: Make, field: str, bad: Any) -> None:
    """None leaves name and place open; an empty text is an error."""
    error = refused(make, field, bad)
    assert (error.field, error.value, error.expected) == (field, bad, "text that is not empty")


@pytest.mark.parametrize("bad", ["cartoon", "", "IPHONE", 7, ["iphone"]])
def test_a_style_is_one_of_six(bad: Any) -> None:
    """Any other style is invalid; only an edit may leave it open."""
    for make in (prompt, edit):
        error = refused(make, "style", bad)
        assert (error.field, error.value) == ("style", bad)
        assert error.expected == "one of iphone, selfie, podcast, car, conference, raw"
        assert make(style="raw").style is Style.RAW
    assert refused(prompt, "style", None).field == "style"


@pytest.mark.parametrize("bad", ["", [""], ["a", 7], [" "], 7, None, {"a": 1}])
def test_tags_are_a_list_of_texts(bad: Any) -> None:
    """One text alone is a list of one tag; empty texts and other values are invalid."""
    error = refused(edit, "tags", bad)
    assert (error.field, error.expected) == ("tags", "a list of texts that are not empty")
    assert edit(tags="summer").tags == edit(tags=["summer"]).tags == ("summer",)


@pytest.mark.parametrize(("make", "bad"), [(prompt, None), (prompt, "square"), (edit, "9:16"), (edit, "")])
def test_a_format_is_vertical_or_horizontal(make: Make, bad: Any) -> None:
    """Any other format is an error; only an edit may leave it open."""
    error = refused(make, "format", bad)
    assert (error.field, error.value, error.expected) == ("format", bad, "one of vertical, horizontal")


@pytest.mark.parametrize("make", [prompt, edit])
@pytest.mark.parametrize("bad", ["2k", "8K", "", None, 2])
def test_a_resolution_is_never_unset(make: Make, bad: Any) -> None:
    """A resolution is 1K, 2K or 4K and never None, because it decides the price."""
    error = refused(make, "resolution", bad)
    assert (error.field, error.value, error.expected) == ("resolution", bad, "one of 1K, 2K, 4K")


@pytest.mark.parametrize("bad", [1, 0, "yes", None])
def test_upscale_is_a_bool(bad: Any) -> None:
    """Upscaling costs credits, so only True turns it on, not every value that is true in Python."""
    error = refused(edit, "upscale", bad)
    assert (error.field, error.value, error.expected) == ("upscale", bad, "True or False")


LISTS = [(prompt, "element_images"), (images, "image_urls"), (edit, "images")]


@pytest.mark.parametrize(("make", "field"), LISTS)
@pytest.mark.parametrize(
    "bad",
    [
        "photo.jpg",
        "./photo.jpg",
        "/home/me/photo.jpg",
        "C:\\photo.jpg",
        "file:///home/me/photo.jpg",
        "data:image/png;base64,AAAA",
        "ftp://x.example/1.jpg",
        "https://",
        "https:///1.jpg",
        "http://[::1",
        " https://x.example/1.jpg",
        "https://x.example/1 2.jpg",
        "",
        None,
        7,
        b"https://x.example/1.jpg",
        pathlib.PurePosixPath("photo.jpg"),
    ],
)
def test_a_picture_must_be_given_as_a_url(make: Make, field: str, bad: Any) -> None:
    """A local file is an error: the error says which picture it is and that the API takes URLs."""
    error = refused(make, field, [URL, bad])
    assert (error.field, error.value) == (f"{field}[1]", bad)
    assert "URL" in error.expected
    assert "no local files" in error.expected


@pytest.mark.parametrize(("make", "field"), LISTS)
@pytest.mark.parametrize("bad", [None, 7, pathlib.PurePosixPath("photo.jpg")])
def test_pictures_must_be_given_as_a_list(make: Make, field: str, bad: Any) -> None:
    """Something that is no list is an error with the name of the field that it was given for."""
    error = refused(make, field, bad)
    assert (error.field, error.value, error.expected) == (field, bad, "a list of http(s) URLs")


def test_an_avatar_needs_at_least_one_image() -> None:
    """An empty list of image URLs is an error."""
    error = refused(images, "image_urls", ())
    assert (error.field, error.value, error.expected) == ("image_urls", [], "at least one image URL")


@each
@pytest.mark.parametrize("bad", ["", "hook", "ftp://x.example", "https://", 7, "http://a b"])
def test_a_webhook_url_must_be_a_http_url(make: Make, bad: Any) -> None:
    """A webhook_url that is no http(s) URL is an error."""
    error = refused(make, "webhook_url", bad)
    assert (error.field, error.value) == ("webhook_url", bad)
    assert "http(s) URL" in error.expected


@each
def test_a_webhook_url_that_is_refused_is_not_in_the_message(make: Make) -> None:
    """Its last part may be a secret, which must not come into a log with the error."""
    error = refused(make, "webhook_url", "hook.example/bearer-secret")
    assert "bearer-secret" not in f"{error} {error!r}"


@each
@pytest.mark.parametrize("bad", [None, 7, "a", [("a", "b")], {"a": 1}, {1: "a"}, {"a": None}])
def test_metadata_is_text_to_text(make: Make, bad: Any) -> None:
    """Metadata other than a mapping of text to text is an error: stores and reports hold nothing else."""
    error = refused(make, "metadata", bad)
    assert (error.field, error.value, error.expected) == ("metadata", bad, "a mapping of text to text")


@each
@pytest.mark.parametrize("bad", [None, 7, "a", [("a", "b")], {1: "a"}])
def test_extra_is_a_mapping_of_names(make: Make, bad: Any) -> None:
    """`extra` that is no mapping, or has a name that is no text, is an error."""
    error = refused(make, "extra", bad)
    assert (error.field, error.value) == ("extra", bad)


@pytest.mark.parametrize(
    ("bad", "field", "value"),
    [
        ({"a": {1, 2}}, "extra.a", {1, 2}),
        ({"a": [1, {"b": b"x"}]}, "extra.a[1].b", b"x"),
        ({"a": float("inf")}, "extra.a", float("inf")),
        ({"a": {"b": (1, Decimal(2))}}, "extra.a.b[1]", Decimal(2)),
        ({"a": {"b": {1: 2}}}, "extra.a.b", 1),
    ],
)
def test_extra_holds_json_only(bad: Any, field: str, value: Any) -> None:
    """A value that JSON cannot hold is an error, and the error names its place."""
    error = refused(prompt, "extra", bad)
    assert (error.field, error.value) == (field, value)


@pytest.mark.parametrize("number", [10**5000, -(10**4300), 1 << 20_000], ids=["a", "b", "c"])
def test_extra_holds_no_number_that_cannot_be_written(number: int) -> None:
    """A number of more than 4,300 digits, which Python does not write as text, is an error."""
    error = refused(prompt, "extra", {"a": [number]})
    assert (error.field, error.expected) == ("extra.a[0]", "a JSON value")
    assert "this int" in str(error)
    largest = int("9" * 4300)
    request = prompt(extra={"a": [largest, -largest]})
    assert len(digest(request)) == 32
    assert json.loads(json.dumps(request.extra)) == {"a": [largest, -largest]}


def test_extra_is_a_hundred_levels_deep_at_most() -> None:
    """Deeper values are errors: writing the digest, record and body must not exhaust the stack."""
    deep: Any = 1
    for _ in range(99):
        deep = [deep]
    assert len(digest(prompt(extra={"a": deep}))) == 32
    error = refused(prompt, "extra", {"a": [deep]})
    assert (error.field, error.expected) == ("extra", "a JSON value less deep")


def test_extra_that_contains_itself_is_refused() -> None:
    """A value that contains itself is an InvalidRequest, not a RecursionError."""
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(InvalidRequest) as caught:
        prompt(extra={"a": endless})
    assert caught.value.field == "extra"


@pytest.mark.parametrize(
    ("make", "extra", "fields"),
    [
        (edit, {"tags": ["a", "b"], "seed": 1}, {"tags": ("a", "b"), "extra": {"seed": 1}}),
        (edit, {"look_name": "n", "place": "p"}, {"look_name": "n", "place": "p"}),
        (edit, {"images": [URL], "upscale": True}, {"images": (URL,), "upscale": True}),
        (edit, {"resolution": "4K", "style": "raw"}, {"resolution": "4K", "style": "raw"}),
        (prompt, {"elementImages": [URL], "name": "n"}, {"element_images": (URL,), "name": "n"}),
        (images, {"webhook_url": URL}, {"webhook_url": URL}),
        (images, {"seed": None, "tags": [], "mood": "", "a": {}}, {}),
    ],
)  # fmt: skip
def test_a_field_in_extra_is_its_argument(make: Make, extra: Any, fields: Any) -> None:
    """Given either way, a field is one content: equal requests, with one digest, body and price."""
    one, two = make(extra=extra), make(**fields)
    assert one == two
    assert (digest(one), sent_content(one), one.credits) == (digest(two), sent_content(two), two.credits)


@pytest.mark.parametrize(
    ("make", "given", "field"),
    [
        (edit, {"tags": ["a"], "extra": {"tags": ["b"]}}, "extra.tags"),
        (edit, {"extra": {"prompt": "b"}}, "extra.prompt"),
        (edit, {"extra": {"avatar_id": "b"}}, "extra.avatar_id"),
        (edit, {"extra": {"imageUrls": [URL]}}, "extra.imageUrls"),
        (edit, {"extra": {"resolution": "8K"}}, "resolution"),
        (edit, {"extra": {"upscale": "yes"}}, "upscale"),
        (edit, {"extra": {"webhook_url": "hook"}}, "webhook_url"),
        (prompt, {"extra": {"images": [URL]}}, "extra.images"),
        (images, {"extra": {"prompt": "a"}}, "extra.prompt"),
    ],
)
def test_what_extra_must_not_hold(make: Make, given: Any, field: str) -> None:
    """A field that is given twice, or that would change what is charged, who is told or which look it is."""
    with pytest.raises(InvalidRequest) as caught:
        make(**given)
    assert caught.value.field == field


def test_a_webhook_url_given_twice_is_not_shown() -> None:
    """It may be a secret, also in `extra`."""
    with pytest.raises(InvalidRequest) as caught:
        prompt(webhook_url=URL, extra={"webhook_url": "https://x.example/bearer-secret"})
    assert "bearer-secret" not in str(caught.value)


def test_a_value_that_only_a_newer_api_has_stays_in_extra() -> None:
    """It is sent in place of the argument's default, and a request with it can be copied and changed."""
    request = prompt(extra={"style": "cartoon"})
    assert (request.extra, sent_content(request)["style"]) == ({"style": "cartoon"}, "cartoon")
    assert digest(attrs.evolve(request, metadata={"a": "b"})) == digest(request) != digest(prompt())


@pytest.mark.parametrize("bad", ["", "  ", None, 7, object(), Look])
def test_a_source_that_names_no_look_is_refused(bad: Any) -> None:
    """What is neither a ref nor has one, and is no text that says something, is no source."""
    error = refused(edit, "source", bad)
    assert (error.field, error.value) == ("source", bad)
    assert "key" in error.expected


def test_an_outcome_without_a_look_is_no_source() -> None:
    """Something whose `.ref` is None is an error as a source."""

    class Outcome:
        ref = None

    assert refused(edit, "source", Outcome()).field == "source"


def test_a_misspelled_argument_is_a_type_error() -> None:
    """A name that the class has no argument for is Python's own TypeError."""
    with pytest.raises(TypeError):
        PromptAvatar("a", elementImages=[URL])  # type: ignore[call-arg]
